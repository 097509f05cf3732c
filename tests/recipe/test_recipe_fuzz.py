"""Whatever a recipe says, it is a recipe or an error that can be shown; never anything else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recipe.recipe_mutations import VALUES, mutated, overrides, texts

from atentdsl.recipe import Recipe, load
from atentdsl.source import FORMATS, RecipeError, render
from atentdsl.source.span import Lines

OURS = {"unknown-key", "missing-key", "unknown-value", "wrong-type", "out-of-range", "inconsistent", "missing-table"}
OURS |= {"missing-schema", "unknown-schema", "bad-override", "extends-cycle"}
READING = {"not-found", "is-directory", "not-a-file", "unreadable", "file-too-large", "not-utf8", "empty", "too-deep"}
READING |= {"integer-too-long", "toml-syntax"}
# What pydantic and Python say, and what only a program's author would understand.
FOREIGN = re.compile(
    r"[Ii]nput should|pydantic|ValidationError|Written\(|Traceback|NoneType|tagged-union|discriminator"
)


def loads_or_explains(recipe: Any, sets: list[str] | tuple[str, ...] = ()) -> RecipeError | None:
    try:
        assert isinstance(load(recipe, sets), Recipe)
    except RecipeError as error:
        check(error)
        return error
    return None


def check(error: RecipeError) -> None:
    for mistake in error.diagnostics:
        assert mistake.code in OURS | READING
        assert mistake.help or mistake.code in READING, mistake
        for text in (mistake.message, mistake.label, mistake.help or ""):
            assert not FOREIGN.search(text), text
        for span in [mistake.span, mistake.context and mistake.context[0]]:
            if span:
                lines = Lines(error.sources[span.file])
                assert span.line <= len(lines)
                assert span.column + span.length - 2 <= len(lines[span.line]), mistake  # a line's end is a place too
    said = [(mistake.span, mistake.message) for mistake in error.diagnostics if mistake.span]
    assert len(set(said)) == len(said), "said twice"
    for name in FORMATS:
        render(error, name).encode("utf-8")
    assert len(json.loads(render(error, "json"))) == len(error.diagnostics)


@given(texts())
@settings(max_examples=200)
def test_a_mutated_recipe_loads_or_is_explained(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "mutated.toml"
    file.write_text(text, encoding="utf-8")
    loads_or_explains(file)


@given(mutated(), mutated(), mutated(most=1))
@settings(max_examples=100)
def test_mutated_recipes_laid_over_one_another_load_or_are_explained(tmp_path_factory, far, near, own):
    from atentdsl.recipe.toml_text import toml_text

    folder = tmp_path_factory.getbasetemp()
    for name, recipe, base in [("far", far, None), ("near", near, "far.toml"), ("own", own, "near.toml")]:
        header = recipe.get("recipe")
        if base and isinstance(header, dict):
            header["extends"] = base
        (folder / f"{name}.toml").write_text(toml_text(recipe), encoding="utf-8")
    loads_or_explains(folder / "own.toml")


@given(overrides())
@settings(max_examples=200)
def test_overrides_load_or_are_explained(drawn):
    loads_or_explains(*drawn)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=2))
@example(["sampler.attack.moves=1\nrecipe.seed=2"])
@example(["=", "a", "[data]\nbatch = 3", "#=1", '"a=b"=1', "\udcff=1", "a." * 80 + "a=1", "x=" + "[" * 80])
@example(["recipe.seed=" + "9" * 5000, "recipe.seed=" + "9" * 5001])
def test_any_text_is_an_override_or_is_explained(sets):
    loads_or_explains("sgd", sets)


PYTHON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=2) | VALUES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=3)
        | st.sets(st.integers(), max_size=2)
    ),
    max_leaves=8,
)


@given(mutated(most=1), st.sampled_from(["data", "model", "sampler", "optimizer", "é", ""]), PYTHON)
@settings(max_examples=100)
def test_any_dict_is_a_recipe_or_is_explained(recipe, key, value):
    loads_or_explains({**recipe, key: value})


@pytest.mark.parametrize("name", ["", "\0", "x" * 5000, "a/" * 3000, "/", "/dev/null", "atent", "ä\udcff"])
def test_any_name_is_a_file_or_is_explained(name):
    assert loads_or_explains(name)


def test_mutants_are_wrong_in_many_ways(tmp_path: Path):
    """The fuzzing reaches the explanations at all."""
    from atentdsl.testing import sample

    seen: set[str] = set()
    for text in sample(texts(), 600):  # the rarest of these is wrong with one in seventy
        (tmp_path / "mutated.toml").write_text(text, encoding="utf-8")
        error = loads_or_explains(tmp_path / "mutated.toml")
        seen |= {mistake.code for mistake in error.diagnostics} if error else set()
    assert seen >= {"unknown-key", "missing-key", "unknown-value", "wrong-type", "out-of-range", "inconsistent"}
    assert seen >= {"missing-table", "unknown-schema", "missing-schema"}
