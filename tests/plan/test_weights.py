"""The interpreter against Alg. 3 and the published readings that move the weights, written out in `weights_by_hand`."""

from __future__ import annotations

import importlib

import pytest
import torch
from plan import algorithms_by_hand, weights_by_hand
from plan.weights_by_hand import Biased, batches, rows

import atentdsl
from atentdsl.plan import lower
from atentdsl.testing import Recorded, edited

INTERPRETER = importlib.import_module("atentdsl.plan.interpret")  # the package offers a function of the same name
STEPS, K, GAMMA, ETA, NOISE = 3, 4, 0.3, 0.05, 0.02
DECAYING = {"kind": "sgd", "epochs": 1, "lr": 0.2, "momentum": 0.9, "weight_decay": 5e-2}


def recipe(samplers, optimizer, **data):
    return {
        "schema": 1,
        "recipe": {"name": "by_hand"},
        "data": {"name": "digits", "batch": 4, **data},
        "model": {"name": "mlp"},
        "sampler": samplers,
        "optimizer": optimizer,
        "evaluate": {"attacks": [], "select": "clean"},
    }


def sgd(lr, **more):
    return {"kind": "sgd", "epochs": 1, "lr": lr, **more}


def local_entropy(**changed):
    kernel = {"kind": "langevin", "step_size": ETA, "noise": NOISE} | changed.pop("kernel", {})
    averaging = {"kind": "exponential", "alpha": 0.25, "of": "displacement"} | changed.pop("averaging", {})
    return {
        "space": "weights",
        "mode": "train",
        "moves": K,
        "target": {"loss": "signal", "direction": "descend", "coupling": {"kind": "l2", "gamma": GAMMA}},
        "kernel": kernel,
        "averaging": averaging,
        **changed,
    }


ALG_3 = recipe([local_entropy(averaging={"gain": GAMMA})], sgd(0.7))
NESTEROV = {"momentum": {"mu": 0.9, "nesterov": True}}
REFERENCE = recipe([local_entropy(kernel=NESTEROV, batch="fresh")], sgd(0.7))
ATENT = {
    "name": "attack",
    "mode": "train",
    "moves": 3,
    "start": {"kind": "corner", "radius": 0.1},
    "kernel": {"kind": "langevin", "step_size": 0.03, "noise": 1e-3, "drift": "sign"},
    "projection": [{"kind": "linf_ball", "radius": 0.1}, {"kind": "box"}],
    "averaging": {"kind": "exponential", "alpha": 0.9},
}
INSIDE = recipe([local_entropy(kernel=NESTEROV, batch="fresh"), ATENT], sgd(0.7))
PGD = {
    "name": "attack",
    "mode": "train",
    "moves": K,
    "start": {"kind": "uniform", "radius": 0.1, "projected": True},
    "kernel": {"step_size": 0.03, "drift": "sign"},
    "projection": [{"kind": "linf_ball", "radius": 0.1}, {"kind": "box"}],
}
PERTURBED = {
    "space": "weights",
    "mode": "frozen",
    "moves": 1,
    "target": {"loss": "signal", "direction": "ascend"},
    "kernel": {"step_size": 0.05, "drift": "layer"},
}
AWP = recipe([PGD, PERTURBED], DECAYING | {"restore": "after_update"})
REPLAYS = 4
FREE = recipe(
    [
        {
            "name": "attack",
            "mode": "train",
            "moves": 1,
            "start": {"kind": "carry", "projected": True},
            "kernel": {"step_size": 0.04, "drift": "sign"},
            "projection": [{"kind": "linf_ball", "radius": 0.1}, {"kind": "box"}],
            "averaging": {"kind": "first"},
        }
    ],
    DECAYING,
    repeat=REPLAYS,
)


def interpreted(given, taken, streams, interpret=INTERPRETER.interpret):
    """The weights after one step for each stream; `taken` are all batches in the order they are taken."""
    plan, model = lower(atentdsl.load(given)), Biased()
    (update,) = [o for o in plan.operations if type(o).__name__ == "Update"]
    rate = dict(update.rate.call.arguments)["value"]
    optimizer = update.optimizer.function(model.parameters(), rate, **dict(update.optimizer.arguments))
    feed, state = iter(taken), {}
    for rng in streams:
        interpret(plan, model, optimizer, feed, rng, state)
        assert rng.exhausted
    assert next(feed, None) is None
    return model


def alg_3():
    f, taken, xi = Biased(), batches(STEPS), rows(Biased(), STEPS * K)
    for step, (x, y) in enumerate(taken):
        weights_by_hand.alg_3(f, x, y, xi[step * K : (step + 1) * K], K, 0.7, ETA, GAMMA, NOISE, 0.25)
    streams = [Recorded({"weights.noise": xi[step * K : (step + 1) * K]}) for step in range(STEPS)]
    return f, ALG_3, taken, streams


def reference():
    """The noise enters with a minus sign there: the same law, and here the same numbers."""
    f, taken, xi = Biased(), batches(STEPS * K), rows(Biased(), STEPS * K)
    for step in range(STEPS):
        of_step = slice(step * K, (step + 1) * K)
        weights_by_hand.entropy_sgd_reference(f, taken[of_step], xi[of_step], K, 0.7, ETA, GAMMA, NOISE)
    streams = [Recorded({"weights.noise": [-n for n in xi[s * K : (s + 1) * K]]}) for s in range(STEPS)]
    return f, REFERENCE, taken, streams


def atent_inside():
    """At every w' the chain begins again, with draws of its own."""
    f, taken, xi = Biased(), batches(STEPS * K), rows(Biased(), STEPS * K)
    starts, noise = (algorithms_by_hand.noises(STEPS * K, count, seed=seed) for count, seed in ((1, 3), (3, 4)))
    drawn = iter(zip(starts, noise, strict=True))

    def gradient(f, x, y):
        start, own = next(drawn)
        return algorithms_by_hand.published_linf(f, x, y, start[0], own, 3, 0.03, 1e-3, 0.1)[1]

    streams = []
    for step in range(STEPS):
        of_step = slice(step * K, (step + 1) * K)
        weights_by_hand.entropy_sgd_reference(f, taken[of_step], xi[of_step], K, 0.7, ETA, GAMMA, NOISE, gradient)
        recorded = {
            "weights.noise": [-n for n in xi[of_step]],
            "attack.start": [start[0] for start in starts[of_step]],
            "attack.noise": [n for own in noise[of_step] for n in own],
        }
        streams.append(Recorded(recorded))
    return f, INSIDE, taken, streams


def awp():
    f, taken = Biased(), batches(STEPS)
    starts = [own[0] for own in algorithms_by_hand.noises(STEPS, 1, kind=torch.rand)]
    optimizer = torch.optim.SGD(f.parameters(), lr=0.2, momentum=0.9, weight_decay=5e-2)
    for (x, y), start in zip(taken, starts, strict=True):
        weights_by_hand.awp_published(f, optimizer, x, y, start, K, 0.03, 0.1, 0.05)
    return f, AWP, taken, [Recorded(uniform={"attack.start": [start]}) for start in starts]


def free():
    """Inside the box, where the published code's unclipped perturbation and the one carried here are the same."""
    f, taken = Biased(), batches(STEPS, low=0.2, high=0.8)
    optimizer = torch.optim.SGD(f.parameters(), lr=0.2, momentum=0.9, weight_decay=5e-2)
    delta = torch.zeros_like(taken[0][0])
    for x, y in taken:
        delta = weights_by_hand.free_published(f, optimizer, x, y, delta, 0.04, 0.1, REPLAYS)
    return f, FREE, [pair for pair in taken for _ in range(REPLAYS)], [Recorded() for _ in range(STEPS * REPLAYS)]


SYSTEMS = {
    "Alg. 3": alg_3,
    "Entropy-SGD": reference,
    "ATENT inside Entropy-SGD": atent_inside,
    "AWP": awp,
    "Free-AT": free,
}


def deviation(name, **execution):
    """The largest difference of a weight after all steps, by hand and interpreted."""
    f, given, taken, streams = SYSTEMS[name]()
    model = interpreted(given, taken, streams, **execution)
    return max(float((a - b).detach().abs().max()) for a, b in zip(f.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("name", SYSTEMS)
def test_three_steps_end_at_the_weights_of_the_system_written_by_hand(name):
    assert deviation(name) < 1e-10


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_weights_have_moved(name):
    """By more than what separates any two of these systems from a mutant below."""
    f = SYSTEMS[name]()[0]
    assert all(
        float((a - b).detach().abs().max()) > 1e-3 for a, b in zip(f.parameters(), Biased().parameters(), strict=True)
    )


def test_an_update_before_the_weights_are_restored_differs_by_the_decay_of_the_perturbation():
    """-lr * decay * v after the first step, where no momentum has gathered yet."""
    _, given, taken, streams = awp()
    after = interpreted(given, taken[:1], streams[:1])
    before = interpreted(given | {"optimizer": DECAYING}, taken[:1], awp()[3][:1])
    w = Biased()
    z = weights_by_hand.pgd(w, *taken[0], algorithms_by_hand.noises(STEPS, 1, kind=torch.rand)[0][0], K, 0.03, 0.1)
    for a, b, own, g in zip(
        after.parameters(),
        before.parameters(),
        w.parameters(),
        weights_by_hand.gradient(w, z, taken[0][1]),
        strict=True,
    ):
        v = 0.05 * own.norm() / g.norm() * g if own.dim() > 1 else 0 * own
        assert torch.allclose(a - b, -0.2 * 5e-2 * v, rtol=1e-9, atol=1e-15)


# One edit of the interpreter each; which systems notice it.
ENTROPY = ["Alg. 3", "Entropy-SGD", "ATENT inside Entropy-SGD"]
MUTANTS = {
    "the weights climb": ("g = -g if move.descend else g", "g = g", ENTROPY),
    "no momentum": ("mu = self._number(move.momentum.mu, k)", "mu = 0.0", ENTROPY[1:]),
    "no look-ahead": ("if move.momentum.nesterov else velocity", "if False else velocity", ENTROPY[1:]),
    "the target's gradient stays": ("                    p.grad = None\n", "                    pass\n", ENTROPY),
    "the displacement grows the wrong way": ("weight * away[0,", "-weight * away[0,", ENTROPY),
    "the gain is forgotten": ("float(c) * self._number(gain)", "float(c)", ["Alg. 3"]),
    "the network never takes the weights": (
        "self._load(self.points[name])\n            case Noise",
        "pass\n            case Noise",
        [*ENTROPY, "AWP"],
    ),
    "the weights are not restored": (
        'self._load(self.points[f"{name}.anchor"])',
        "pass",
        ENTROPY,
    ),
    "the perturbation stays": (
        "self._load(self._weights() - (self.points[name] -",
        "(self._weights() - (self.points[name] -",
        ["AWP"],
    ),
    "nothing is carried": ("self.points[name] - self.points[anchor]", "0 * self.points[anchor]", ["Free-AT"]),
    "no layer's own length": (
        "shapes = [tuple(p.shape) for p in self._parameters()]",
        "shapes = [(1, anchor.shape[1])]",
        ["AWP"],
    ),
}


@pytest.mark.parametrize(
    ("edit", "name"), [(edit, name) for edit, (_, _, noticed) in MUTANTS.items() for name in noticed]
)
def test_an_edited_interpreter_is_caught(edit, name):
    old, new, _ = MUTANTS[edit]
    assert deviation(name, interpret=edited(INTERPRETER, old, new).interpret) > 1e-6
