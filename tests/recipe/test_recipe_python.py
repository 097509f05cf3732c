"""Recipes as Python has them: dicts of anything that TOML has a word for."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
from collections import OrderedDict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recipe.recipe_mutations import VALID

from atentdsl.recipe import from_python, load
from atentdsl.recipe.toml_text import toml_text
from atentdsl.source import DEEPEST, RecipeError, parse
from atentdsl.source import document as source_document
from atentdsl.source.positions import locate

RECIPE: dict[str, Any] = {
    "schema": 1,
    "recipe": {"name": "mine"},
    "data": {"name": "digits", "batch": 64},
    "model": {"name": "mlp"},
    "optimizer": {"kind": "sgd", "epochs": 2, "lr": 0.1},
    "evaluate": {"radius": 0.1},
}

SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.dates()
    | st.times()
    | st.datetimes()
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
DATA = st.dictionaries(
    KEYS,
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)),
    min_size=1,
)


@given(DATA, st.integers(0, 4))
def test_the_text_of_any_tables_reads_back_as_the_same(data, braces):
    text = toml_text(data, inline=lambda path: len(path) > braces)
    assert parse(text, "text").data == data


@given(DATA, st.text(st.characters(exclude_categories=["Cs"])))
def test_comments_change_nothing(data, comment):
    assert parse(toml_text(data, note=lambda path: comment), "text").data == data


class Word(enum.StrEnum):
    MLP = "mlp"


def test_what_python_has_for_toml_s_types():
    recipe = load(
        OrderedDict(
            {
                **RECIPE,
                "data": MappingProxyType({"name": "digits", "batch": np.int64(8), "augment": ("flip",)}),
                "model": {"name": Word.MLP},
                "optimizer": {
                    "kind": np.str_("adamw"),
                    "epochs": torch.tensor(3),
                    "lr": np.float64(0.5),
                    "betas": np.array([0.5, 0.25]),
                },
            }
        )
    )
    assert recipe.data.batch == 8
    assert recipe.values()["optimizer"]["betas"] == [0.5, 0.25]
    assert type(recipe.values()["optimizer"]["epochs"]) is int


def test_a_path_is_a_string(tmp_path):
    (tmp_path / "base.toml").write_text(toml_text(RECIPE), encoding="utf-8")
    over = {"schema": 1, "recipe": {"name": "over", "extends": Path(tmp_path / "base.toml")}}
    assert load(over).data.batch == 64


def found(recipe: Any) -> list[tuple[str, str, str | None]]:
    with pytest.raises(RecipeError) as caught:
        load(recipe)
    return [(mistake.code, mistake.message, mistake.help) for mistake in caught.value.diagnostics]


def test_everything_that_toml_has_no_word_for_is_said_at_once_by_its_path():
    recipe = {
        **RECIPE,
        "data": None,
        "model": {"name": {"mlp"}, 3: "x", "init": b"random"},
        "sampler": [{"moves": 1}, {"kernel": {"noise": None}}],
        "optimizer": {"epochs": 10**30, "lr": decimal.Decimal(1), "betas": iter([])},
        "evaluate": datetime.datetime.now(datetime.UTC),
    }
    null = "leave the key out: a recipe has no null"
    other = "write a dict, a list, a string, a number or a truth value"
    assert sorted(found(recipe)) == sorted(
        [
            ("wrong-type", "`data` is None", null),
            ("wrong-type", "`model.name` is a `set`, which TOML has no word for", "write a list, which has an order"),
            ("wrong-type", "a key in `model` is no string: '3'", "keys are strings"),
            ("wrong-type", "`model.init` is a `bytes`, which TOML has no word for", other),
            ("wrong-type", "`sampler[1].kernel.noise` is None", null),
            (
                "integer-too-long",
                "`optimizer.epochs` does not fit into 64 bits",
                "integers lie between -2**63 and 2**63 - 1",
            ),
            ("wrong-type", "`optimizer.lr` is a `Decimal`, which TOML has no word for", other),
            ("wrong-type", "`optimizer.betas` is a `list_iterator`, which TOML has no word for", other),
            ("wrong-type", "`evaluate` is a `datetime`, which TOML has no word for", other),
        ]
    )


def test_a_dict_that_contains_itself_is_refused():
    circle: dict[str, Any] = {"a": [1]}
    circle["a"] += [circle, circle]
    assert found({**RECIPE, "x": circle}) == [
        ("too-deep", "`x.a[1]` stands in itself", None),
        ("too-deep", "`x.a[2]` stands in itself", None),
    ]


def test_a_dict_that_nests_deeply_is_refused():
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    ((code, message, _),) = found({**RECIPE, "x": deep})
    assert code == "too-deep"
    assert message.endswith(f"nests deeper than {DEEPEST} levels")


def test_what_is_no_number_is_refused_like_in_a_file():
    (mistake,) = found({**RECIPE, "optimizer": {"kind": "sgd", "epochs": 2, "lr": math.nan}})
    assert mistake == ("out-of-range", "`lr` must be a finite number", "accepted: lr >= 0")


def test_an_empty_dict_and_a_lone_surrogate_are_refused():
    assert found({})[0][0] == "empty"
    assert found({**RECIPE, "model": {"name": "\udc00"}})[0][0] == "not-utf8"


@pytest.mark.parametrize("recipe", [None, 5, b"sgd", [], object()])
def test_what_is_no_recipe_at_all_is_a_type_error(recipe):
    with pytest.raises(TypeError, match="a recipe is a path, a name, a dict or a `Recipe`, not a"):
        load(recipe)


def test_a_recipe_without_mistakes_never_pays_for_its_places(monkeypatch):
    """Where each key stands is asked for by what is wrong with it alone."""
    asked = []

    def located(text):
        asked.append(text)
        return locate(text)

    monkeypatch.setattr(source_document, "locate", located)
    for tables in VALID:
        load(tables)
    load("atent_linf", ["sampler.attack.moves=5"])
    assert asked == []
    with pytest.raises(RecipeError):
        load(VALID[0] | {"optimizer": {}})
    assert len(asked) == 1


def test_the_cited_lines_of_a_dict_are_those_of_its_text():
    with pytest.raises(RecipeError) as caught:
        load({**RECIPE, "data": {"name": "digits", "batch": -1}}, name="sweep")
    assert (
        str(caught.value)
        == """\
error[out-of-range]: `batch` must be at least 1
 --> sweep:8:9
  |
8 | batch = -1
  |         ^^
  |
help: accepted: 1 <= batch <= 1000000

1 error"""
    )


@given(st.sampled_from(VALID))
def test_a_dict_means_what_its_file_means(tmp_path_factory, recipe):
    file = tmp_path_factory.getbasetemp() / "same.toml"
    file.write_text(toml_text(recipe), encoding="utf-8")
    assert load(recipe).values() == load(file).values()
    assert from_python.document(recipe, "dict").data == recipe
    assert load(load(recipe).values()).values() == load(recipe).values()
