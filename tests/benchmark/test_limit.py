"""The limit makes the passes that the cost counts, and a loop written by hand is not faster."""

from __future__ import annotations

import time

import numpy
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from benchmark.counting import CountingNetwork, batch
from scipy.stats import binom

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark.limit import limit_step, passes
from atentdsl.benchmark.timing import in_turns, timed
from atentdsl.codegen import generate
from atentdsl.plan.cost import units
from atentdsl.plan.operations import Evaluate
from atentdsl.plan.program import Plan
from atentdsl.plan.values import Call
from atentdsl.recipe import load

LOSS = Call("objectives", "cross_entropy")
PLANS = [
    ("sgd", []),
    ("pgd_at_linf", ["sampler.attack.restarts=2", "sampler.attack.averaging.over_restarts=worst"]),
    ("atent_linf", []),
    ("atent_mala", []),
    ("free_at", []),
    ("awp_pgd_at", []),
    ("entropy_sgd", []),
    ("entropy_sgd_atent", []),
]


@pytest.mark.parametrize(("recipe", "overrides"), PLANS, ids=[name for name, _ in PLANS])
def test_its_passes_are_those_that_the_cost_counts(recipe, overrides):
    plan = generate(load(recipe, overrides)).plan
    network = CountingNetwork()
    step = limit_step(plan, network, *batch())
    for _ in range(2):
        step()
        assert network.units() == units(plan)
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(("wants", "cost"), [("loss", 1), ("input", 2), ("weights", 3), ("both", 3), ("density", 2)])
def test_one_pass_of_each_kind(wants, cost):
    plan = Plan("train", (Evaluate(wants, LOSS, "train"),) * 4)
    network = CountingNetwork()
    limit_step(plan, network, *batch())()
    assert network.units() == 4 * cost


def test_the_mode_is_the_evaluation_s():
    modes = []
    network = CountingNetwork()
    network.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    evaluations = [Evaluate("input", LOSS, mode) for mode in ("eval", "eval", "train", "frozen", "eval")]
    limit_step(Plan("train", tuple(evaluations)), network, *batch())()
    assert modes == [False, False, True, True, False]


def by_hand(network, x, y, moves):
    """The passes of PGD adversarial training, as anyone would write them down."""
    z, weights = x.clone().requires_grad_(), list(network.parameters())

    def loop():
        network.train()
        for p in weights:
            p.requires_grad_(False)
        for _ in range(moves):
            torch.autograd.grad(F.cross_entropy(network(z), y, reduction="sum"), z)
        for p in weights:
            p.requires_grad_(True)
            p.grad = None
        F.cross_entropy(network(x), y, reduction="sum").backward()

    return loop


def at_most(ratios, confidence=0.999):
    """What the median lies below with this confidence, whatever the distribution: an order statistic (sign test)."""
    return numpy.sort(ratios)[int(binom.ppf(confidence, len(ratios), 0.5))]


def ratio_of_the_loop(plan, moves, rounds=41):
    """The upper bound of how long the loop takes, in times of the limit: processor time, which others do not take."""
    measured = subject("pgd_at_linf", ["data.batch=16"], "cpu")
    x, y = measured.batch()
    network, clock = measured.network, time.process_time
    contenders = {
        "limit": timed(limit_step(plan, network, x, y), clock),
        "loop": timed(by_hand(network, x, y, moves), clock),
    }
    timings = in_turns(contenders, rounds)
    return at_most(
        [loop / limit for loop, limit in zip(timings.seconds["loop"], timings.seconds["limit"], strict=True)]
    )


def test_a_loop_by_hand_is_not_two_percent_faster():
    plan = generate(load("pgd_at_linf", ["sampler.attack.moves=3"])).plan
    assert len(passes(plan)) == 4
    assert ratio_of_the_loop(plan, moves=3) > 0.98


def test_a_limit_with_a_pass_too_many_is_noticed():
    plan = generate(load("pgd_at_linf", ["sampler.attack.moves=4"])).plan
    assert ratio_of_the_loop(plan, moves=3) < 0.98
