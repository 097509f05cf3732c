"""Each rule of `verify` has a plan that breaks it and no other."""

from __future__ import annotations

import inspect
import re
from fractions import Fraction

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.passes import stages
from atentdsl.plan import Plan, PlanError, lower, verify
from atentdsl.plan.operations import Call, Evaluate, Frozen, Keep, Move, Project, Repeat, Start, Take, Update
from atentdsl.testing import recipes

LOSS = Call("targets", "cross_entropy")
TAKE = Take()
START = Start(Call("starts", "gaussian", (("sd", 0.1),)), "data.start")
GRADIENT = Evaluate("input", LOSS, "eval")
MOVE = Move(Call("kernels", "gradient", (("step_size", 0.1),)), "data.noise", 1.0, False, None, None, "loss")
BOX = Project(Call("projections", "box"), "move")
BOX_OF_THE_START = attrs.evolve(BOX, after="start")
CLIP = Project(Call("projections", "increment_clip", (("radius", 0.1),)), "move")
WEIGHTS = Evaluate("weights", LOSS, "train", Fraction(1))
KEEP = Keep(Fraction(1))
UPDATE = Update(Call("optimizers", "sgd"), Call("schedules", "constant", (("value", 0.1),)), "epochs")
LOOPED = attrs.evolve(WEIGHTS, coefficient="loop")


def train(*operations):
    return Plan("train", operations)


def of(operation, **changes):
    return attrs.evolve(operation, **changes)


TURN = (GRADIENT, MOVE, LOOPED)
HALVES = (Fraction(1, 2), Fraction(1, 2))
GOOD = {
    "plain training": train(TAKE, WEIGHTS, UPDATE),
    "a chain": train(TAKE, START, BOX_OF_THE_START, GRADIENT, MOVE, BOX, CLIP, WEIGHTS, UPDATE),
    "a chain that is drawn": Plan("draw", (TAKE, START, KEEP, GRADIENT, MOVE, KEEP)),
    "a loop": train(TAKE, Repeat(2, (GRADIENT, MOVE)), WEIGHTS, UPDATE),
    "a loop with coefficients": train(TAKE, Repeat(2, TURN, HALVES), UPDATE),
    "loops in loops": train(TAKE, Repeat(2, (Repeat(3, (GRADIENT, MOVE)), LOOPED), HALVES), UPDATE),
    "a frozen region in a loop": train(TAKE, Repeat(2, (Frozen((GRADIENT, MOVE)), LOOPED), HALVES), UPDATE),
    "a gradient that is taken twice": train(TAKE, GRADIENT, GRADIENT, MOVE, WEIGHTS, UPDATE),
    "weights between the gradient and the move": train(TAKE, GRADIENT, WEIGHTS, MOVE, UPDATE),
}
BROKEN = {
    "a plan begins with its batch": [
        train(WEIGHTS, UPDATE),
        train(),
        train(START, TAKE, WEIGHTS, UPDATE),
    ],
    "a plan takes one batch": [train(TAKE, TAKE, WEIGHTS, UPDATE)],
    "a move needs the gradient at its own point": [
        train(TAKE, START, MOVE, WEIGHTS, UPDATE),
        train(TAKE, GRADIENT, MOVE, MOVE, WEIGHTS, UPDATE),
        train(TAKE, GRADIENT, START, MOVE, WEIGHTS, UPDATE),
        train(TAKE, GRADIENT, MOVE, GRADIENT, BOX, MOVE, WEIGHTS, UPDATE),
        train(TAKE, GRADIENT, Repeat(2, (MOVE, BOX)), WEIGHTS, UPDATE),
    ],
    "a projection says whether it follows the start or a move": [
        train(TAKE, BOX, WEIGHTS, UPDATE),
        train(TAKE, START, CLIP, GRADIENT, MOVE, WEIGHTS, UPDATE),
        train(TAKE, START, GRADIENT, MOVE, BOX_OF_THE_START, WEIGHTS, UPDATE),
    ],
    "a plan hands on at least one point": [train(TAKE, UPDATE), Plan("draw", (TAKE, GRADIENT, MOVE))],
    "points are kept to draw, evaluated to train": [
        train(TAKE, KEEP, UPDATE),
        train(TAKE, WEIGHTS, KEEP, UPDATE),
        Plan("draw", (TAKE, WEIGHTS)),
    ],
    "one update ends a plan that trains": [
        train(TAKE, WEIGHTS),
        train(TAKE, WEIGHTS, UPDATE, UPDATE),
        train(TAKE, UPDATE, WEIGHTS),
        Plan("draw", (TAKE, KEEP, UPDATE)),
    ],
    "a frozen region holds no other": [
        train(TAKE, Frozen((Frozen((GRADIENT, MOVE)),)), WEIGHTS, UPDATE),
        train(TAKE, Frozen((Repeat(2, (Frozen((GRADIENT, MOVE)),)),)), WEIGHTS, UPDATE),
    ],
    "a loop runs at least twice": [
        train(TAKE, Repeat(1, (GRADIENT, MOVE)), WEIGHTS, UPDATE),
        train(TAKE, Repeat(1, TURN, (Fraction(1),)), UPDATE),
    ],
    "a loop has a coefficient for each turn": [
        train(TAKE, Repeat(3, TURN, HALVES), UPDATE),
        train(TAKE, Repeat(2, TURN, (*HALVES, Fraction(1))), UPDATE),
    ],
    "frozen weights have no gradient": [
        train(TAKE, Frozen((GRADIENT, MOVE, WEIGHTS)), UPDATE),
        train(TAKE, Frozen((Repeat(2, TURN, HALVES),)), UPDATE),
    ],
    "the signal's gradient is taken in train mode": [train(TAKE, of(WEIGHTS, mode="eval"), UPDATE)],
    "weight evaluations, and they alone, have a coefficient": [
        train(TAKE, of(WEIGHTS, coefficient=None), UPDATE),
        train(TAKE, of(GRADIENT, coefficient=Fraction(1)), MOVE, WEIGHTS, UPDATE),
    ],
    "a loop's coefficient stands inside a loop that lists them": [
        train(TAKE, LOOPED, UPDATE),
        train(TAKE, Repeat(2, TURN), UPDATE),
        Plan("draw", (TAKE, of(KEEP, coefficient="loop"))),
        train(TAKE, Repeat(2, TURN, HALVES), LOOPED, UPDATE),
    ],
    "a point of coefficient 0 is not handed on": [
        train(TAKE, of(WEIGHTS, coefficient=Fraction(0)), UPDATE),
        Plan("draw", (TAKE, of(KEEP, coefficient=Fraction(0)))),
        train(TAKE, Repeat(2, TURN, (Fraction(0), Fraction(1))), UPDATE),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_keeps_every_rule_is_returned(name):
    assert verify(GOOD[name]) is GOOD[name]


@pytest.mark.parametrize(("rule", "plan"), [(rule, plan) for rule, plans in BROKEN.items() for plan in plans])
def test_what_breaks_a_rule_is_refused_for_it(rule, plan):
    with pytest.raises(PlanError) as caught:
        verify(plan)
    assert str(caught.value) == rule


def test_every_rule_is_tried():
    """A rule's text is the last string of its call."""
    source = inspect.getsource(inspect.getmodule(verify))
    rules = set(re.findall(r'_rule\([^"]*(?:"[a-z]+"[^"]+)*?"([^"]+ [^"]+)"\s*\)', source))
    assert rules == set(BROKEN)
    assert source.count("_rule(") - 1 == len(rules)  # its definition apart


@given(recipes(), st.sampled_from(["train", "draw"]))
@settings(max_examples=60)
def test_every_recipe_keeps_the_rules_at_every_stage(recipe, goal):
    for stage in stages(lower(atentdsl.load(recipe), goal)):
        assert verify(stage.plan) is stage.plan


@given(recipes(), st.data())
@settings(max_examples=100)
def test_a_lowered_plan_that_loses_or_doubles_what_it_needs_is_refused(recipe, data):
    """Batch, gradient, update: dropped or, but for the gradient, doubled."""
    plan = lower(atentdsl.load(recipe))
    needed = [
        i for i, o in enumerate(plan.operations) if isinstance(o, Take | Update) or getattr(o, "wants", "") == "input"
    ]
    i = data.draw(st.sampled_from(needed))
    times = 0 if isinstance(plan.operations[i], Evaluate) else data.draw(st.sampled_from([0, 2]))
    changed = (*plan.operations[:i], *[plan.operations[i]] * times, *plan.operations[i + 1 :])
    with pytest.raises(PlanError):
        verify(attrs.evolve(plan, operations=changed))
