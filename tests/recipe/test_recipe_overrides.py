"""`--set key=value`: what it names, what it lays over, and how it is refused."""

from __future__ import annotations

import copy
import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe.recipe_mutations import VALID, at, places
from recipe.recipe_texts import TEXT

from atentdsl.recipe import load
from atentdsl.recipe.toml_text import value_text
from atentdsl.source import RecipeError, render


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(TEXT, encoding="utf-8")


def concise(*sets: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load("mine.toml", sets)
    return render(caught.value, "concise").splitlines()


@given(st.sampled_from(VALID), st.sampled_from(VALID), st.data())
@settings(max_examples=75)
def test_an_override_is_the_value_written_there(recipe, other, data):
    """A scalar or array laid over by its path is the same as writing it into the recipe."""
    scalars = [p for p in places(recipe)[1:] if not isinstance(at(recipe, p), dict) and p[-1] != "extends"]
    path = data.draw(st.sampled_from([p for p in scalars if p != ("sampler",)]))
    values = [at(other, p) for p in places(other)[1:] if p[-1] == path[-1]] or [at(recipe, path)]
    value = data.draw(st.sampled_from(values))
    by_hand = copy.deepcopy(recipe)
    at(by_hand, path[:-1])[path[-1]] = value
    text = f"{'.'.join(map(str, path))}={value_text(value)}"
    assert outcome(recipe, [text]) == outcome(by_hand, [])


def outcome(recipe, sets):
    try:
        return load(recipe, sets).values()
    except RecipeError as error:
        return sorted((mistake.code, mistake.message) for mistake in error.diagnostics)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("sampler.attack.moves=7", ("sampler", 0, "moves"), 7),
        ("sampler.0.moves = 7", ("sampler", 0, "moves"), 7),
        ('"sampler" . attack.moves=7', ("sampler", 0, "moves"), 7),
        ("sampler.attack.moves=7 # seven", ("sampler", 0, "moves"), 7),
        ("sampler.attack.projection.linf_ball.radius=0.2", ("sampler", 0, "projection", 0, "radius"), 0.2),
        ("sampler.attack.projection.0.radius=0.2", ("sampler", 0, "projection", 0, "radius"), 0.2),
        ("sampler.attack.target.beta=2", ("sampler", 0, "target", "beta"), 2),
        ("model.name=small_cnn", ("model", "name"), "small_cnn"),
        ('model.name="small_cnn"', ("model", "name"), "small_cnn"),
        ("recipe.name=2nd-run", ("recipe", "name"), "2nd-run"),
        ("data.augment=['flip']", ("data", "augment"), ["flip"]),
        ('data.augment=["flip",\n"crop4"]', ("data", "augment"), ["flip", "crop4"]),
        ("optimizer.lr.start=0.2", ("optimizer", "lr", "start"), 0.2),
        ("evaluate.radius=0.2", ("evaluate", "radius"), 0.2),
        ("sampler.attack.start={kind='gaussian', sd=0.1}", ("sampler", 0, "start", "kind"), "gaussian"),
    ],
)
def test_what_an_override_names(text, path, value):
    assert at(load("mine.toml", [text]).values(), path) == value


def test_a_table_of_the_same_kind_merges_and_of_another_replaces():
    assert load("mine.toml", ["optimizer={epochs=3}"]).values()["optimizer"]["momentum"] == 0.9
    replaced = load("mine.toml", ["optimizer={kind='adamw', epochs=3, lr=1}"]).values()["optimizer"]
    assert set(replaced) == {"kind", "epochs", "lr", "restore", "on_divergence", "betas", "eps", "weight_decay"}


def test_the_last_override_wins_and_one_text_is_enough():
    assert load("mine.toml", ["recipe.seed=2", "recipe.seed=3"]).header.seed == 3
    assert load("mine.toml", "recipe.seed=4").header.seed == 4


def test_an_override_of_a_loaded_recipe_is_that_of_its_file():
    loaded, sets = load("mine.toml"), ["sampler.attack.moves=7", "recipe.seed=3"]
    assert load(loaded) is loaded
    over = load(loaded, sets)
    assert over.values() == load("mine.toml", sets).values()
    assert over.resolved == load("mine.toml", sets).resolved
    assert over.places == load("mine.toml", sets).places
    with pytest.raises(RecipeError, match=r"mine\.toml:21:1"):
        load(loaded, ["sampler.attack.kernel.kind=gradient"])


EXAMPLE = "(write it as --set sampler.attack.moves=5)"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", f"--set :1:1: bad-override: an override is `key=value` {EXAMPLE}"),
        ("moves", f"--set moves:1:1: bad-override: an override is `key=value` {EXAMPLE}"),
        ("=5", f"--set =5:1:1: bad-override: an override is `key=value` {EXAMPLE}"),
        ("recipe.seed=", "--set recipe.seed=:1:13: bad-override: not TOML: invalid value (a value must follow)"),
        (
            "recipe.seed==5",
            "--set recipe.seed==5:1:13: bad-override: not TOML: invalid value (one `=` is enough)",
        ),
        (
            "evaluate.radius=8/255",
            "--set evaluate.radius=8/255:1:18: bad-override: not TOML: expected newline or end of document after a "
            "statement (TOML does not compute: write `0.03137254901960784`)",
        ),
        (
            "recipe.seed=99999999999999999999",
            "--set recipe.seed=99999999999999999999:1:13: bad-override: an integer does not fit into 64 bits "
            "(integers lie between -2**63 and 2**63 - 1)",
        ),
        (
            "sampler.moves=5",
            "--set sampler.moves=5:1:1: bad-override: `sampler` has no element `moves` "
            "(did you mean `sampler.attack.moves`?  there are: `attack`)",
        ),
        (
            "sampler.attak.moves=5",
            "--set sampler.attak.moves=5:1:1: bad-override: `sampler` has no element `attak` "
            "(did you mean `attack`?  there are: `attack`)",
        ),
        (
            "sampler.attack.projection.7.radius=1",
            "--set sampler.attack.projection.7.radius=1:1:1: bad-override: `sampler.attack.projection` has no element "
            "`7` (did you mean `sampler.attack.projection.linf_ball.7.radius`?  there are: `linf_ball`)",
        ),
        (
            "data.augment.0=flip",
            "--set data.augment.0=flip:1:1: bad-override: `data.augment` has no element `0` "
            "(the recipe has no `data.augment`: write it there)",
        ),
        (
            "recipe.name.x=1",
            "--set recipe.name.x=1:1:1: bad-override: `recipe.name` is no table, it has no `x` "
            "(set `recipe.name` itself)",
        ),
        (
            "recipe.extends=sgd.toml",
            "--set recipe.extends=sgd.toml:1:1: bad-override: `extends` is not overridden "
            "(write it in the recipe, or name that recipe instead)",
        ),
        (
            "recipe={name='a', extends='b'}",
            "--set recipe={name='a', extends='b'}:1:1: bad-override: `extends` is not overridden "
            "(write it in the recipe, or name that recipe instead)",
        ),
        (
            "recipe.seed=1\ndata.batch=2",
            r"--set recipe.seed=1\ndata.batch=2:1:1: bad-override: an override sets one key (write one --set for each)",
        ),
        (
            "recipe.seed=1\nrecipe.name='b'",
            r"--set recipe.seed=1\nrecipe.name='b':1:1: bad-override: an override sets one key "
            "(write one --set for each)",
        ),
        ("[data]\nbatch=2", rf"--set [data]\nbatch=2:1:1: bad-override: an override is `key=value` {EXAMPLE}"),
        (
            "schema=2",
            "--set schema=2:1:8: unknown-schema: this version reads schema 1, not `2` "
            "(upgrade atentdsl, or write the recipe in schema 1)",
        ),
        (
            "sampler.attack.kernel.noize=1",
            "--set sampler.attack.kernel.noize=1:1:23: unknown-key: unknown key `noize` in kernel `langevin` "
            "(did you mean `noise`?  accepted: step_size, drift, covers, momentum, noise)",
        ),
        (
            "evaluation.radius=0.1",
            "--set evaluation.radius=0.1:1:1: unknown-key: unknown key `evaluation` (did you mean `evaluate`?  "
            "accepted: schema, recipe, data, model, sampler, objective, smoothing, optimizer, compile, evaluate)",
        ),
        (
            "sampler.attack.moves=five",
            "--set sampler.attack.moves=five:1:22: wrong-type: `moves` must be a whole number "
            "(numbers stand without quotes)",
        ),
        (
            "optimizer.nesterov=True",
            "--set optimizer.nesterov=True:1:20: wrong-type: `nesterov` must be true or false (write true)",
        ),
        (
            "recipe.seed=2020-01-01",
            "--set recipe.seed=2020-01-01:1:13: wrong-type: `seed` must be a whole number (write a whole number)",
        ),
        (
            "optimizer.momentum = 1",
            "--set optimizer.momentum = 1:1:22: out-of-range: `momentum` must be below 1 (accepted: 0 <= momentum < 1)",
        ),
        (
            "sampler.attack.averaging.burn_in=5",
            "--set sampler.attack.averaging.burn_in=5:1:26: inconsistent: a burn-in of 5 leaves none of 5 points "
            "(set `burn_in` below 5)",
        ),
    ],
)
def test_one_wrong_override_is_one_line(text, line):
    assert concise(text) == [line]


def test_two_projections_of_a_kind_are_told_apart_by_index():
    twice = "sampler.attack.projection=[{kind='box'}, {kind='linf_ball', radius=0.1}, {kind='box'}]"
    assert concise(twice, "sampler.attack.projection.box.when=last") == [
        "--set sampler.attack.projection.box.when=last:1:1: bad-override: `box` names 2 elements "
        "(use an index: one of [0, 2])"
    ]
    recipe = load("mine.toml", [twice, "sampler.attack.projection.2.when=last"])
    assert [p["when"] for p in recipe.values()["sampler"][0]["projection"]] == ["every", "every", "last"]


def test_every_wrong_override_is_said_at_once_with_what_is_wrong_in_the_recipe():
    Path("mine.toml").write_text(TEXT.replace("noise", "noize"), encoding="utf-8")
    found = concise("data.batch=0", "foo", "sampler.x.moves=1", "recipe.seed=-1", "foo")
    assert [line.split(": ")[:2] for line in found] == [
        ["mine.toml:21:1", "unknown-key"],
        ["--set data.batch=0:1:12", "out-of-range"],
        ["--set foo:1:1", "bad-override"],
        ["--set sampler.x.moves=1:1:1", "bad-override"],
        ["--set recipe.seed=-1:1:13", "out-of-range"],
    ]


def test_a_sampler_is_not_made_by_an_override():
    with pytest.raises(RecipeError) as caught:
        load("sgd", ["sampler.attack.moves=5"])
    (mistake,) = caught.value.diagnostics
    assert (mistake.code, mistake.message) == ("bad-override", "`sampler` has no element `attack`")


def test_long_overrides_are_named_shortly_and_apart():
    long = "x" * 200
    with pytest.raises(RecipeError) as caught:
        load(
            "mine.toml",
            [f"recipe.name='{long}'", f"data.name='{long}'", f"model.name='{long}1'", f"compile.precision='{long}'"],
        )
    files = [mistake.span.file for mistake in caught.value.diagnostics if mistake.span]
    assert len(set(files)) == len(files) == 4
    assert max(map(len, files)) <= 110


def test_dates_and_arrays_are_values():
    assert value_text([datetime.date(2020, 1, 2), 1.5, "a\x7f\n"]) == '[2020-01-02, 1.5, "a\\u007f\\n"]'
