"""Losses that read the clean logits, in whole steps: against TRADES' and MART's published ones written out in torch."""

from __future__ import annotations

import importlib
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from plan.algorithms_by_hand import Net, data, noises

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.plan import lower, units, units_as_usually_written
from atentdsl.plan.operations import Evaluate
from atentdsl.testing import Recorded, batch, edited, interpreted, network, run_module

INTERPRETER = importlib.import_module("atentdsl.plan.interpret")
STEPS, K, RATE, BETA = 3, 4, 0.2, 6.0
MOVES = [1, 2, 5, 10]
START = noises(STEPS, 1)


def by_hand(f, x, y, start, outer, climb):
    """An eval-mode attack of signs from noise of 0.001, ball and box at each move; then the outer loss's gradient."""
    z = x + 0.001 * start
    for _ in range(K):
        z = z.detach().requires_grad_()
        (g,) = torch.autograd.grad(climb(f, z, x, y), [z])
        z = z.detach() + 0.03 * torch.sign(g.detach())
        z = torch.min(torch.max(z, x - 0.1), x + 0.1).clamp(0.0, 1.0)
    loss = outer(f, z, x, y)
    return torch.autograd.grad(loss, list(f.parameters())), loss.detach()


def climb_kl(f, z, x, y):
    return F.kl_div(F.log_softmax(f(z), dim=1), F.softmax(f(x), dim=1), reduction="sum")


def climb_ce(f, z, x, y):
    return F.cross_entropy(f(z), y, reduction="sum")


def outer_trades(f, z, x, y):
    robust = F.kl_div(F.log_softmax(f(z), dim=1), F.softmax(f(x), dim=1), reduction="sum") / len(x)
    return F.cross_entropy(f(x), y) + BETA * robust


def outer_mart(f, z, x, y):
    p, q = F.softmax(f(z), dim=1), F.softmax(f(x), dim=1)
    two = torch.argsort(p, dim=1)[:, -2:]
    wrong = torch.where(two[:, -1] == y, two[:, -2], two[:, -1])
    boosted = F.cross_entropy(f(z), y) + F.nll_loss(torch.log(1.0001 - p + 1e-12), wrong)
    confident = torch.gather(q, 1, y[:, None])[:, 0]
    kl = (q * (q.log() - p.log())).sum(dim=1)
    return boosted + BETA / len(x) * torch.sum(kl * (1.0000001 - confident))


def recipe(loss, objective):
    return {
        "schema": 1,
        "recipe": {"name": "by_hand"},
        "data": {"name": "digits", "batch": 4},
        "model": {"name": "mlp"},
        "sampler": [
            {
                "name": "attack",
                "moves": K,
                "target": {"loss": loss},
                "start": {"kind": "gaussian", "sd": 0.001},
                "kernel": {"step_size": 0.03, "drift": "sign"},
                "projection": [{"kind": "linf_ball", "radius": 0.1}, {"kind": "box"}],
            }
        ],
        "objective": {"kind": objective, "beta": BETA},
        "optimizer": {"kind": "sgd", "epochs": 1, "lr": RATE},
        "evaluate": {"attacks": [], "select": "clean"},
    }


STEPS_BY_HAND = {
    "trades": (recipe("kl_to_clean", "trades"), outer_trades, climb_kl),
    "mart": (recipe("cross_entropy", "mart"), outer_mart, climb_ce),
}


def is_the_published_step(name, execute):
    """Whether gradients, signal and weights are those written out, step after step."""
    table, outer, climb = STEPS_BY_HAND[name]
    plan, net, mine = lower(atentdsl.load(table)), Net(), Net()
    optimizer = torch.optim.SGD(mine.parameters(), lr=RATE)
    for (x, y), (start,) in zip(data(STEPS), START, strict=True):
        wanted, signal = by_hand(net, x, y, start, outer, climb)
        with torch.no_grad():
            for p, g in zip(net.parameters(), wanted, strict=True):
                p -= RATE * g
        trace = execute(plan, mine, optimizer, iter([(x, y)]), Recorded(normal={"attack.start": [start]}), {})
        gradients = [p.grad for p in mine.parameters()]
        pairs = [*zip(gradients, wanted, strict=True), (trace.signal, signal)]
        pairs += zip(mine.parameters(), net.parameters(), strict=True)
        if not all(torch.allclose(a, b, rtol=1e-11, atol=1e-13) for a, b in pairs):
            return False
    return True


@pytest.mark.parametrize("name", STEPS_BY_HAND)
def test_the_interpreter_makes_the_published_step(name):
    assert is_the_published_step(name, INTERPRETER.interpret)


@pytest.mark.parametrize("name", STEPS_BY_HAND)
def test_the_compiled_module_makes_the_published_step(name):
    """In eval mode and in train mode alike: this network has neither dropout nor batch norm."""
    table, outer, climb = STEPS_BY_HAND[name]
    module = as_module(generate(atentdsl.load(table)).text, name)
    net, ((x, y),), ((start,),) = Net(), data(1), noises(1, 1)
    wanted, signal = by_hand(net, x, y, start, outer, climb)
    rng = Recorded(normal={"attack.start": [start]})
    rng.same_masks = lambda z: nullcontext()
    found = module.train_step(net, torch.optim.SGD(net.parameters(), lr=0.0), iter([(x, y)]), rng, {})
    for p, g in zip(net.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(found, signal, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("trades", "self._logits(self.points[X], self.points[X]", 'self._logits(self.points["attack"], None'),
        ("trades", "made = [self._logits(x, x, mode) for", "made = [self._clean(mode) for"),
        ("mart", "made = [self._logits(x, x, mode) for", "made = [self._clean(mode) for"),
        ("mart", "made = [self._logits(x, x, mode) for", "made = [self._logits(z, point, mode) for"),
    ],
)
def test_an_interpreter_that_takes_other_clean_logits_is_caught(name, old, new):
    assert not is_the_published_step(name, edited(INTERPRETER, old, new).interpret)


# Costs.


def costs(name, *overrides):
    checked = atentdsl.load(name, list(overrides))
    return units(lower(checked)), units(generate(checked).plan)


AWP = {
    "space": "weights",
    "moves": 1,
    "mode": "frozen",
    "target": {"loss": "signal", "direction": "ascend"},
    "kernel": {"step_size": 0.005, "drift": "layer"},
}


@pytest.mark.parametrize("K", MOVES)
def test_trades_costs_3k_and_9_and_after_the_passes_2k_and_7(K):  # noqa: N803 - the table's letter
    assert costs("trades_linf", f"sampler.attack.moves={K}") == (3 * K + 9, 2 * K + 7)
    literal = lower(atentdsl.load("trades_linf", [f"sampler.attack.moves={K}"]))
    assert units_as_usually_written(literal) == 4 * K + 9  # with the weights' gradients at every move


@pytest.mark.parametrize("K", MOVES)
def test_mart_costs_2k_and_6(K):  # noqa: N803
    assert costs("mart", f"sampler.attack.moves={K}") == (2 * K + 6, 2 * K + 6)


@pytest.mark.parametrize("K", MOVES)
def test_awp_around_trades_costs_2k_and_13(K):  # noqa: N803
    """Two evaluations of the objective, each with one clean forward that is differentiated, after 2K + 1."""
    whole = atentdsl.load("trades_linf", [f"sampler.attack.moves={K}"]).values()
    whole["sampler"].append(AWP)
    assert costs(whole) == (3 * K + 18, 2 * K + 13)


def test_a_train_mode_chain_keeps_all_its_clean_forwards():
    assert costs("trades_linf", "sampler.attack.moves=5", 'sampler.attack.mode="train"') == (3 * 5 + 9, 3 * 5 + 6)


# Modes, masks and statistics.


class Masks(torch.nn.Dropout):
    """Dropout that keeps the masks it draws, also when its network is copied."""

    drawn: list = []  # noqa: RUF012 - one list for all copies, emptied by each test

    def forward(self, x):
        dropped = super().forward(torch.ones_like(x))
        if self.training:
            self.drawn.append(dropped == 0)
        return x * dropped


@pytest.mark.parametrize("execution", ["interpreted", "compiled"])
def test_the_clean_input_has_one_mask_however_often_it_is_evaluated(execution):
    """A train-mode chain of two moves evaluates x, z^0, x, z^1, and the literal objective x, x, z^2."""
    checked = atentdsl.load("trades_linf", ["sampler.attack.moves=2", 'sampler.attack.mode="train"'])
    model = network()
    model.insert(3, Masks(0.5))
    Masks.drawn.clear()
    if execution == "interpreted":
        interpreted(lower(checked), model, [batch(count=16)])
        clean, points = [0, 2, 4, 5], [1, 3, 6]
    else:
        run_module(as_module(generate(checked).text, "masks"), model, [batch(count=16)])
        clean, points = [0, 2, 4], [1, 3, 5]
    masks = Masks.drawn
    assert len(masks) == len(clean) + len(points)
    assert all(torch.equal(masks[i], masks[0]) for i in clean)
    different = [masks[0], *(masks[i] for i in points)]
    assert all(not torch.equal(a, b) for i, a in enumerate(different) for b in different[:i])


@pytest.mark.parametrize(
    ("mode", "literal", "shared"),
    [("eval", 3, 2), ("frozen", 3, 2), ("train", 3 + 2 * 4, 2 + 2 * 4)],
)
def test_running_statistics_are_updated_by_each_forward_in_train_mode(mode, literal, shared):
    checked = atentdsl.load("trades_linf", ["sampler.attack.moves=4", f'sampler.attack.mode="{mode}"'])
    model = network(batch_norm=True)
    executions = [
        interpreted(lower(checked), model, [batch()]),
        interpreted(generate(checked).plan, model, [batch()]),
        run_module(as_module(generate(checked).text, "statistics"), model, [batch()]),
    ]
    counts = [int(e.weights["2.num_batches_tracked"]) for e in executions]
    assert counts == [literal, shared, shared]


def test_a_loss_of_labels_makes_no_clean_forward():
    assert all(o.clean == 0 for o in lower(atentdsl.load("pgd_at_linf")).flat() if isinstance(o, Evaluate))
