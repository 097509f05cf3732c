"""The grammar is read off the models: every key of every table has its place, and validation's locations lead there."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from recipe.recipe_mutations import VALID, at, copied, mutated, places

from atentdsl.primitives import registry
from atentdsl.primitives.average import Average
from atentdsl.recipe import load
from atentdsl.recipe.grammar import TABLES, field, follow, header, homes, shape_of
from atentdsl.recipe.tables import Recipe
from atentdsl.source import RecipeError


@given(mutated())
def test_a_finding_s_location_leads_to_a_place_of_the_recipe(recipe):
    """Every key of a location that is not a kind is a step in the data; what is missing is its last step alone."""
    for key, shape in TABLES.items():
        if key not in recipe:
            continue
        try:
            TypeAdapter(shape).validate_python(recipe[key])
        except ValidationError as error:
            for finding in error.errors():
                place = follow((key, *finding["loc"]))
                known = [*places(recipe)]
                number = (
                    len(place.path) > 2
                    and place.path[:-1] in known
                    and not isinstance(at(recipe, place.path[:-1]), dict)
                )
                space = (
                    place.path[2:] == ("name",) and (*place.path[:2], "space") in known
                )  # a sampler's name without one
                assert place.path in known or finding["type"] == "missing" or number or space
                assert place.path[:-1] in known
                assert (place.shape is None) == (finding["type"] == "extra_forbidden")


def parts(recipe: Recipe) -> list[tuple[tuple[Any, ...], BaseModel]]:
    found: list[tuple[tuple[Any, ...], BaseModel]] = []

    def walk(location: tuple[Any, ...], value: Any) -> None:
        if isinstance(value, BaseModel):
            kind = getattr(value, "kind", "")
            location = (*location, kind) if kind else location
            found.append((location, value))
            for name in type(value).model_fields:
                walk((*location, name), getattr(value, name))
        elif isinstance(value, list):
            for i, child in enumerate(value):
                walk((*location, i), child)

    tables = {"recipe": recipe.header, "data": recipe.data, "model": recipe.model, "sampler": list(recipe.samplers)}
    tables |= {"objective": recipe.objective, "optimizer": recipe.optimizer, "evaluate": recipe.evaluate}
    tables |= {"smoothing": recipe.smoothing} if recipe.smoothing else {}
    for key, table in tables.items():
        walk((key,), table)
    return found


@pytest.mark.parametrize("recipe", VALID[:20])
def test_the_table_at_a_location_is_the_one_that_validated_it(recipe):
    for location, part in parts(load(recipe)):
        for name in type(part).model_fields:
            if name != "kind":
                place = follow((*location, name))
                assert place.table is not None
                assert type(part) in {place.table.model, Average}  # the default of a slot is of its kind's base
                assert issubclass(place.table.model, type(part))
                assert place.shape == field(type(part), name)


def test_every_key_of_the_vocabulary_has_a_home():
    for family in ("starts", "kernels", "projections", "averaging", "couplings", "samplers", "optimizers", "schedules"):
        for kind, primitive in registry.family(family).items():
            for name in primitive.parameters.model_fields:
                assert name == "kind" or homes(name), (family, kind, name)
    assert homes("kind") == homes("nothing") == ()
    assert homes("step_size") == ("[sampler.kernel]", "[evaluate]")
    assert homes("gamma") == ("[sampler.target.coupling]",)


def test_a_header_is_as_it_is_written():
    assert header(("sampler", 0, "projection", 1)) == "[[sampler.projection]]"
    assert header(("sampler", 0, "target", "coupling")) == "[sampler.target.coupling]"


@pytest.mark.parametrize(
    ("annotation", "interval"),
    [
        (Annotated[float, Field(gt=0)], "x > 0"),
        (Annotated[float, Field(ge=0.5)], "x >= 0.5"),
        (Annotated[float, Field(lt=1)], "x < 1"),
        (Annotated[float, Field(gt=0, le=1)], "0 < x <= 1"),
        (Annotated[int, Field(ge=0, lt=2**63)], "0 <= x < 2**63"),
        (Annotated[float, Field(ge=0)] | None, "x >= 0"),
        (float, ""),
    ],
)
def test_an_interval_is_an_inequality(annotation, interval):
    assert shape_of(annotation).interval("x") == interval


@given(st.sampled_from(VALID), st.data())
def test_the_words_of_a_slot_are_those_it_accepts(recipe, data):
    """Any of a place's words is no unknown value there; any other is."""
    words = {p: follow(locate(recipe, p)).shape for p in places(recipe)[1:] if isinstance(at(recipe, p), str)}
    chosen = {p: shape.words for p, shape in words.items() if shape is not None and shape.words}
    path = data.draw(st.sampled_from(sorted(chosen, key=repr)))
    for word in (*chosen[path], "zzz"):
        other = copied(recipe)
        at(other, path[:-1])[path[-1]] = word
        assert ("unknown-value" in codes(other)) == (word == "zzz")


def codes(recipe: dict[str, Any]) -> list[str]:
    try:
        load(recipe)
    except RecipeError as error:
        return [mistake.code for mistake in error.diagnostics]
    return []


def locate(recipe: dict[str, Any], path: tuple[Any, ...]) -> tuple[Any, ...]:
    """The path with the kinds that validation's locations name."""
    location: tuple[Any, ...] = ()
    for i, key in enumerate(path):
        location = (*location, key)
        shape = follow(location).shape
        table = at(recipe, path[: i + 1])
        if shape is not None and shape.slot is not None and isinstance(table, dict):
            location = (*location, table.get("kind", shape.slot.default))
    return location
