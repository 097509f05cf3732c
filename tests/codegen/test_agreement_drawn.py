"""What `recipes()` draws: everything that a recipe can say, and nothing that the checks refuse."""

from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis.errors import NoSuchExample
from pydantic import BaseModel

import atentdsl
from atentdsl.plan import lower
from atentdsl.plan.operations import Move
from atentdsl.primitives import registry
from atentdsl.primitives.density import Target
from atentdsl.recipe.tables import Compile, Data, Evaluate
from atentdsl.testing import recipes, sample

DRAWN = sample(recipes(), 250)
LONG_SEARCH = settings(
    max_examples=3000, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck)
)


def drawn(holds):
    """Whether a recipe of which this holds is drawn: among the 250, or of the rare ones in a longer search."""
    if any(map(holds, DRAWN)):
        return True
    try:
        find(recipes(), holds, settings=LONG_SEARCH)
    except NoSuchExample:
        return False
    return True


def entries(value: Any, path: tuple[str, ...] = ()):
    """Every (path, value) in a recipe, indices of arrays left out."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from entries(child, (*path, key))
    elif isinstance(value, list):
        yield path, tuple(map(str, value))
        for child in value:
            yield from entries(child, path)
    else:
        yield path, value


def says(path, value):
    """A condition on recipes: that this stands there, in so many words."""
    return lambda recipe: any(p == path and v == value and type(v) is type(value) for p, v in entries(recipe))


SLOTS = {
    "starts": ("sampler", "start", "kind"),
    "kernels": ("sampler", "kernel", "kind"),
    "drifts": ("sampler", "kernel", "drift"),
    "projections": ("sampler", "projection", "kind"),
    "averaging": ("sampler", "averaging", "kind"),
    "couplings": ("sampler", "target", "coupling", "kind"),
    "targets": ("sampler", "target", "loss"),
    "samplers": ("sampler", "kind"),
    "objectives": ("objective", "kind"),
    "optimizers": ("optimizer", "kind"),
    "schedules": ("optimizer", "lr", "kind"),
}


KINDS = [(family, kind) for family in registry.families() for kind in registry.kinds(family)]


def test_every_family_has_its_place():
    assert set(SLOTS) == set(registry.families())


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_every_kind_of_every_family_is_drawn(family, kind):
    assert drawn(says(SLOTS[family], kind))


def options(model: type[BaseModel], path: tuple[str, ...]):
    """Every value of a closed choice that a table has."""
    for name, field in model.model_fields.items():
        if field.annotation is bool:
            yield from (((*path, name), value) for value in (True, False))
        for value in get_args(field.annotation):
            if isinstance(value, str):
                yield (*path, name), value


TABLES = [(Target, ("sampler", "target")), (Evaluate, ("evaluate",)), (Data, ("data",)), (Compile, ("compile",))] + [
    (registry.primitive(family, kind).parameters, SLOTS[family][:-1])
    for family, kind in KINDS
    if SLOTS[family][-1] == "kind"
]
OPTIONS = sorted({option for model, path in TABLES for option in options(model, path)}, key=str)


@pytest.mark.parametrize(
    ("path", "value"), OPTIONS, ids=lambda part: ".".join(part) if type(part) is tuple else str(part)
)
def test_every_option_is_drawn(path, value):
    assert drawn(says(path, value))


def test_there_are_options():
    assert len(OPTIONS) > 20


@pytest.mark.parametrize("moves", range(7))
def test_chains_of_every_length_are_drawn(moves):
    assert drawn(says(("sampler", "moves"), moves))


@pytest.mark.parametrize("table", ["sampler", "objective"])
def test_a_table_is_there_or_not(table):
    assert drawn(lambda recipe: table in recipe)
    assert drawn(lambda recipe: table not in recipe)


def has_table(recipe, path):
    return any(p[: len(path)] == path for p, _ in entries(recipe))


def test_a_default_kind_may_go_unsaid_and_a_number_may_stand_alone():
    for family in ("samplers", "kernels"):
        path = SLOTS[family][:-1]
        assert drawn(lambda recipe, path=path: has_table(recipe, path) and not has_table(recipe, (*path, "kind")))
    assert drawn(lambda recipe: isinstance(recipe["optimizer"]["lr"], float))


@pytest.mark.parametrize(
    "path", [("sampler", "kernel", "noise"), ("sampler", "start", "radius"), ("sampler", "target", "coupling", "gamma")]
)
def test_scales_of_zero_and_others_are_drawn(path):
    assert drawn(says(path, 0.0))
    assert drawn(lambda recipe: any(p == path and v > 0.2 for p, v in entries(recipe)))


def projections(recipe):
    return [p.get("kind") for sampler in recipe.get("sampler", []) for p in sampler.get("projection", [])]


@pytest.mark.parametrize("order", list(product(registry.kinds("projections"), repeat=2)), ids="-".join)
def test_projections_are_drawn_in_every_order(order):
    assert drawn(lambda recipe: order in pairwise(projections(recipe)))


@pytest.mark.parametrize("count", range(4))
def test_up_to_three_projections_are_drawn(count):
    assert drawn(lambda recipe: "sampler" in recipe and len(projections(recipe)) == count)


def branches(move):
    drift = move.drift.kind if move.drift else "raw"
    return (drift, move.coupling is not None, move.covers, move.batch_mean, move.scale > 0, move.kernel.kind)


def moves_of(recipe):
    return {branches(o) for o in lower(atentdsl.load(recipe)).flat() if isinstance(o, Move)}


BRANCHES_DRAWN = set().union(*map(moves_of, DRAWN))
BRANCHES = [
    registry.kinds("drifts"),
    [True, False],
    ["loss", "energy"],
    [True, False],
    [True, False],
    registry.kinds("kernels"),
]


@pytest.mark.parametrize(("i", "j"), list(combinations(range(6), 2)))
def test_every_two_branches_of_a_move_are_drawn_together(i, j):
    for pair in set(product(BRANCHES[i], BRANCHES[j])) - {(move[i], move[j]) for move in BRANCHES_DRAWN}:
        assert drawn(lambda recipe, pair=pair: any((move[i], move[j]) == pair for move in moves_of(recipe))), pair


@given(recipes())
@settings(max_examples=60)
def test_what_is_drawn_is_a_recipe(recipe):
    assert atentdsl.load(recipe).name == recipe["recipe"]["name"]
