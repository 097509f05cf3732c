"""What the passes do with a smoothed network, and what they leave alone."""

from __future__ import annotations

import importlib

import pytest

import atentdsl
from atentdsl.passes import (
    drop_negligible,
    freeze_weights,
    hoist_clean_branch,
    merge_evaluations,
    optimised,
    roll,
    stages,
)
from atentdsl.plan import PlanError, dump, lower, verify
from atentdsl.plan.operations import Clean, Evaluate, Frozen, Noise, Repeat
from atentdsl.recipe.tables import Compile
from atentdsl.testing import batch, differences, edited, interpreted, network

EXACT = Compile(tolerance=0.0)
BATCHES = [batch(seed=1), batch(count=3, seed=2)]
MODEL = network(dropout=0.4, batch_norm=True)
MEAN = 'sampler.attack.averaging={ kind = "mean" }'
TRAIN = 'sampler.attack.mode="train"'
ALIKE = 'smoothing.target="losses"'
EVALUATION = 'smoothing.redraw="evaluation"'
NAMES = ("smoothadv", "trades_linf", "awp_pgd_at", "entropy_sgd_atent")


def recipe(*overrides, name="smoothadv"):
    own = ["sampler.attack.moves=3", "smoothing.sigma=0.3", "smoothing.draws=2"]
    return atentdsl.load(name, [*own, *overrides])


def literal(*overrides, name="smoothadv"):
    return lower(recipe(*overrides, name=name))


def evaluations(plan):
    return [o for o in plan.flat() if isinstance(o, Evaluate)]


def same(one, other, tolerance=0.0):
    """Whether two plans do the same on a network of which each evaluation in train mode moves nothing."""
    model = network(dropout=0.4)
    return differences(interpreted(one, model, BATCHES), interpreted(other, model, BATCHES), tolerance) == []


def test_merged_where_noise_loss_and_average_are_the_same():
    plan = literal(MEAN, TRAIN, ALIKE)
    merged = verify(merge_evaluations.apply(plan, EXACT))
    assert [o.wants for o in evaluations(merged)] == ["input", "both", "both", "weights"]
    assert all(o.smoothed.average == "losses" for o in evaluations(merged))
    assert same(plan, merged)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([], "the chain averages probabilities over the smoothing's noise, the signal losses"),
        ([ALIKE, EVALUATION], "each evaluation draws smoothing noise of its own"),
        (["smoothing.draws=1", EVALUATION], "each evaluation draws smoothing noise of its own"),
    ],
)
def test_left_apart_otherwise_and_the_reason_is_said(changes, reason):
    plan = literal(MEAN, TRAIN, *changes)
    assert merge_evaluations.why_not(plan, EXACT) == reason
    assert merge_evaluations.apply(plan, EXACT) == plan


def test_of_one_copy_both_averages_are_one_and_merged():
    plan = literal(MEAN, TRAIN, "smoothing.draws=1")
    assert merge_evaluations.why_not(plan, EXACT) is None
    assert same(plan, merge_evaluations.apply(plan, EXACT))


def test_a_merge_across_averages_would_be_noticed():
    mutant = edited(merge_evaluations, "elif one.smoothed != other.smoothed:", "elif False:")
    plan = literal(MEAN, TRAIN)
    assert not same(plan, mutant.apply(plan, EXACT))


def test_clean_logits_are_hoisted_under_the_batchs_noise():
    plan = literal(name="trades_linf")
    hoisted = verify(hoist_clean_branch.apply(plan, EXACT))
    (kept,) = [o for o in hoisted.flat() if isinstance(o, Clean)]
    assert kept.smoothed == evaluations(hoisted)[0].smoothed
    assert differences(interpreted(plan, MODEL, BATCHES), interpreted(hoisted, MODEL, BATCHES)) == []


def test_and_not_where_each_evaluation_draws_its_own():
    plan = literal(EVALUATION, name="trades_linf")
    reason = "each evaluation draws smoothing noise of its own, and its clean logits are made with it"
    assert hoist_clean_branch.why_not(plan, EXACT) == reason
    mutant = edited(hoist_clean_branch, "Take | Noise | Load", "Take | Load")
    with pytest.raises(PlanError, match="clean logits are kept"):
        verify(mutant.apply(plan, EXACT))


def test_a_dropped_evaluation_leaves_its_draws_to_the_stream():
    everywhere = 'sampler.attack.averaging={ kind = "exponential", alpha = 0.9 }'
    plan = literal(everywhere, EVALUATION, TRAIN, "sampler.attack.moves=5")
    dropped = verify(drop_negligible.apply(plan, Compile(tolerance=2e-3)))
    noises = [sum(isinstance(o, Noise) for o in p.flat()) for p in (plan, dropped)]
    assert noises == [10, 10]
    assert len(evaluations(dropped)) == 8
    one, other = (interpreted(p, network(), BATCHES[:1]) for p in (plan, dropped))
    assert len(one.points[0]) == 5
    for mine, theirs in zip(one.points[0][-3:], other.points[0], strict=True):
        assert mine.equal(theirs)
    for name, g in one.weight_gradients[0].items():
        difference = (g - other.weight_gradients[0][name]).abs().max()
        assert 0 < difference < 2e-3 * 10 * max(g.abs().max() for g in one.weight_gradients[0].values())


@pytest.mark.parametrize("redraw", ["batch", "evaluation"])
def test_a_chain_is_frozen_and_rolled_with_the_noise_it_draws(redraw):
    plan = literal(f'smoothing.redraw="{redraw}"')
    frozen = verify(freeze_weights.apply(plan, EXACT))
    (region,) = [o for o in frozen.operations if isinstance(o, Frozen)]
    rolled = verify(roll.apply(frozen, EXACT))
    (loop,) = next(o for o in rolled.operations if isinstance(o, Frozen)).body
    assert isinstance(loop, Repeat)
    assert loop.count == 3
    assert isinstance(loop.body[0], Noise if redraw == "evaluation" else Evaluate)
    assert isinstance(region.body[-1], Noise) is False
    assert tuple(rolled.flat()) == tuple(plan.flat())


@pytest.mark.parametrize("redraw", ["batch", "evaluation"])
@pytest.mark.parametrize("name", NAMES)
def test_every_pass_keeps_a_smoothed_recipe(name, redraw):
    """Merging and sharing aside, which update running statistics less often: those are switched off here."""
    off = ["compile.merge_evaluations=false", "compile.share_clean_forward=false", "compile.tolerance=0.0"]
    checked = recipe(f'smoothing.redraw="{redraw}"', *off, name=name)
    plan = lower(checked)
    meant = interpreted(plan, MODEL, BATCHES)
    for stage in stages(plan, checked.compile):
        assert differences(meant, interpreted(stage.plan, MODEL, BATCHES)) == [], stage.name
    assert [o for o in optimised(plan, checked.compile).flat() if isinstance(o, Noise)]


@pytest.mark.parametrize("redraw", ["batch", "evaluation"])
def test_points_are_drawn_as_they_are_trained_at(redraw):
    """What is handed on has a stream of its own, so that no evaluation of a point moves the points after it."""
    checked = recipe(MEAN, f'smoothing.redraw="{redraw}"')
    trained, drawn = (interpreted(lower(checked, goal), network(), BATCHES) for goal in ("train", "draw"))
    assert len(drawn.points[0]) == 3
    assert all(a.equal(b) for a, b in zip(trained.points[0], drawn.points[0], strict=True))


def test_a_stream_for_both_would_be_noticed(monkeypatch):
    smoothing = importlib.import_module("atentdsl.plan.smoothing")
    mutant = edited(smoothing, 'stream="smoothing.signal"', 'stream="smoothing.noise"')
    monkeypatch.setattr(importlib.import_module("atentdsl.plan.lower"), "Smoothing", mutant.Smoothing)
    checked = recipe(MEAN, EVALUATION)
    trained, drawn = (interpreted(lower(checked, goal), network(), BATCHES[:1]) for goal in ("train", "draw"))
    assert not trained.points[0][-1].equal(drawn.points[0][-1])


def test_the_text_of_a_plan_says_noise_and_copies():
    text = dump(literal("smoothing.sigma=0.12"))
    assert "noise     2 times 0.12 * xi, from smoothing.noise" in text
    assert "at attack, eval mode, probabilities averaged over 2 noisy copies" in text
    assert "at attack, train mode, losses averaged over 2 noisy copies" in text
