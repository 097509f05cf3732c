"""The limit makes the passes that the cost counts, and a loop written by hand is not faster."""

from __future__ import annotations

import copy
import inspect
import time
from collections import Counter

import numpy
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from benchmark.counting import CountingNetwork, batch
from scipy.stats import binom
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark import step
from atentdsl.benchmark.limit import limit_step, passes
from atentdsl.benchmark.timing import in_turns, timed
from atentdsl.codegen import generate
from atentdsl.plan.cost import units
from atentdsl.plan.operations import Evaluate
from atentdsl.plan.program import Plan
from atentdsl.plan.values import Call
from atentdsl.recipe import load
from atentdsl.runtime.subnormals import flushed

LOSS = Call("objectives", "cross_entropy")
TRADES = ["objective.kind='trades'", "objective.beta=6.0", "sampler.attack.target.loss='kl_to_clean'"]
PLANS = [
    ("sgd", []),
    ("smoothadv", []),
    ("pgd_at_l2", ["smoothing.sigma=0.1", "smoothing.draws=3", "smoothing.target=losses"]),
    ("pgd_at_linf", ["sampler.attack.restarts=2", "sampler.attack.averaging.over_restarts=worst"]),
    ("atent_linf", []),
    ("atent_mala", []),
    ("free_at", []),
    ("awp_pgd_at", []),
    ("entropy_sgd", []),
    ("entropy_sgd_atent", []),
    ("trades_linf", []),
    ("trades_linf", ["objective.beta={kind='linear', start=0.0, end=6.0, length=10}"]),
    ("mart", []),
    ("awp_pgd_at", TRADES),
]


@pytest.mark.parametrize(("recipe", "overrides"), PLANS, ids=[f"{name}-{len(more)}" for name, more in PLANS])
@pytest.mark.parametrize("literal", [False, True])
def test_its_passes_are_those_that_the_cost_counts(recipe, overrides, literal):
    compiled = generate(load(recipe, overrides))
    plan = compiled.stages[0].plan if literal else compiled.plan
    network = CountingNetwork()
    once = limit_step(plan, network, *batch())
    for _ in range(2):
        once()
        assert network.units() == units(plan)
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(("wants", "cost"), [("loss", 1), ("input", 2), ("density", 2), ("weights", 3), ("both", 3)])
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


def test_a_loss_is_called_with_its_numbers_and_the_clean_logits(monkeypatch):
    """A schedule is taken at the first epoch; the target's clean logits ask for no gradient, the objective's do."""
    seen = []
    own = Call.function.fget

    def watched(call):
        def function(**given):
            seen.append((call.kind, given))
            return own(call)(**given)

        return function

    beta = "objective.beta={kind='piecewise', over='epochs', at=[1, 2], value=[2.5, 9.0]}"
    plan = generate(load("trades_linf", [beta, "sampler.attack.moves=1"])).plan
    once = limit_step_of(plan, monkeypatch, watched)
    once()
    (target, climbed), (objective, outer) = seen
    assert (target, objective) == ("kl_to_clean", "trades")
    assert set(climbed) == {"logits", "clean"}
    assert not climbed["clean"].requires_grad
    assert set(outer) == {"logits", "y", "clean", "clean_again", "beta"}
    assert outer["beta"] == 2.5
    assert outer["clean"].requires_grad
    assert outer["clean"] is outer["clean_again"], "one forward was left of the two"


def limit_step_of(plan, monkeypatch, watched):
    """The limit with every loss watched; the schedules' functions are asked before it and stay their own."""
    own = Call.function.fget
    monkeypatch.setattr(
        Call, "asks", property(lambda call: tuple(inspect.signature(own(call)).parameters)), raising=True
    )
    losses = {"targets", "objectives"}
    monkeypatch.setattr(Call, "function", property(lambda call: watched(call) if call.family in losses else own(call)))
    return limit_step(plan, CountingNetwork(), *batch())


class Unused(CountingNetwork):
    """With a weight that the logits do not depend on."""

    def __init__(self):
        super().__init__()
        self.spare = nn.Parameter(torch.ones(3))


def test_a_weight_that_the_network_does_not_use_costs_nothing():
    plan = generate(load("atent_linf")).plan
    network = Unused()
    limit_step(plan, network, *batch())()
    assert network.units() == units(plan)


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
    measured = subject("pgd_at_linf", [], "cpu")
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


class Counting(TorchDispatchMode):
    """Counts what torch is asked to compute, by name."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.found[str(function)] += 1
        return function(*args, **(kwargs or {}))


def operations(step):
    step()
    with Counting() as counting:
        step()
    return counting.found


@pytest.mark.parametrize("moves", [3, 4])
def test_the_limit_computes_nothing_that_a_loop_by_hand_does_not(moves):
    """But that a loss of each example is summed, and back, where the loop asks for the sum; a pass more is noticed."""
    plan = generate(load("pgd_at_linf", [f"sampler.attack.moves={moves}"])).plan
    measured = subject("pgd_at_linf", ["data.batch=16"], "cpu")
    x, y = measured.batch()
    limit, loop = limit_step(plan, measured.network, x, y), by_hand(measured.network, x, y, moves=3)
    more = operations(limit) - operations(loop)
    assert (more == {"aten.sum.default": 4, "aten.expand.default": 4}) == (moves == 3)
    assert (more["aten.convolution.default"] > 0) == (moves == 4)


def test_a_loop_by_hand_is_not_two_percent_faster():
    plan = generate(load("pgd_at_linf", ["sampler.attack.moves=3"])).plan
    assert len(passes(plan)) == 4
    assert ratio_of_the_loop(plan, moves=3) > 0.98


def test_a_limit_with_a_pass_too_many_is_noticed():
    plan = generate(load("pgd_at_linf", ["sampler.attack.moves=4"])).plan
    assert ratio_of_the_loop(plan, moves=3) < 0.98


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nor_is_one_over_the_network_as_the_step_has_it(precision):
    """MNIST's network, against the limit as `measured_step` times it, flushed as it is."""
    settings = ["data.batch=64", "sampler.attack.moves=1", f"compile.precision='{precision}'"]
    measured, clock = subject("mnist/pgd_at_linf", settings, "cpu"), time.process_time
    own = copy.deepcopy(measured.network)
    limit, placed = step._limit(measured, own), measured.module.placed(own)
    loop = by_hand(placed.network, *measured.batch(), moves=1)

    def flushing():
        with flushed(placed.policy.flush_subnormals):
            loop()

    timings = in_turns({"limit": timed(limit, clock), "loop": timed(flushing, clock)}, rounds=15)
    pairs = zip(timings.seconds["loop"], timings.seconds["limit"], strict=True)
    assert at_most([loop / limit for loop, limit in pairs]) > 0.98
