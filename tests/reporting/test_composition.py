"""A recipe's composition as a report tells it: nothing of a recipe is left out, whatever it is composed of."""

from __future__ import annotations

import pytest
from hypothesis import given

import atentdsl
from atentdsl.recipe import shipped
from atentdsl.reporting.composition import parts, sentences
from atentdsl.testing import recipes


def kinds(value):
    """Every `kind` and `loss` that the values have, schedules' apart."""
    if isinstance(value, list):
        return {kind for one in value for kind in kinds(one)}
    if not isinstance(value, dict) or "over" in value:
        return set()
    own = {value[key] for key in ("kind", "loss") if isinstance(value.get(key), str)}
    return own | {kind for one in value.values() for kind in kinds(one)}


def told_completely(recipe):
    tables = {key: recipe.values()[key] for key in ("sampler", "objective", "optimizer")}
    listed = parts(recipe)
    text = " ".join([*(part.kind for part in listed), *(value for part in listed for _, value in part.settings)])
    assert kinds(tables) - {"none", "constant"} <= set(text.replace('"', " ").replace(",", " ").split())
    assert all(part.says for part in listed)
    said = " ".join(sentences(recipe))
    assert all(f"`{sampler.name}`" in said for sampler in recipe.samplers)
    assert said.count("`") % 2 == 0


@pytest.mark.parametrize("name", shipped.names())
def test_shipped_recipes_are_told_completely(name):
    told_completely(atentdsl.load(name))


@given(recipes())
def test_drawn_recipes_are_told_completely(recipe):
    told_completely(atentdsl.load(recipe))
