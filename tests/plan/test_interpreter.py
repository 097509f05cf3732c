"""The interpreter against the paper's algorithms, written out by hand in `algorithms_by_hand`."""

from __future__ import annotations

import importlib

import pytest
import torch
from plan import algorithms_by_hand as by_hand

import atentdsl
from atentdsl.plan import lower
from atentdsl.testing import Recorded, edited

# The package offers a function of the same name.
INTERPRETER = importlib.import_module("atentdsl.plan.interpret")
STEPS, K = 3, 5
PLAIN = {"kind": "sgd", "epochs": 1, "lr": 0.2}


def recipe(sampler, optimizer=PLAIN):
    return {
        "schema": 1,
        "recipe": {"name": "by_hand"},
        "data": {"name": "digits", "batch": 4},
        "model": {"name": "mlp"},
        "sampler": [{"name": "attack", "mode": "train", "moves": K, **sampler}],
        "optimizer": optimizer,
        "evaluate": {"attacks": [], "select": "clean"},
    }


ATENT = {
    "start": {"kind": "gaussian", "sd": 0.05},
    "target": {"reduction": "batch_mean"},
    "kernel": {"kind": "langevin", "step_size": 0.3, "noise": 0.02, "drift": "raw"},
    "averaging": {"kind": "exponential", "alpha": 0.9},
}
ALG_1 = {**ATENT, "target": {"reduction": "batch_mean", "coupling": {"kind": "l2", "gamma": 0.4}}}
ALG_2 = {**ATENT, "projection": [{"kind": "increment_clip", "radius": 1 / 80, "when": "last"}]}
ALG_4 = {
    "target": {"reduction": "batch_mean"},
    "kernel": {"kind": "gradient", "step_size": 0.9},
    "projection": [{"kind": "linf_ball", "radius": 0.06}],
}
PUBLISHED = {
    "start": {"kind": "corner", "radius": 0.1},
    "kernel": {"kind": "langevin", "step_size": 0.03, "noise": 1e-3, "drift": "sign"},
    "projection": [{"kind": "linf_ball", "radius": 0.1}, {"kind": "box"}],
    "averaging": {"kind": "exponential", "alpha": 0.9},
}
PUBLISHED_L2 = {
    "start": {"kind": "gaussian_ball", "radius": 0.4},
    "target": {"coupling": {"kind": "l2", "gamma": 0.05, "per": "move"}},
    "kernel": {"kind": "langevin", "step_size": 0.12, "noise": 1e-2, "drift": "l2"},
    "projection": [{"kind": "l2_ball", "radius": 0.4}, {"kind": "box"}],
    "averaging": {"kind": "exponential", "alpha": 0.9},
}
PUBLISHED_OPTIMIZER = {"kind": "sgd", "epochs": 1, "lr": 0.2, "momentum": 0.9, "weight_decay": 5e-4}
START, NOISE = by_hand.noises(STEPS, 1), by_hand.noises(STEPS, K, seed=2)


def published_steps(algorithm, **numbers):
    def steps():
        buffers = {}

        def step(f, x, y, step):
            points, gradient, signal = algorithm(f, x, y, START[step][0], NOISE[step], K, **numbers)
            by_hand.momentum_step(f, gradient, buffers, lr=0.2, momentum=0.9, decay=5e-4)
            return points, gradient, signal

        return step

    return steps


def plain_steps(algorithm, drawn=True, **numbers):
    def step(f, x, y, step):
        noise = {"start": START[step][0], "xi": NOISE[step]} if drawn else {}
        points, gradient, signal = algorithm(f, x, y, K=K, **noise, **numbers)
        by_hand.sgd_step(f, gradient, lr=0.2)
        return points, gradient, signal

    return lambda: step


ALGORITHMS = {
    "Alg. 1": (
        recipe(ALG_1),
        plain_steps(by_hand.alg_1, eta_=0.3, gamma=0.4, eps=0.02, alpha=0.9, sd=0.05),
    ),
    "Alg. 2": (
        recipe(ALG_2),
        plain_steps(by_hand.alg_2, eta_=0.3, gamma=80, eps=0.02, alpha=0.9, sd=0.05),
    ),
    "Alg. 4": (recipe(ALG_4), plain_steps(by_hand.alg_4, drawn=False, eta_=0.9, eps=0.06)),
    "published code": (
        recipe(PUBLISHED, PUBLISHED_OPTIMIZER),
        published_steps(by_hand.published_linf, eta_=0.03, eps=1e-3, radius=0.1),
    ),
    "published l2 code": (
        recipe(PUBLISHED_L2, PUBLISHED_OPTIMIZER),
        published_steps(by_hand.published_l2, eta_=0.12, eps=1e-2, gamma=0.05, radius=0.4),
    ),
}


def deviation(recipe, steps_by_hand, interpret=INTERPRETER.interpret):
    """The largest deviation of points, gradients, signal and weights over three steps; infinite where shapes differ."""
    plan = lower(atentdsl.load(recipe))
    update = plan.operations[-1]
    model, f, step_by_hand = by_hand.Net(), by_hand.Net(), steps_by_hand()
    optimizer = update.optimizer.function(
        model.parameters(), dict(update.rate.call.arguments)["value"], **dict(update.optimizer.arguments)
    )
    worst = 0.0
    for step, (x, y) in enumerate(by_hand.data(STEPS)):
        draws = "start" in recipe["sampler"][0]
        rng = Recorded({"attack.start": START[step], "attack.noise": NOISE[step]} if draws else {})
        trace = interpret(plan, model, optimizer, iter([(x, y)]), rng, {})
        points, gradient, signal = step_by_hand(f, x, y, step)
        assert rng.exhausted
        if len(trace.points) != len(points):
            return float("inf")
        pairs = [*zip([z for z, _ in trace.points], points, strict=True), (trace.signal, signal)]
        pairs += [(w.grad, g) for w, g in zip(model.parameters(), gradient, strict=True)]
        pairs += zip(model.parameters(), f.parameters(), strict=True)
        worst = max(worst, *(float((a - b).detach().abs().max()) for a, b in pairs))
    return worst


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_interpreter_is_the_algorithm(name):
    assert deviation(*ALGORITHMS[name]) < 1e-10


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_part_of_the_algorithm_is_at_work(name):
    """On these numbers no clip is idle and no two steps are alike: what is compared could differ."""
    given, steps = ALGORITHMS[name]
    (x, y), *_ = by_hand.data(STEPS)
    points, gradient, _ = steps()(by_hand.Net(), x, y, 0)
    moved = (points[-1] - x).abs()
    assert moved.max() > 0.03
    assert min(float(g.abs().max()) for g in gradient) > 1e-3
    if name == "Alg. 2":
        unclipped = by_hand.alg_2(by_hand.Net(), x, y, START[0][0], NOISE[0], K, 0.3, 1e-9, 0.02, 0.9, 0.05)[0]
        assert ((points[-1] - unclipped[-1]).abs() > 1e-6).any()
        assert torch.equal(points[-2], unclipped[-2])
    if name in {"Alg. 4", "published code"}:
        radius = given["sampler"][0]["projection"][0]["radius"]
        share = float((moved > radius - 1e-12).double().mean())
        assert 0.05 < share < 0.95
    if name == "published code":
        assert ((points[-1] == 0) | (points[-1] == 1)).any()


# One edit of the interpreter each; which algorithms notice it.
MUTANTS = {
    "the loss is climbed down": ("g = -g if move.descend else g", "g = g if move.descend else -g", ALGORITHMS),
    "no mean over the batch": ("g = g / len(z)", "g = g", ["Alg. 1", "Alg. 2", "Alg. 4"]),
    "the pull is forgotten": ("drift = drift + outside", "pass", ["Alg. 1"]),
    "the drift is not normalised": ("if move.drift:\n", "if False:\n", ["published code"]),
    "the sum for the mean": ("weight = float(operation.coefficient) / len(z)", "weight = 1.0", ALGORITHMS),
    "a gradient that is added unweighted": (
        "torch.add(p.grad, g, alpha=weight)",
        "torch.add(p.grad, g)",
        ["Alg. 1", "Alg. 2", "published code"],
    ),
    "a gradient that takes the place of those before": (
        "weight * g if p.grad is None else",
        "weight * g if True else",
        ["Alg. 1", "Alg. 2", "published code"],
    ),
    "coefficients forgotten": (
        "weight = float(operation.coefficient) / len(z)",
        "weight = 1.0 / len(z)",
        ["Alg. 1", "Alg. 2", "published code"],
    ),
    "no projection": ("self.points[name] = self._apply(call, index=index, **tensors)", "pass", ["Alg. 2", "Alg. 4"]),
    "the wrong old point": ("self.old = z\n", "self.old = anchor\n", ["Alg. 2"]),
    "the anchor moves": ("self._apply(move.coupling, index=k, z=z, anchor=anchor)", "0 * z", ["Alg. 1"]),
    "gradients pile up": ("optimizer.zero_grad()", "pass", ALGORITHMS),
    "no update": ("self.optimizer.step()", "pass", ALGORITHMS),
    "points that differ from those evaluated": (
        "chosen * self._losses(z, point, operation)",
        "chosen * self._losses(z + self.points[X] - z.detach(), point, operation)",
        ALGORITHMS,
    ),
}


@pytest.mark.parametrize(
    ("edit", "name"), [(edit, name) for edit, (_, _, noticed) in MUTANTS.items() for name in noticed]
)
def test_an_edited_interpreter_is_caught(edit, name):
    old, new, _ = MUTANTS[edit]
    mutant = edited(INTERPRETER, old, new)
    assert deviation(*ALGORITHMS[name], interpret=mutant.interpret) > 1e-6
