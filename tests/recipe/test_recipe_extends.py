"""One recipe laid over another: what merges, what replaces, and which file is to blame."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from recipe.recipe_mutations import copied
from recipe.recipe_texts import TEXT

from atentdsl.recipe import load
from atentdsl.recipe.toml_text import toml_text
from atentdsl.source import RecipeError, render
from atentdsl.testing import recipes

OWN = 'schema = 1\n[recipe]\nname = "own"\nextends = "base.toml"\n'
SHIPPED = Path(__file__).parents[2] / "recipes"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("base.toml").write_text(TEXT, encoding="utf-8")
    return tmp_path


def own(tail: str = "") -> Any:
    Path("own.toml").write_text(OWN + tail, encoding="utf-8")
    return load("own.toml")


def refused(file: str = "own.toml") -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load(file)
    return caught.value


def by_hand(base: dict[str, Any], over: dict[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The rule, written a second time: tables merge unless their kinds differ, samplers merge by name."""
    if {"kind"} <= base.keys() & over.keys() and base["kind"] != over["kind"]:
        return over
    merged = dict(base)
    for key, value in over.items():
        here = (*path, key)
        if here == ("sampler",) and isinstance(base.get(key), list):
            names = [sampler.get("name", sampler.get("space", "data")) for sampler in base[key]]
            merged[key] = list(base[key])
            for sampler in value:
                name = sampler.get("name", sampler.get("space", "data"))
                if name in names:
                    merged[key][names.index(name)] = by_hand(merged[key][names.index(name)], sampler, here)
                else:
                    merged[key].append(sampler)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = by_hand(base[key], value, here)
        else:
            merged[key] = value
    return merged


def values_or_codes(load_: Any) -> Any:
    try:
        return load_().values()
    except RecipeError as error:
        return sorted((mistake.code, mistake.message) for mistake in error.diagnostics)


@given(recipes(), recipes(), recipes())
@settings(max_examples=35)
def test_laying_over_is_the_rule_applied_by_hand(far, near, over):
    for name, recipe, base in [("far", far, None), ("near", near, "far.toml"), ("over", over, "near.toml")]:
        written = copied(recipe)
        if base:
            written["recipe"]["extends"] = base
        Path(f"{name}.toml").write_text(toml_text(written), encoding="utf-8")
    merged = by_hand(by_hand(far, near), over)
    assert values_or_codes(lambda: load("over.toml")) == values_or_codes(lambda: load(merged))


def test_the_shipped_recipes_that_extend_are_what_the_rule_says():
    extending = 0
    for path in SHIPPED.rglob("*.toml"):
        layers = [tomllib.loads(path.read_text(encoding="utf-8"))]
        at = path
        while base := layers[-1]["recipe"].get("extends"):
            at = at.parent / base
            layers.append(tomllib.loads(at.read_text(encoding="utf-8")))
        extending += len(layers) > 1
        merged = layers.pop()
        while layers:
            merged = by_hand(merged, layers.pop())
        merged["recipe"].pop("extends", None)
        assert load(path).values() == load(merged).values()
    assert extending


def test_tables_merge_and_other_kinds_replace():
    recipe = own('[optimizer]\nepochs = 7\nlr = { kind = "constant", value = 0.2 }\n')
    assert recipe.values()["optimizer"] == {
        "kind": "sgd",
        "epochs": 7,
        "lr": {"kind": "constant", "over": "epochs", "value": 0.2},
        "restore": "before_update",
        "on_divergence": "stop",
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
    }


def test_the_same_kind_merges_inside():
    assert own("[optimizer]\nlr = { end = 0.01 }\n").values()["optimizer"]["lr"] == {
        "kind": "cosine",
        "over": "epochs",
        "start": 0.1,
        "end": 0.01,
    }


def test_samplers_merge_by_name_and_their_projections_are_replaced():
    recipe = own('[[sampler]]\nname = "attack"\nmoves = 3\n[[sampler.projection]]\nkind = "linf_ball"\nradius = 0.2\n')
    (sampler,) = recipe.values()["sampler"]
    assert sampler["moves"] == 3
    assert sampler["start"] == {"kind": "corner", "radius": 0.1, "projected": False}
    assert sampler["projection"] == [{"kind": "linf_ball", "radius": 0.2, "when": "every"}]


@pytest.mark.parametrize(("base", "over"), [("5.0", "5"), ("true", "5"), ('"5"', "5")])
def test_a_value_of_the_wrong_type_is_mended_by_the_layer_above(base, over):
    Path("base.toml").write_text(TEXT.replace("moves = 5", f"moves = {base}"))
    assert own(f'[[sampler]]\nname = "attack"\nmoves = {over}\n').samplers[0].moves == 5


def test_a_mistake_in_the_base_is_shown_in_the_base():
    Path("base.toml").write_text(TEXT.replace("noise", "noize"), encoding="utf-8")
    own_text = OWN + "[optimizer]\nmomentum = 2\n"
    Path("own.toml").write_text(own_text, encoding="utf-8")
    assert render(refused(), "concise").splitlines() == [
        "own.toml:6:12: out-of-range: `momentum` must be below 1 (accepted: 0 <= momentum < 1)",
        "base.toml:21:1: unknown-key: unknown key `noize` in kernel `langevin` "
        "(did you mean `noise`?  accepted: step_size, drift, covers, momentum, noise)",
    ]


def test_what_a_layer_replaces_is_not_judged():
    Path("base.toml").write_text(TEXT.replace('"corner"\nradius = 0.1', '"corner"\nr = -1'))
    assert own('[[sampler]]\nname = "attack"\n[sampler.start]\nkind = "zero"\n').samplers[0].start.kind == "zero"


def test_a_base_that_is_not_toml_is_shown_there_and_where_it_is_extended():
    Path("base.toml").write_text("schema = = 1\n")
    Path("own.toml").write_text(OWN)
    assert (
        str(refused())
        == """\
error[toml-syntax]: not TOML: invalid value
 --> base.toml:1:10
  |
1 | schema = = 1
  |          ^
 --> own.toml:4:11
  |
4 | extends = "base.toml"
  |           ----------- extended here
  |
help: one `=` is enough

1 error"""
    )


def test_a_base_that_is_not_there_hides_no_mistake_of_the_recipe_s_own():
    Path("own.toml").write_text(OWN.replace("base", "bsae") + "[data]\nbatch_size = 64\nvalidation = 2\n")
    assert (
        str(refused())
        == """\
error[not-found]: there is no file `bsae.toml`
 --> own.toml:4:11
  |
4 | extends = "bsae.toml"
  |           ^^^^^^^^^^^ extended here
  |
help: did you mean `base.toml`?

error[unknown-key]: unknown key `batch_size` in `[data]`
 --> own.toml:6:1
  |
6 | batch_size = 64
  | ^^^^^^^^^^ not a key of `[data]`
  |
help: did you mean `batch`?  accepted: name, batch, repeat, augment, validation

error[out-of-range]: `validation` must be below 1
 --> own.toml:7:14
  |
7 | validation = 2
  |              ^
  |
help: accepted: 0 < validation < 1

3 errors"""
    )


@pytest.mark.parametrize(
    ("extends", "code"),
    [
        ("5", "wrong-type"),
        ('["base.toml"]', "wrong-type"),
        ('""', "is-directory"),
        ('"."', "is-directory"),
        (r'"a\u0000b"', "not-found"),
        (f'"{"a" * 5000}"', "unreadable"),
        ('"loop.toml"', "unreadable"),
        ('"base.toml/x"', "not-found"),
    ],
)
def test_what_cannot_be_extended_is_one_diagnostic_at_its_place(extends, code):
    Path("loop.toml").symlink_to("loop.toml")
    Path("own.toml").write_text(OWN.replace('"base.toml"', extends))
    (mistake,) = refused().diagnostics
    assert mistake.code == code
    assert mistake.span is not None
    assert (mistake.span.file, mistake.span.line, mistake.span.column) == ("own.toml", 4, 11)


def test_a_circle_is_named():
    for name, base in [("a", "b"), ("b", "c"), ("c", "b")]:
        Path(f"{name}.toml").write_text(OWN.replace("base", base))
    (mistake,) = refused("a.toml").diagnostics
    assert (mistake.code, mistake.message) == ("extends-cycle", "a recipe extends itself: b.toml -> c.toml -> b.toml")
    assert mistake.span is not None
    assert (mistake.span.file, mistake.span.line) == ("c.toml", 4)


def test_a_recipe_cannot_extend_itself_by_another_name():
    Path("own.toml").write_text(OWN.replace("base", "./other"))
    Path("other.toml").symlink_to("own.toml")
    assert [mistake.code for mistake in refused().diagnostics] == ["extends-cycle"]


def test_a_long_chain_is_followed():
    for i in range(300):
        Path(f"r{i}.toml").write_text(f'schema = 1\n[recipe]\nname = "r{i}"\nextends = "r{i + 1}.toml"\n')
    Path("r300.toml").write_text(TEXT, encoding="utf-8")
    assert load("r0.toml").name == "r0"
    assert load("r0.toml").header.seed == 1


@pytest.mark.parametrize(("line", "code"), [("schema = 2\n", "unknown-schema"), ("", "missing-schema")])
def test_every_layer_says_its_schema(line, code):
    Path("base.toml").write_text(TEXT.replace("schema = 1\n", line), encoding="utf-8")
    Path("own.toml").write_text(OWN)
    (mistake,) = refused().diagnostics
    assert mistake.code == code
    assert mistake.span is not None
    assert mistake.span.file == "base.toml"


def test_a_base_lies_relative_to_the_file_that_extends_it():
    Path("deep/er").mkdir(parents=True)
    Path("deep/er/own.toml").write_text(OWN.replace("base", "../middle"))
    Path("deep/middle.toml").write_text(OWN.replace("base", "../base").replace('"own"', '"middle"'))
    recipe = load("deep/er/own.toml")
    assert recipe.samplers[0].moves == 5
    place = recipe.place("sampler", 0, "moves")
    assert place is not None
    assert (place.file, place.line) == ("deep/er/../../base.toml", 12)


def test_a_dict_extends_relative_to_the_current_folder():
    recipe = load({"schema": 1, "recipe": {"name": "own", "extends": "base.toml"}, "data": {"batch": 8}})
    assert (recipe.data.batch, recipe.data.name) == (8, "digits")


def test_a_sampler_below_one_pair_of_brackets_still_merges():
    Path("own.toml").write_text(OWN + '[sampler]\nname = "attack"\nmoves = "5"\n')
    assert [(m.span and m.span.line, m.code) for m in refused().diagnostics] == [(5, "wrong-type"), (7, "wrong-type")]
