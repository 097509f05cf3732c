"""The resolved recipe: one text that stands alone, means the same, and says what each value overrides."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe.recipe_mutations import VALID, at, copied, overrides, places
from recipe.recipe_texts import TEXT

from atentdsl.recipe import load
from atentdsl.recipe.toml_text import toml_text
from atentdsl.source import RecipeError
from atentdsl.testing import recipes

OWN = """\
schema = 1
[recipe]
name = "own"
extends = "base file.toml"
seed = 7
[[sampler]]
name = "attack"
moves = 9
[sampler.start]
kind = "gaussian"
sd = 0.05
[[sampler.projection]]
kind = "box"
[[sampler.projection]]
kind = "linf_ball"
radius = 0.2
[data]
validation = 0.2
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("base file.toml").write_text(TEXT, encoding="utf-8")
    Path("own.toml").write_text(OWN, encoding="utf-8")


def test_it_says_where_every_value_comes_from_and_what_it_overrides():
    sets = ["optimizer.lr.start=0.2", "recipe.seed=8", "recipe.seed=9", "evaluate.attacks=['pgd-5']"]
    sets += ["sampler.attack.averaging={kind='last'}", "evaluate.restarts=2"]
    assert (
        load("own.toml", sets).resolved
        == """\
schema = 1

[recipe] # extends base file.toml, worked in here
name = "own" # here; overrides "mine" (base file.toml:3)
seed = 9 # --set; overrides 1 (base file.toml:4), then 7 (own.toml:5), then 8 (--set)

[data]
name = "digits" # from base file.toml:6
batch = 64 # from base file.toml:7
validation = 0.2

[model]
name = "mlp" # from base file.toml:9

[[sampler]]
name = "attack" # from base file.toml:11
moves = 9 # here; overrides 5 (base file.toml:12)
averaging = { kind = "last" } # --set; overrides { kind = "mean", burn_in = 2 } (base file.toml:26)

[sampler.target]
coupling = { kind = "l2", gamma = 0.5 } # from base file.toml:14

[sampler.start] # here; overrides { kind = "corner", radius = 0.1 } (base file.toml:15)
kind = "gaussian"
sd = 0.05

[sampler.kernel]
kind = "langevin" # from base file.toml:19
step_size = 0.01 # from base file.toml:20
noise = 0.001 # from base file.toml:21
drift = "sign" # from base file.toml:22

[[sampler.projection]] # here; overrides [{ kind = "linf_ball", radius = 0.1 }] (base file.toml:23)
kind = "box"

[[sampler.projection]]
kind = "linf_ball"
radius = 0.2

[optimizer]
kind = "sgd" # from base file.toml:30
epochs = 2 # from base file.toml:31
momentum = 0.9 # from base file.toml:33

[optimizer.lr]
kind = "cosine" # from base file.toml:32
start = 0.2 # --set; overrides 0.1 (base file.toml:32)

[evaluate]
attacks = ["pgd-5"] # --set; overrides ["pgd-20"] (base file.toml:35)
restarts = 2 # from --set
"""
    )


def test_a_recipe_of_one_layer_has_no_comments():
    Path("mine.toml").write_text(TEXT, encoding="utf-8")
    resolved = load("mine.toml").resolved
    assert "#" not in resolved
    assert tomllib.loads(resolved) == tomllib.loads(TEXT)
    assert 'lr = { kind = "cosine", start = 0.1 }' in resolved


def test_a_replaced_table_is_remembered_through_further_layers():
    Path("top.toml").write_text(
        'schema = 1\n[recipe]\nname = "top"\nextends = "own.toml"\n[[sampler]]\nname = "attack"\n'
        '[sampler.start]\nkind = "gaussian"\nsd = 0.1\n'
    )
    assert '[sampler.start] # from own.toml:9; overrides { kind = "corner", radius = 0.1 } (base file.toml:15)' in (
        load("top.toml", ["recipe.name=top"]).resolved.replace("here;", "from own.toml:9;")
    )
    assert "sd = 0.1 # here; overrides 0.05 (own.toml:11)" in load("top.toml").resolved


def again(text: str) -> str:
    Path("again.toml").write_text(text, encoding="utf-8")
    return load("again.toml").resolved


def holds(recipe) -> None:
    Path("resolved.toml").write_text(recipe.resolved, encoding="utf-8")
    alone = load("resolved.toml")
    assert alone.values() == recipe.values()
    assert alone.digest() == recipe.digest()
    assert "extends" not in tomllib.loads(recipe.resolved)["recipe"]
    assert recipe.resolved.startswith("schema = 1\n")
    assert tomllib.loads(alone.resolved) == tomllib.loads(recipe.resolved)
    assert again(alone.resolved) == alone.resolved


@given(recipes(), recipes(), st.integers(0, 3))
@settings(max_examples=35)
def test_loaded_again_it_means_the_same(base, own, braces):
    base, own = copied(base), copied(own)
    own["recipe"]["extends"] = "base.toml"
    for name, recipe in [("base", base), ("over", own)]:
        text = toml_text(recipe, inline=lambda path: braces > 0 and len(path) > braces)
        Path(f"{name}.toml").write_text(text, encoding="utf-8")
    try:
        recipe = load("over.toml")
    except RecipeError:  # two samplers, or parts that do not fit
        return
    holds(recipe)


@given(overrides())
@settings(max_examples=75)
def test_with_overrides_it_means_the_same(drawn):
    try:
        recipe = load(*drawn)
    except RecipeError:
        return
    holds(recipe)


@given(st.sampled_from(VALID), st.sampled_from(VALID), st.data())
@settings(max_examples=50)
def test_every_replaced_value_is_named(recipe, other, data):
    shared = [p for p in places(recipe)[1:] if p in set(places(other)) and not isinstance(at(recipe, p), dict | list)]
    path = data.draw(st.sampled_from(shared))
    value = at(other, path)
    from atentdsl.recipe.toml_text import value_text

    try:
        over = load(recipe, [f"{'.'.join(map(str, path))}={value_text(value)}"])
    except RecipeError:
        return
    changed = repr(value) != repr(at(recipe, path)) and path != ("schema",)
    line = next((line for line in over.resolved.splitlines() if "overrides" in line), "")
    assert bool(line) == changed
    if changed:
        assert f"--set; overrides {value_text(at(recipe, path))} (dict:" in line
        written = f"{path[-2]} = [" if isinstance(path[-1], int) else f"{path[-1]} = {value_text(value)} # --set"
        assert line.startswith(written)


def test_names_cannot_break_out_of_a_comment():
    odd = "a\u2028b'\x1b\"\n[data]\nbatch = 1\n#.toml"
    Path(odd).write_text(TEXT, encoding="utf-8")
    from atentdsl.recipe.toml_text import value_text

    Path("own.toml").write_text(f'schema = 1\n[recipe]\nname = "own"\nextends = {value_text(odd)}\n', encoding="utf-8")
    holds(load("own.toml"))
