"""Merge evaluations: both gradients of a point from one forward and one backward, and where they are left apart."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from plan.plans_by_hand import BOX, GRADIENT, HANDED, MOVE, START, TAKE, UPDATE, of, train

import atentdsl
from atentdsl.passes import merge_evaluations
from atentdsl.plan import lower, verify
from atentdsl.plan.operations import Evaluate, Place
from atentdsl.recipe.tables import Compile
from atentdsl.testing import batch, differences, edited, interpreted, network, recipes

SETTINGS = Compile()
BATCHES = [batch(seed=1), batch(count=3, seed=2)]
IN_TRAIN = of(GRADIENT, mode="train")
BOTH = of(HANDED, wants="both")


def merged(*operations):
    return merge_evaluations.apply(train(*operations), SETTINGS).operations


def reason(*operations):
    return merge_evaluations.why_not(train(*operations), SETTINGS)


@pytest.mark.parametrize("pair", [(HANDED, IN_TRAIN), (IN_TRAIN, HANDED)])
def test_neighbours_at_one_point_are_one(pair):
    assert merged(TAKE, START, *pair, MOVE, HANDED, UPDATE) == (TAKE, START, BOTH, MOVE, HANDED, UPDATE)
    assert reason(TAKE, START, *pair, MOVE, HANDED, UPDATE) is None


APART = {
    "another mode": ((HANDED, GRADIENT), "the chain runs in eval mode, the signal's gradient is taken in train mode"),
    "another point": ((of(HANDED, at="batch.x"), IN_TRAIN), "no point is asked for both"),
    "a move between": ((HANDED, MOVE, IN_TRAIN), "no point is asked for both"),
    "a projection between": ((HANDED, BOX, IN_TRAIN), "no point is asked for both"),
    "a batch between": ((HANDED, TAKE, IN_TRAIN), "no point is asked for both"),
    "a density": ((HANDED, of(IN_TRAIN, wants="density")), "no point is asked for both"),
    "two of a kind": ((HANDED, HANDED, MOVE, IN_TRAIN), "no point is asked for both"),
    "statistics that are read later": (
        (HANDED, IN_TRAIN, MOVE, GRADIENT),
        "a later evaluation in eval mode reads running statistics",
    ),
}


@pytest.mark.parametrize("case", APART)
def test_what_is_not_the_same_is_left_apart_and_said_why(case):
    between, says = APART[case]
    operations = (TAKE, START, *between, UPDATE)
    assert merged(*operations) == operations
    assert reason(*operations).startswith(says)


def test_an_earlier_evaluation_in_eval_mode_reads_nothing_that_comes_after():
    operations = (TAKE, START, GRADIENT, MOVE, HANDED, IN_TRAIN, MOVE, HANDED, UPDATE)
    assert merged(*operations) == (TAKE, START, GRADIENT, MOVE, BOTH, MOVE, HANDED, UPDATE)


@given(recipes())
@settings(max_examples=30)
def test_points_and_gradients_keep_every_bit(recipe):
    """With dropout; of batch norm all but the running statistics."""
    literal = lower(atentdsl.load(recipe))
    made = verify(merge_evaluations.apply(literal, SETTINGS))
    model = network(dropout=0.4)
    assert differences(interpreted(literal, model, BATCHES), interpreted(made, model, BATCHES)) == []
    model = network(batch_norm=True)
    one, other = (interpreted(plan, model, BATCHES[:1]) for plan in (literal, made))
    for execution in (one, other):
        for name in [name for name in execution.weights if "running" in name or "tracked" in name]:
            del execution.weights[name]
    assert differences(one, other) == []


READS_LATER = {
    "outer": {"mode": "train", "averaging": {"kind": "mean"}},
    "inner": {"mode": "eval", "averaging": {"kind": "last"}},
}


def test_a_chain_in_eval_mode_reads_the_statistics_that_the_literal_plan_leaves():
    """Merged regardless, its points would be others."""
    whole = atentdsl.load("sgd").values() | {"evaluate": {"select": "clean", "attacks": []}}
    kernel = {"step_size": 0.2, "drift": "l2"}
    group = [{"name": n, "moves": 2, "kernel": kernel, "target": {"loss": "cross_entropy"}} for n in READS_LATER]
    restarts = {"restarts": 2, "averaging": {"kind": "mean", "over_restarts": "worst"}}
    whole["sampler"] = [group[0] | READS_LATER["outer"], group[1] | READS_LATER["inner"]]
    literal = lower(atentdsl.load(whole | {"sampler": [whole["sampler"][0] | restarts, whole["sampler"][1]]}))
    first = of(HANDED, at="outer")
    operations = list(literal.operations)
    start = next(i for i, o in enumerate(operations) if isinstance(o, Evaluate))
    operations[start:start] = [first]  # a weight evaluation at the outer chain's start, in train mode
    plan, model = verify(train(*operations)), network(batch_norm=True)
    assert merge_evaluations.apply(plan, SETTINGS) == plan
    assert reason(*operations).startswith("a later evaluation in eval mode")
    mutant = edited(merge_evaluations, "last_in_eval > i + 1", "last_in_eval > len(operations)")
    one, other = (interpreted(p, model, BATCHES[:1]) for p in (plan, mutant.apply(plan, SETTINGS)))
    assert len(one.points[0]) == len(other.points[0])
    assert not all(torch.equal(a, b) for a, b in zip(one.points[0], other.points[0], strict=True))


def updates_of_running_statistics(plan, model):
    return int(interpreted(plan, model, BATCHES[:1]).weights["2.num_batches_tracked"])


@pytest.mark.parametrize("K", [1, 3, 6])
def test_running_statistics_are_updated_once_a_point(K):  # noqa: N803
    """K + 1 times, and 2K times literally."""
    literal = lower(atentdsl.load("atent_linf", [f"sampler.attack.moves={K}"]))
    model = network(batch_norm=True)
    assert updates_of_running_statistics(literal, model) == 2 * K
    assert updates_of_running_statistics(merge_evaluations.apply(literal, SETTINGS), model) == K + 1


@given(recipes())
@settings(max_examples=30)
def test_what_is_left_apart_has_a_reason(recipe):
    """No two evaluations that could be one stand side by side afterwards."""
    literal = lower(atentdsl.load(recipe))
    made = merge_evaluations.apply(literal, SETTINGS)
    for one, other in itertools.pairwise(made.operations):
        if (
            isinstance(one, Evaluate)
            and isinstance(other, Evaluate)
            and {one.wants, other.wants} == {"input", "weights"}
        ):
            alike = one.at == other.at and one.mode == other.mode and one.loss.function is other.loss.function
            assert not alike or merge_evaluations.why_not(made, SETTINGS).startswith("a later evaluation in eval mode")
    assert (made == literal) == (merge_evaluations.why_not(literal, SETTINGS) is not None)
    assert not any(isinstance(o, Place) for o in made.operations)


def test_the_weights_gradient_of_one_backward_is_the_one_of_two():
    """Independent of the plan: autograd asked once for both, or twice; c / n is multiplied afterwards."""
    model, (x, y) = network(dropout=0.0), batch(4)
    z = x.clone().requires_grad_()
    asked = list(model.parameters())

    def total():
        return torch.nn.functional.cross_entropy(model(z), y, reduction="sum")

    g, *at_once = torch.autograd.grad(total(), [z, *asked])
    assert torch.equal(g, torch.autograd.grad(total(), z)[0])
    for one, apart in zip(at_once, torch.autograd.grad(total(), asked), strict=True):
        assert torch.equal(one, apart)
