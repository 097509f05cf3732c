"""Drop negligible: what is left out weighs less than the tolerance, and as much as may be is left out."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plan.plans_by_hand import ANCHOR, AT_ITS_ANCHOR, HANDED, LOAD, MOVE_W, RESTORE, START, TAKE, UPDATE, of, train

import atentdsl
from atentdsl.passes import drop_negligible, merge_evaluations
from atentdsl.plan import lower, units, verify
from atentdsl.plan.operations import Evaluate, Gather, Hold, PutAside, Recall
from atentdsl.recipe.tables import Compile
from atentdsl.testing import batch, edited, interpreted, network, recipes

DEFAULT = Compile()

coefficients = st.lists(
    st.fractions(min_value=Fraction(1, 10**6), max_value=1, max_denominator=10**6), min_size=1, max_size=8
)
tolerances = st.sampled_from([0.0, 1e-6, 2e-3, 0.1, 1 / 3, 0.5, 0.9])


def at(tolerance):
    return Compile(tolerance=tolerance)


def plan_of(cs):
    return train(TAKE, START, *(of(HANDED, coefficient=c) for c in cs), UPDATE)


def kept(plan):
    return [o.coefficient for o in plan.flat() if isinstance(o, Evaluate) and o.asks_weights]


@given(coefficients, tolerances)
@settings(max_examples=150)
def test_as_many_as_the_tolerance_allows_and_no_more(cs, tolerance):
    """By counting through every number of points that could go, the lightest first."""
    made = drop_negligible.apply(plan_of(cs), at(tolerance))
    allowed = Fraction(str(tolerance)) * sum(cs)
    light = sorted(cs)
    most = max(count for count in range(len(cs)) if count == 0 or sum(light[:count]) < allowed)
    assert sorted(kept(made)) == light[most:]
    assert sum(made.neglected) == sum(light[:most])
    assert drop_negligible.apply(made, at(tolerance)) == made
    assert (made == plan_of(cs)) == (drop_negligible.why_not(plan_of(cs), at(tolerance)) is not None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tolerance * (left_out", "10 * tolerance * (left_out"),
        ("tolerance * (left_out + sum(weights.values()))", "tolerance"),
        ("key=lambda place: weights[place]", "key=lambda place: -weights[place]"),
        (">= allowed", "> allowed"),
        ("left_out += weights[place]", "pass"),
        ("if place in dropped and isinstance", "if place - 1 in dropped and isinstance"),
    ],
)
def test_another_choice_of_points_is_noticed(old, new):
    mutant = edited(drop_negligible, old, new)
    cs = [Fraction(1, 5), Fraction(1, 10), Fraction(1, 10), Fraction(2, 5), Fraction(6, 5)]
    noticed = [
        tolerance
        for tolerance in (0.05, 0.1, 0.25)
        if kept(mutant.apply(plan_of(cs), at(tolerance))) != kept(drop_negligible.apply(plan_of(cs), at(tolerance)))
    ]
    assert noticed


@given(coefficients, tolerances)
def test_a_second_time_or_after_another_pass_nothing_more_goes(cs, tolerance):
    once = drop_negligible.apply(plan_of(cs), at(tolerance))
    assert drop_negligible.apply(once, at(tolerance / 2)) == once


@pytest.mark.parametrize("K", [4, 10, 15, 40])
def test_what_is_a_tie_in_floats_is_told_apart(K):  # noqa: N803 - the paper's letter
    """At 1e-3 all but three of alpha = 0.9 sum to 1e-3 (1 - 0.1^(K - 3)), which is less than 1e-3 (1 - 0.1^K)."""
    plan = lower(atentdsl.load("atent_linf", [f"sampler.attack.moves={K}"]))
    assert sum(kept(plan)) == 1 - Fraction(1, 10**K)
    assert len(kept(drop_negligible.apply(plan, at(1e-3)))) == 3
    assert len(kept(drop_negligible.apply(plan, at(0.89e-3)))) == 4


def test_each_targets_gradient_has_a_sum_of_its_own():
    """The light point of the target goes, though it would weigh much in the signal."""
    light, heavy = of(HANDED, coefficient=Fraction(1, 1000)), of(HANDED, coefficient=Fraction(1))
    signal = of(HANDED, coefficient=Fraction(1, 1000))
    target = (PutAside("w"), light, heavy, Gather("w"))
    plan = train(TAKE, START, ANCHOR, AT_ITS_ANCHOR, *target, MOVE_W, LOAD, signal, RESTORE, UPDATE)
    made = verify(drop_negligible.apply(plan, DEFAULT))
    assert kept(made) == [Fraction(1), Fraction(1, 1000)]
    assert made.neglected == (Fraction(0), Fraction(1, 1000))


def test_a_merged_evaluation_still_gives_the_inputs_gradient():
    merged = merge_evaluations.apply(lower(atentdsl.load("atent_linf")), DEFAULT)
    made = verify(drop_negligible.apply(merged, DEFAULT))
    other_way = merge_evaluations.apply(drop_negligible.apply(lower(atentdsl.load("atent_linf")), DEFAULT), DEFAULT)
    assert made == other_way
    assert units(made) == 2 * 10 + 5


def test_a_point_that_is_recalled_to_be_dropped_is_not_recalled():
    changes = [
        "sampler.attack.restarts=2",
        'sampler.attack.averaging={ kind = "exponential", over_restarts = "worst" }',
    ]
    plan = lower(atentdsl.load("atent_linf", changes))
    made = verify(drop_negligible.apply(plan, DEFAULT))
    assert units(plan) - units(made) == 3 * 7
    kept_ = [o for o in made.operations if isinstance(o, Hold | Recall)]
    assert [o.index for o in kept_ if isinstance(o, Recall)] == [0, 1, 2]
    assert sum(isinstance(o, Hold) for o in kept_) == 2 * 3, "and what is not recalled is not held"
    model, pairs = network(dropout=0.4), [batch(seed=1), batch(count=3, seed=2)]
    one, other = (interpreted(p, model, pairs) for p in (plan, made))
    for step in range(2):
        assert len(other.points[step]) == 3
    assert all(torch.equal(a, b) for a, b in zip(one.points[0][-3:], other.points[0], strict=True))


def test_of_points_held_for_the_weights_sampler_those_that_carry_little_are_not_held():
    """Memory does not grow with the moves."""
    whole = atentdsl.load("awp_pgd_at").values()
    for sampler in whole["sampler"]:
        if sampler["space"] == "data":
            sampler |= {"mode": "train", "averaging": {"kind": "exponential", "alpha": 0.9}}
    literal = lower(atentdsl.load(whole))
    made = verify(drop_negligible.apply(literal, DEFAULT))
    assert sum(isinstance(o, Hold) for o in literal.operations) == 10
    assert sum(isinstance(o, Hold) for o in made.operations) == 3
    assert {o.index for o in made.operations if isinstance(o, Recall)} == {0, 1, 2}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_where_a_later_evaluation_reads_running_statistics_nothing_is_dropped(batch_norm):
    """Else its points would be others, with batch norm, and the gradient by much more than the tolerance."""
    changes = ['sampler.attack.mode="eval"', "sampler.attack.moves=6"]
    literal, model = lower(atentdsl.load("atent_l2", changes)), network(batch_norm=batch_norm)
    assert drop_negligible.apply(literal, DEFAULT) == literal
    assert drop_negligible.why_not(literal, DEFAULT).startswith("a later evaluation in eval mode reads")
    mutant = edited(drop_negligible, "settings, _noticed(plan.operations))", "settings, set())")
    one, other = (interpreted(p, model, [batch()]) for p in (literal, mutant.apply(literal, DEFAULT)))
    moved = not torch.equal(one.points[0][-1], other.points[0][-1])
    assert moved == batch_norm


def difference(one, other):
    pairs = zip(one.weight_gradients[0].values(), other.weight_gradients[0].values(), strict=True)
    return torch.cat([(a - b).flatten() for a, b in pairs])


@given(recipes(), tolerances)
@settings(max_examples=30)
def test_the_signals_gradient_changes_by_no_more_than_is_promised(recipe, tolerance):
    """By tolerance * (sum of c) * (the largest norm of a dropped point's gradient), of data alone, with cross entropy.

    Where weights are moved, a target's gradient moves them elsewhere, and the signal is taken there.
    """
    checked = atentdsl.load(recipe)
    literal = lower(checked)
    made = verify(drop_negligible.apply(literal, at(tolerance)))
    if any(sampler.space == "weights" for sampler in checked.samplers) or checked.objective.kind != "cross_entropy":
        return
    model, (x, y) = network(), batch()
    one, other = (interpreted(plan, model, [(x, y)]) for plan in (literal, made))
    away = difference(one, other)
    if made == literal:
        assert not away.any()
        return

    def norm(z):
        loss = torch.nn.functional.cross_entropy(model(z), y)
        return float(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]).norm())

    largest = max(norm(z) for z in one.points[0])
    assert float(away.norm()) <= tolerance * float(sum(kept(literal))) * largest * (1 + 1e-9) + 1e-12


def test_the_bound_is_reached_by_no_much_smaller_change():
    """It could fail: leaving out one point more than is allowed breaks it."""
    plan = lower(atentdsl.load("atent_linf", ["sampler.attack.averaging.alpha=0.5", "sampler.attack.moves=3"]))
    more = drop_negligible.apply(plan, at(0.2))
    assert len(kept(plan)) - len(kept(more)) == 1
    model, pair = network(), batch()
    one, other = (interpreted(p, model, [pair]) for p in (plan, more))
    away = difference(one, other)
    g = torch.cat([value.flatten() for value in one.weight_gradients[0].values()])
    assert float(away.norm()) > 2e-3 * float(sum(kept(plan))) * float(g.norm())


@pytest.mark.parametrize(
    ("name", "tolerance", "says"),
    [
        ("entropy_sgd_literal", 0.0, "the tolerance is 0"),
        ("pgd_at_linf", 2e-3, "no coefficients are together below 0.002 of the sum of all"),
    ],
)
def test_why_nothing_is_dropped(name, tolerance, says):
    assert drop_negligible.why_not(lower(atentdsl.load(name)), at(tolerance)) == says


def test_of_points_that_are_drawn_none_is_dropped():
    assert drop_negligible.why_not(lower(atentdsl.load("atent_linf"), "draw"), DEFAULT) == (
        "no weight gradient is evaluated at a point"
    )
