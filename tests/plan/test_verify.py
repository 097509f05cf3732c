"""Each rule of `verify` has a plan that breaks it and no other."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan.plans_by_hand import BROKEN, GOOD, TAKE, UPDATE, WEIGHTS, train

import atentdsl
from atentdsl.passes import stages
from atentdsl.plan import PlanError, lower, verify
from atentdsl.plan.margins import Climb, Narrow, Ray, Settle
from atentdsl.plan.metropolis import Accept, Propose
from atentdsl.plan.operations import (
    Anchor,
    Clear,
    Evaluate,
    Gather,
    Hold,
    Load,
    Move,
    PutAside,
    Restore,
    Start,
    Take,
    Update,
    X,
)
from atentdsl.recipe.tables import Compile
from atentdsl.testing import recipes

SETTINGS = Compile()

rules = importlib.import_module("atentdsl.plan.verify")  # the package offers a function of the same name

BREACHES = [(rule, plan) for rule, plans in BROKEN.items() for plan in plans]


@pytest.mark.parametrize("name", GOOD)
def test_what_keeps_every_rule_is_returned(name):
    assert verify(GOOD[name]) is GOOD[name]


@pytest.mark.parametrize(("rule", "plan"), BREACHES)
def test_what_breaks_a_rule_is_refused_for_it(rule, plan):
    with pytest.raises(PlanError) as caught:
        verify(plan)
    assert str(caught.value) == rule


@pytest.mark.parametrize(("rule", "plan"), BREACHES)
def test_what_breaks_a_rule_breaks_no_other(rule, plan, monkeypatch):
    """Where a rule that is broken does not stop the walk; it may end where nothing can be taken back or is listed."""
    broken = set()
    monkeypatch.setattr(rules, "_rule", lambda holds, text: holds or broken.add(text))
    with contextlib.suppress(IndexError):
        verify(plan)
    assert broken == {rule}


@pytest.mark.parametrize("plan", [train(TAKE, WEIGHTS, UPDATE, UPDATE), train(TAKE, UPDATE, WEIGHTS, UPDATE)])
def test_two_updates_are_refused(plan):
    """They break two rules at once: the second one is neither the only one nor what restores the weights."""
    with pytest.raises(PlanError, match="a plan that trains updates once"):
        verify(plan)


def checks():
    """Where the source checks a rule: its line, and the rule."""
    for node in ast.walk(ast.parse(inspect.getsource(rules))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_rule":
            yield node.lineno, ast.literal_eval(node.args[1])


def place(plan):
    """The line that refuses the plan."""
    try:
        verify(plan)
    except PlanError as error:
        return traceback.extract_tb(error.__traceback__)[-2].lineno  # the last one raises
    return None


def test_every_rule_is_tried():
    """By its text, and wherever it is checked."""
    assert {rule for _, rule in checks()} == set(BROKEN)
    assert {line for line, _ in checks()} == {place(plan) for _, plan in BREACHES}


@given(recipes(), st.sampled_from(["train", "draw"]))
@settings(max_examples=30)
def test_every_recipe_keeps_the_rules_at_every_stage(recipe, goal):
    for stage in stages(lower(atentdsl.load(recipe), goal), SETTINGS):
        assert verify(stage.plan) is stage.plan


def needed(operations):
    """What a plan that trains cannot lose, as (number, 0), or have twice in a row, as (number, 2).

    Not everything: a second batch, a second chain or one handed-on point of several can go unnoticed.
    """
    first = {}
    for i, operation in enumerate(operations):
        later = operations[i + 1 :]
        own = getattr(operation, "sampler", "")
        seen = first.setdefault((type(operation), own), i) != i
        match operation:
            case Update():
                yield from [(i, 0), (i, 2)]
            case Evaluate(wants="input"):
                yield i, 0  # a move follows
            case Evaluate(wants="density") | Accept():
                yield i, 0
            case Propose():
                yield i, 0  # the density there would be that of the proposal before
            case Climb():
                yield i, 2  # the gradient was at the point before
            case Ray() | Narrow() | Settle():
                yield i, 0
            case Evaluate(wants="loss") if any(isinstance(o, Ray) for o in operations):
                yield i, 0  # what follows would be led by the losses before
            case Evaluate(wants="loss", at=at) if any(isinstance(o, Move) and o.sampler == at for o in operations):
                yield i, 0  # the losses of a restart before are not those of the point since it moved
            case Move():
                yield i, 2  # the gradient was at the point before
            case Take() if not seen and _reads_x(later):
                yield i, 0
            case Anchor():
                yield from [(i, 2)] if seen else [(i, 0), (i, 2)]
            case Start(space="data") if not seen:
                yield i, 0
            case Start(space="weights") if not seen and any(isinstance(o, Load) and o.sampler == own for o in later):
                yield i, 0
            case Clear(shelf="candidates") if operation in operations[:i]:
                yield i, 0  # with those of the restart before there are too many
            case Hold(shelf="candidates"):
                yield from [(i, 0), (i, 2)]  # the other restarts have another number
            case PutAside() | Gather():
                yield from [(i, 0), (i, 2)]
            case Load() if _evaluates_first(later, own):
                yield i, 0
            case Restore():
                yield i, 2
                restarts = bool(later) and isinstance(later[0], Start) and later[0].sampler == own
                if not restarts or _loads_last(operations[:i], own):
                    yield i, 0


def _reads_x(operations):
    """Whether something is asked for at the batch, or around it, before another one is taken."""
    for operation in operations:
        if X in {getattr(operation, "at", ""), getattr(operation, "anchor", "")}:
            return True
        if isinstance(operation, Take):
            return False
    return False


def _evaluates_first(operations, sampler):
    """Whether the network is evaluated before it takes the sampler's next weights."""
    for operation in operations:
        if isinstance(operation, Evaluate):
            return True
        if isinstance(operation, Load | Restore) and operation.sampler == sampler:
            return False
    return False


def _loads_last(operations, sampler):
    """Whether the network has taken any weights since the sampler's anchor was what it had."""
    for operation in reversed(operations):
        if isinstance(operation, Load):
            return True
        if isinstance(operation, Anchor | Restore) and operation.sampler == sampler:
            return False
    return False


@given(recipes(), st.data())
@settings(max_examples=75)
def test_a_lowered_plan_that_loses_or_doubles_what_it_needs_is_refused(recipe, data):
    operations = lower(atentdsl.load(recipe)).operations
    i, times = data.draw(st.sampled_from(list(needed(operations))))
    with pytest.raises(PlanError):
        verify(train(*operations[:i], *[operations[i]] * times, *operations[i + 1 :]))
