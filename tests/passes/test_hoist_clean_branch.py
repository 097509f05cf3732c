"""Hoist clean branch: kept logits that hold, as few as there are chains, and not a bit of difference."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.passes import hoist_clean_branch
from atentdsl.plan import PlanError, lower, units, verify
from atentdsl.plan.operations import Clean, Evaluate, Start
from atentdsl.recipe.tables import Compile
from atentdsl.testing import batch, differences, edited, interpreted, network, recipes

SETTINGS = Compile()

BATCHES = [batch(seed=1), batch(count=3, seed=2)]
MODEL = network(dropout=0.4, batch_norm=True)


def reads_constants(operation):
    return isinstance(operation, Evaluate) and operation.loss.holds_clean and bool(operation.loss.clean)


def draws(operation):
    return 1 if operation.smoothed is None else operation.smoothed.draws


def with_a_target_of_clean_logits(recipe):
    """The recipe, whose samplers of data all climb the divergence; the first one starts beside the clean inputs."""
    whole = copy.deepcopy(recipe)
    chains = [sampler for sampler in whole.get("sampler", []) if sampler.get("kind") != "margin_search"]
    of_data = [sampler for sampler in chains if sampler.get("space", "data") == "data"]
    for sampler in of_data:
        sampler.setdefault("target", {})["loss"] = "kl_to_clean"
    if of_data:
        projected = bool(of_data[0].get("projection"))  # a support holds the start
        of_data[0]["start"] = {"kind": "uniform", "radius": 0.2, "projected": projected}
    return whole


@given(recipes().map(with_a_target_of_clean_logits), st.sampled_from(["train", "draw"]))
@settings(max_examples=30)
def test_it_keeps_every_bit_and_leaves_out_forwards_alone(recipe, goal):
    literal = lower(atentdsl.load(recipe), goal)
    hoisted = verify(hoist_clean_branch.apply(literal, SETTINGS))
    kept = [o for o in hoisted.operations if isinstance(o, Clean)]
    reading = [o for o in hoisted.operations if isinstance(o, Evaluate) and o.clean == "kept"]
    assert units(literal) - units(hoisted) == sum(map(draws, reading)) - sum(map(draws, kept))
    assert len(reading) >= 2 * len(kept)
    assert all(o.mode != "train" for o in [*kept, *reading])
    assert sum(map(reads_constants, literal.operations)) == sum(map(reads_constants, hoisted.operations))
    assert differences(interpreted(literal, MODEL, BATCHES), interpreted(hoisted, MODEL, BATCHES)) == []


@pytest.mark.parametrize("modes", [("eval", "frozen"), ("frozen", "eval"), ("eval", "eval"), ("frozen", "frozen")])
def test_chains_inside_one_another_keep_the_clean_logits_of_their_own_mode(modes):
    """One set of logits is kept: where another mode reads its own in between, those of before are made again."""
    whole = atentdsl.load("awp_pgd_at").values() | {"evaluate": {"select": "clean", "attacks": []}}
    inside = {"kernel": {"step_size": 0.1}, "target": {"loss": "kl_to_clean"}, "moves": 3}
    start = {"start": {"kind": "uniform", "radius": 0.1}}
    of_data = [{"name": f"s{i}", "mode": mode, **inside, **start} for i, mode in enumerate(modes)]
    of_data[0]["averaging"] = {"kind": "mean"}
    whole["sampler"] = [*of_data, next(s for s in whole["sampler"] if s["space"] == "weights")]
    literal = lower(atentdsl.load(whole))
    hoisted = verify(hoist_clean_branch.apply(literal, SETTINGS))
    assert hoisted != literal
    assert differences(interpreted(literal, MODEL, BATCHES), interpreted(hoisted, MODEL, BATCHES)) == []


def trades(*overrides):
    return lower(atentdsl.load("trades_linf", ["sampler.attack.moves=3", *overrides]))


EVERY_POINT = "sampler.attack.averaging={ kind = 'mean' }"
WORST = "sampler.attack.averaging={ kind = 'last', over_restarts = 'worst' }"


@pytest.mark.parametrize("mode", ["eval", "frozen"])
def test_a_chain_has_one_clean_forward(mode):
    literal = trades(f'sampler.attack.mode="{mode}"')
    hoisted = hoist_clean_branch.apply(literal, SETTINGS)
    assert [o.mode for o in hoisted.operations if isinstance(o, Clean)] == [mode]
    assert isinstance(hoisted.operations[1], Start)
    assert isinstance(hoisted.operations[2], Clean)
    assert units(literal) - units(hoisted) == 2
    said = hoist_clean_branch.effect(literal, hoisted)
    assert said == "the clean logits that targets read come from 1 forward instead of 3"


def test_each_restart_has_one_and_its_last_losses_read_it_too():
    literal = trades("sampler.attack.restarts=2", WORST)
    hoisted = hoist_clean_branch.apply(literal, SETTINGS)
    assert sum(isinstance(o, Clean) for o in hoisted.operations) == 2
    assert units(literal) - units(hoisted) == 2 * 3


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_chain_reads_one_at_its_points_and_at_its_proposals(restarts):
    """Of a move that is accepted or rejected."""
    loss = "sampler.attack.target.loss='kl_to_clean'"
    changes = ["sampler.attack.moves=3", f"sampler.attack.restarts={restarts}", loss]
    literal = lower(atentdsl.load("atent_mala", changes))
    hoisted = verify(hoist_clean_branch.apply(literal, SETTINGS))
    densities = [o for o in hoisted.operations if isinstance(o, Evaluate) and o.wants == "density"]
    assert [o.clean for o in densities] == ["kept"] * 4 * restarts
    assert sum(isinstance(o, Clean) for o in hoisted.operations) == restarts
    assert differences(interpreted(literal, MODEL, BATCHES), interpreted(hoisted, MODEL, BATCHES)) == []


def test_the_points_of_one_target_in_the_weights_share_one():
    hoisted = verify(hoist_clean_branch.apply(around("last", EVERY_POINT, target=TO_CLEAN), SETTINGS))
    assert sum(isinstance(o, Clean) for o in hoisted.operations) == 1 + 2
    assert sum(isinstance(o, Evaluate) and o.clean == "kept" for o in hoisted.operations) == 2 + 2 * 2


def test_a_chain_that_is_drawn_at_each_of_the_weights_has_one_at_each():
    hoisted = verify(hoist_clean_branch.apply(around("first"), SETTINGS))
    assert sum(isinstance(o, Clean) for o in hoisted.operations) == 2 + 1


REASONS = {
    "no target": (["sampler.attack.target.loss='cross_entropy'"], "no target reads the clean logits"),
    "train mode": (
        ['sampler.attack.mode="train"'],
        "the chain runs in train mode, where each clean forward updates the running statistics",
    ),
    "one move": (["sampler.attack.moves=1"], "no two evaluations of a chain read the same clean logits"),
    "statistics that move in between": ([EVERY_POINT], "no two evaluations of a chain read the same clean logits"),
}


@pytest.mark.parametrize("case", REASONS)
def test_where_it_changes_nothing_it_says_why(case):
    overrides, reason = REASONS[case]
    literal = trades(*overrides)
    assert hoist_clean_branch.why_not(literal, SETTINGS) == reason
    assert hoist_clean_branch.apply(literal, SETTINGS) == literal
    assert hoist_clean_branch.why_not(trades(), SETTINGS) is None


def around(space, *overrides, averaging="last", **changes):
    """TRADES with weights that move: around its chain where `space` is first, else on its points."""
    whole = atentdsl.load("trades_linf", ["sampler.attack.moves=2", *overrides]).values()
    weights = {
        "space": "weights",
        "moves": 2,
        "target": {"loss": "signal", "direction": "ascend"},
        "kernel": {"step_size": 0.3},
        "averaging": {"kind": averaging},
        **changes,
    }
    whole["sampler"].insert(0 if space == "first" else 1, weights)
    return lower(atentdsl.load(whole))


TO_CLEAN = {"loss": "kl_to_clean", "direction": "ascend"}
SEVERAL = {
    "one chain": trades(),
    "every point": trades(EVERY_POINT),
    "train mode": trades('sampler.attack.mode="train"'),
    "moving weights": around("last", EVERY_POINT, target=TO_CLEAN),
    "MART's target in eval mode": around("last", EVERY_POINT, "objective.kind='mart'", mode="eval"),
}


@pytest.mark.parametrize(
    ("case", "old", "new"),
    [
        ("every point", 'isinstance(operation, Evaluate) and operation.mode == "train"', "False"),
        ("train mode", 'isinstance(operation, Evaluate) and operation.mode == "train"', "False"),
        ("moving weights", "Take | Noise | Load | Restore | PutAside\n", "Take | Noise | Restore\n"),
        ("one chain", "Clean(evaluation.mode,", 'Clean("train",'),
        ("one chain", "i in first:", "False:"),
        ("MART's target in eval mode", "return operation if operation.loss.holds_clean else None", "return operation"),
    ],
)
def test_an_edited_pass_is_caught(case, old, new):
    """By the plan's rules, or by what it changes."""
    literal = SEVERAL[case]
    assert verify(hoist_clean_branch.apply(literal, SETTINGS))
    mutant = edited(hoist_clean_branch, old, new)
    try:
        plan = verify(mutant.apply(literal, SETTINGS))
    except PlanError:
        return
    assert differences(interpreted(literal, MODEL, BATCHES), interpreted(plan, MODEL, BATCHES)) != []
