"""Share clean forward: one forward for both readings, the gradient to rounding, and nothing that a step notices."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings

import atentdsl
from atentdsl.passes import share_clean_forward
from atentdsl.plan import lower, units, verify
from atentdsl.plan.operations import Evaluate
from atentdsl.recipe.tables import Compile
from atentdsl.testing import batch, differences, edited, interpreted, network, recipes

SETTINGS = Compile()

ONE_STEP = [batch(seed=1)]
MODEL = network(dropout=0.4, batch_norm=True)
TOLERANCE = 1e-10
EVERY_POINT = "sampler.attack.averaging={ kind = 'mean' }"


def without_buffers(execution):
    """One step's execution but for the running statistics, of which the next one begins with others."""
    names = dict(MODEL.named_parameters())
    return attrs.evolve(execution, weights={n: value for n, value in execution.weights.items() if n in names})


def disagreement(one, other):
    """In one step, by more than rounding."""
    found = (without_buffers(interpreted(plan, MODEL, ONE_STEP)) for plan in (one, other))
    return differences(*found, TOLERANCE)


def with_trades(recipe):
    """The recipe's samplers of data, and TRADES.

    Without those of weights: they would carry a rounding on, under a `sign` drift as far as they please.
    """
    samplers = [sampler for sampler in recipe.get("sampler", []) if sampler.get("space", "data") == "data"]
    return recipe | {
        "sampler": samplers or [{"moves": 0, "start": {"kind": "uniform", "radius": 0.1}}],
        "objective": {"kind": "trades", "beta": 2.0},
        "optimizer": {key: value for key, value in recipe["optimizer"].items() if key != "restore"},
        "evaluate": {"attacks": [], "select": "clean"},
    }


@given(recipes().map(with_trades))
@settings(max_examples=30)
def test_the_gradient_is_the_literal_plan_s_to_rounding(recipe):
    """With dropout and batch norm: points to the last bit, gradients and updated weights to rounding."""
    literal = lower(atentdsl.load(recipe))
    shared = verify(share_clean_forward.apply(literal, SETTINGS))
    assert disagreement(literal, shared) == []
    one, other = (interpreted(plan, MODEL, ONE_STEP) for plan in (literal, shared))
    points = [attrs.evolve(e, weights={}, weight_gradients=[]) for e in (one, other)]
    assert differences(*points) == []
    assert units(literal) - units(shared) == 3 * (made_again(literal) - made_again(shared))


def made_again(plan):
    """The clean forwards, in batches, that repeat one of the same evaluation."""
    twice = [o for o in plan.operations if isinstance(o, Evaluate) and o.clean == 2]
    return sum(1 if o.smoothed is None else o.smoothed.draws for o in twice)


def recipe_of(**changes):
    whole = atentdsl.load("trades_linf", ["sampler.attack.moves=3"]).values()
    weights = {
        "space": "weights",
        "moves": 2,
        "target": {"loss": "signal", "direction": "ascend"},
        "kernel": {"step_size": 0.05, "drift": "layer"},
        **changes,
    }
    whole["sampler"].append(weights)
    return atentdsl.load(whole)


@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_around_the_weights_every_target_shares_too(mode):
    literal = lower(recipe_of(mode=mode))
    shared = verify(share_clean_forward.apply(literal, SETTINGS))
    assert units(literal) - units(shared) == 3 * 3
    assert disagreement(literal, shared) == []
    assert share_clean_forward.effect(literal, shared) == (
        "one clean forward in 3 evaluations, 9 units less; running statistics are updated once less"
    )


def test_an_evaluation_that_a_later_one_would_notice_is_left_alone():
    """Points averaged on the way: the attack goes on in eval mode, and reads what the first two have left behind."""
    literal = lower(atentdsl.load("trades_linf", ["sampler.attack.moves=3", EVERY_POINT]))
    shared = share_clean_forward.apply(literal, SETTINGS)
    assert [o.clean for o in shared.operations if isinstance(o, Evaluate) and o.wants == "weights"] == [2, 2, 1]
    assert disagreement(literal, shared) == []


def test_in_train_mode_throughout_all_share():
    changes = ["sampler.attack.moves=3", 'sampler.attack.mode="train"', EVERY_POINT]
    literal = lower(atentdsl.load("trades_linf", changes))
    shared = share_clean_forward.apply(literal, SETTINGS)
    assert [o.clean for o in shared.operations if isinstance(o, Evaluate) and o.wants == "weights"] == [1, 1, 1]
    assert disagreement(literal, shared) == []


def test_a_target_in_eval_mode_shares_whatever_comes_later():
    """It updates no statistics."""
    shared = share_clean_forward.apply(lower(recipe_of(mode="eval")), SETTINGS)
    assert [o.clean for o in shared.operations if isinstance(o, Evaluate) and o.wants == "weights"] == [1, 1, 1]


@pytest.mark.parametrize("name", ["mart", "pgd_at_linf", "sgd"])
def test_where_nothing_is_read_twice_it_says_so(name):
    literal = lower(atentdsl.load(name))
    assert share_clean_forward.apply(literal, SETTINGS) == literal
    assert share_clean_forward.why_not(literal, SETTINGS) == "no objective reads the clean logits twice"


def test_where_every_forward_would_be_noticed_it_says_so():
    """Local entropy around it: the last attack comes after the last evaluation of the objective but one."""
    whole = atentdsl.load("trades_linf", ["sampler.attack.moves=1"]).values()
    weights = {
        "space": "weights",
        "moves": 2,
        "mode": "train",
        "target": {"loss": "signal", "direction": "descend"},
        "kernel": {"step_size": 0.05},
        "averaging": {"kind": "mean", "of": "displacement"},
    }
    whole["sampler"].insert(0, weights)
    literal = lower(atentdsl.load(whole))
    asked = [o for o in share_clean_forward.apply(literal, SETTINGS).operations if isinstance(o, Evaluate)]
    assert [o.clean for o in asked if o.wants == "weights"] == [2, 1]
    assert share_clean_forward.why_not(literal, SETTINGS) is None
    attack = next(o for o in literal.operations if isinstance(o, Evaluate) and o.mode == "eval")
    noticed = attrs.evolve(literal, operations=(*literal.operations, attack))
    assert share_clean_forward.apply(noticed, SETTINGS) == noticed
    assert share_clean_forward.why_not(noticed, SETTINGS) == (
        "a later evaluation in eval mode reads the statistics that one forward would update once less"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("i < last", "False"),
        ("clean=1)\n", "clean=1, mode='eval')\n"),
        ("clean=1)\n", "clean=1, coefficient=operation.coefficient / 2)\n"),
        ('o.mode == "eval"', 'o.mode == "frozen"'),
    ],
)
def test_an_edited_pass_is_caught(old, new):
    literal = lower(atentdsl.load("trades_linf", ["sampler.attack.moves=3", EVERY_POINT]))
    assert disagreement(literal, edited(share_clean_forward, old, new).apply(literal, SETTINGS)) != []
