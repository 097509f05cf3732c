"""What `recipes()` draws: everything that a recipe can say, and nothing that the checks refuse."""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise, product
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis.errors import NoSuchExample
from pydantic import BaseModel

import atentdsl
from atentdsl.plan import lower
from atentdsl.plan.metropolis import Accept
from atentdsl.plan.operations import Move
from atentdsl.plan.values import Call
from atentdsl.primitives import registry
from atentdsl.primitives.density import Target
from atentdsl.recipe.tables import Compile, Data, Evaluate, Smoothing
from atentdsl.testing import recipes, sample


@cache
def sampled():
    """Drawn when a test first asks, and not by every process that collects the tests; fewer need longer searches."""
    return sample(recipes(), 450)


LONG_SEARCH = settings(
    max_examples=3000, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck)
)


@cache
def in_all(of):
    """What is found in any of the 450, by a function that finds a set in one."""
    return set().union(*map(of, sampled()))


def drawn(holds):
    """Whether a recipe of which this holds is drawn: among the 450, or of the rare ones in a longer search."""
    if any(map(holds, sampled())):
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
    "weight_averages": ("optimizer", "weight_averaging", "kind"),
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
            for choice in get_args(value):  # of a field that may be left out
                if isinstance(choice, str):
                    yield (*path, name), choice


TABLES = (
    [(Target, ("sampler", "target")), (Evaluate, ("evaluate",)), (Data, ("data",)), (Compile, ("compile",))]
    + [(Smoothing, ("smoothing",))]
    + [
        (registry.primitive(family, kind).parameters, SLOTS[family][:-1])
        for family, kind in KINDS
        if SLOTS[family][-1] == "kind"
    ]
)
# What is counted by the move changes in a sampler alone.
NEVER = (("optimizer", "lr", "over"), "moves")
OPTIONS = sorted({option for model, path in TABLES for option in options(model, path)} - {NEVER}, key=str)


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


@pytest.mark.parametrize("table", ["sampler", "objective", "smoothing"])
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


@pytest.mark.long
@pytest.mark.parametrize("order", list(product(registry.kinds("projections"), repeat=2)), ids="-".join)
def test_projections_are_drawn_in_every_order(order):
    assert drawn(lambda recipe: order in pairwise(projections(recipe)))


@pytest.mark.parametrize("count", range(4))
def test_up_to_three_projections_are_drawn(count):
    assert drawn(lambda recipe: "sampler" in recipe and len(projections(recipe)) == count)


def branches(move):
    drift = move.drift.kind if move.drift else "raw"
    spread = (move.space, move.momentum is not None)
    return (drift, move.coupling is not None, move.covers, move.batch_mean, move.descend, move.kernel.kind, *spread)


def moves_of(recipe):
    return {branches(o) for o in lower(atentdsl.load(recipe)).flat() if isinstance(o, Move)}


BRANCHES = [
    registry.kinds("drifts"),
    [True, False],
    ["loss", "energy"],
    [True, False],
    [True, False],
    [kind for kind in registry.kinds("kernels") if registry.primitive("kernels", kind).acceptance is None],
    ["data", "weights"],
    [True, False],
]
# What the checks refuse together: layers are of weights; the box that `sparse` reads, and a batch's mean, are of data.
APART = {("layer", "data"), ("sparse", "weights"), (True, "weights")}


@pytest.mark.long
@pytest.mark.parametrize(("i", "j"), list(combinations(range(8), 2)))
def test_every_two_branches_of_a_move_are_drawn_together(i, j):
    apart = APART if (i, j) in {(0, 6), (3, 6)} else {("layer", True)} if (i, j) == (0, 3) else set()
    for pair in set(product(BRANCHES[i], BRANCHES[j])) - {(move[i], move[j]) for move in in_all(moves_of)} - apart:
        assert drawn(lambda recipe, pair=pair: any((move[i], move[j]) == pair for move in moves_of(recipe))), pair


def accepted(recipe):
    """Of each move that is accepted or rejected: what pulls, which way it goes, its loss and its sets."""
    flat = list(lower(atentdsl.load(recipe)).flat())
    losses = {o.at: o.loss.kind for o in flat if getattr(o, "wants", "") == "density"}
    return {
        (o.energy.coupling.kind if o.energy.coupling else "none", o.energy.descend, losses[o.sampler], inside.kind)
        for o in flat
        if isinstance(o, Accept)
        for inside in o.support or (Call("projections", "none"),)
    }


SETS = ["none", *(kind for kind in registry.kinds("projections") if registry.primitive("projections", kind).inside)]
TESTED = [registry.kinds("couplings"), [True, False], ["cross_entropy", "kl_to_clean"], SETS]


@pytest.mark.long
@pytest.mark.parametrize(("i", "j"), list(combinations(range(4), 2)))
def test_every_two_branches_of_an_accepted_move_are_drawn_together(i, j):
    unbounded = {("none", "none")} if (i, j) == (0, 3) else set()
    for pair in set(product(TESTED[i], TESTED[j])) - {(move[i], move[j]) for move in in_all(accepted)} - unbounded:
        assert drawn(lambda recipe, pair=pair: any((move[i], move[j]) == pair for move in accepted(recipe))), pair


@given(recipes())
@settings(max_examples=30)
def test_what_is_drawn_is_a_recipe(recipe):
    assert atentdsl.load(recipe).name == recipe["recipe"]["name"]


def scheduled(recipe):
    """Where a number is a schedule, and what it is counted by."""
    found = set()

    def walk(value, path):
        if isinstance(value, dict):
            if len(path) > 1 and path[-1] != "lr" and value.get("kind") in registry.kinds("schedules"):
                found.add((path[-1], value.get("over", "epochs")))
            for key, child in value.items():
                walk(child, (*path, key))
        elif isinstance(value, list):
            for child in value:
                walk(child, path)

    walk(recipe, ())
    return found


OF_A_SAMPLER = ["step_size", "radius", "beta"]  # step size, noise, momentum: one slot each; these stand for all


@pytest.mark.parametrize("over", ["moves", "epochs", "steps"])
@pytest.mark.parametrize("number", OF_A_SAMPLER)
def test_numbers_of_a_sampler_are_drawn_as_schedules_over_each_clock(number, over):
    assert (number, over) in in_all(scheduled) or drawn(lambda recipe: (number, over) in scheduled(recipe))


def spaces(recipe):
    return tuple(sampler.get("space", "data") for sampler in recipe.get("sampler", []))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_samplers_are_drawn_inside_one_another_in_every_order_of_spaces(count):
    """Three of them too, in some of their orders."""
    drawn_orders = set(map(spaces, sampled()))
    for order in product(["data", "weights"], repeat=count):
        assert order in drawn_orders or drawn(lambda recipe, order=order: spaces(recipe) == order)
    assert any(len(order) == 3 for order in drawn_orders)


@pytest.mark.parametrize("of", ["gradient", "displacement"])
@pytest.mark.parametrize("kind", registry.kinds("averaging"))
def test_every_pair_of_a_space_and_an_averaging_is_drawn(kind, of):
    def holds(recipe, space):
        return any(
            sampler.get("space", "data") == space
            and sampler.get("averaging", {}).get("kind") == kind
            and sampler["averaging"].get("of", "gradient") == of
            for sampler in recipe.get("sampler", [])
        )

    for space in ("data", "weights") if of == "gradient" else ("weights",):
        assert drawn(lambda recipe, space=space: holds(recipe, space))
