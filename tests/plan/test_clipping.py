"""A clipped gradient, in steps of SGD on a linear network written out in numpy."""

from __future__ import annotations

import importlib
from itertools import cycle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import optimised
from atentdsl.plan import interpret, lower
from atentdsl.runtime import Streams, clip_gradient
from atentdsl.runtime import clipping as clipping_module
from atentdsl.testing import batch, differences, edited, interpreted, network, run_module

INTERPRETER = importlib.import_module("atentdsl.plan.interpret")
N, PIXELS, CLASSES, STEPS = 3, 5, 4, 3
GENERATOR = np.random.default_rng(2)
W = GENERATOR.normal(size=(CLASSES, PIXELS))
X = GENERATOR.uniform(0.05, 0.95, size=(N, PIXELS))
Y = np.array([2, 0, 3])
LR, MOMENTUM, DECAY, CLIMB = 0.5, 0.9, 0.1, 0.2
# Over steps 1, 2, 3: the second gradient is shortened least, the third not at all.
LIMITS = [0.05, 0.2, 100.0]

WHOLE = {
    "schema": 1,
    "recipe": {"name": "clipping"},
    "data": {"name": "digits", "batch": N},
    "model": {"name": "mlp"},
    "optimizer": {
        "kind": "sgd",
        "epochs": 1,
        "lr": LR,
        "momentum": MOMENTUM,
        "weight_decay": DECAY,
        "clip": {"kind": "piecewise", "over": "steps", "at": [1, 2, 3], "value": LIMITS},
    },
    "evaluate": {"attacks": [], "select": "clean"},
}
AROUND = {
    "space": "weights",
    "moves": 1,
    "mode": "train",
    "target": {"loss": "signal", "direction": "ascend"},
    "kernel": {"step_size": CLIMB},
}
RECIPES = {"plain": atentdsl.load(WHOLE), "around": atentdsl.load({**WHOLE, "sampler": [AROUND]})}


def gradient(w):
    logits = X @ w.T
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (p - np.eye(CLASSES)[Y]).T @ X / N


def by_hand(name):
    """The gradient is shortened before decay and momentum; that along which weights are perturbed is as long as it is.

    Whether each step's gradient was longer than its limit is returned beside the weights.
    """
    w, buffer, longer = W, None, []
    for limit in LIMITS:
        g = gradient(w + CLIMB * gradient(w) if name == "around" else w)
        longer.append(np.sqrt((g**2).sum()) > limit)
        g = g * min(1.0, limit / np.sqrt((g**2).sum())) + DECAY * w
        buffer = g if buffer is None else MOMENTUM * buffer + g
        w = w - LR * buffer
    return w, longer


def stepped(name, step):
    model = torch.nn.Linear(PIXELS, CLASSES, bias=False).double()
    model.weight.data = torch.from_numpy(W.copy())
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    batches, state = cycle([(torch.from_numpy(X), torch.from_numpy(Y))]), {}
    for number in range(1, STEPS + 1):
        step(model, optimizer, batches, Streams(0, number, torch.device("cpu")), state)
    return model.weight.detach().numpy()


def interpreter(name, interpret=interpret):
    return stepped(name, lambda *given: interpret(lower(RECIPES[name]), *given))


def compiled(name, edit=lambda text: text, **named):
    module = as_module(edit(generate(RECIPES[name]).text), name)
    vars(module).update(named)
    return stepped(name, module.train_step)


@pytest.mark.parametrize("execute", [interpreter, compiled])
@pytest.mark.parametrize("name", RECIPES)
def test_steps_are_those_written_by_hand(name, execute):
    expected, longer = by_hand(name)
    assert longer == [True, True, False]
    np.testing.assert_allclose(execute(name), expected, rtol=0, atol=1e-12)


def wrong(found):
    return float(np.abs(found - by_hand("around")[0]).max()) > 1e-3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("limit / length if length > limit else 1.0", "limit / length"),
        ("limit / length if length > limit else 1.0", "limit"),
        ("torch.stack([torch.linalg.vector_norm(g) for g in gradients])", "gradients[0], 1"),
        ("                if clip is not None:\n", "                if False:\n"),
    ],
)
def test_an_interpreter_that_shortens_otherwise_is_caught(old, new):
    assert wrong(interpreter("around", edited(INTERPRETER, old, new).interpret))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("torch.where(norm > limit, limit / norm, 1.0)", "limit / norm"),
        ("(norm > limit, limit / norm, 1.0)", "(norm > limit, (limit / norm) ** 2, 1.0)"),
        ("(gradients)\n", "(gradients, 1.0)\n"),
        ("p.grad is not None", "False"),
    ],
)
def test_a_runtime_that_shortens_otherwise_is_caught(old, new):
    assert wrong(compiled("around", clip_gradient=edited(clipping_module, old, new).clip_gradient))


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_a_gradient_of_nothing_stays_nothing(limit):
    """Also where a schedule has come down to 0, of which no share of a length of 0 can be taken."""
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.zeros(1, 2)
    clip_gradient(model, limit)
    assert model.weight.grad.tolist() == [[0.0, 0.0]]


SHORTEN = "    clip_gradient(model, piecewise(rng.step, CLIP_AT, CLIP_VALUE))\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rng.step, CLIP_AT", "1, CLIP_AT"),
        (SHORTEN, ""),
        (SHORTEN + "    optimizer.step()\n", "    optimizer.step()\n" + SHORTEN),
        ("    g = gathered(", SHORTEN + "    g = gathered("),
    ],
)
def test_a_module_that_shortens_elsewhere_is_caught(old, new):
    def edit(text):
        assert text.count(old) == 1, text
        return text.replace(old, new)

    assert wrong(compiled("around", edit))


lengths = st.floats(1e-3, 1e3)


@given(lengths, lengths, st.integers(0, 10))
@settings(max_examples=25)
def test_the_length_afterwards_is_the_limit_or_what_it_was(length, limit, seed):
    """In float64 against numpy, over several weights, some of which have no gradient."""
    model = network(seed=seed)
    drawn = np.random.default_rng(seed)
    first, *rest = model.parameters()
    own = [drawn.normal(size=tuple(p.shape)) for p in rest]
    size = np.sqrt(sum((g**2).sum() for g in own))
    own = [g * length / size for g in own]
    for p, g in zip(rest, own, strict=True):
        p.grad = torch.from_numpy(g.copy())
    clip_gradient(model, limit)
    for p, g in zip(rest, own, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), g * min(1.0, limit / length), rtol=1e-12)
    assert first.grad is None


def test_no_gradient_stays_none_and_zero_stays_zero():
    model = torch.nn.Linear(2, 1)
    clip_gradient(model, 1.0)
    assert model.weight.grad is None
    model.weight.grad = torch.zeros(1, 2)
    clip_gradient(model, 1.0)
    assert torch.equal(model.weight.grad, torch.zeros(1, 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(value):
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[value, 1.0]])
    clip_gradient(model, 1.0)
    assert not model.weight.grad.isfinite().all()


@pytest.mark.parametrize("clip", [0.05, {"kind": "linear", "start": 0.05, "end": 0.5}])
@pytest.mark.parametrize("name", ["pgd_at_linf", "awp_pgd_at", "entropy_sgd", "entropy_sgd_atent"])
def test_interpreter_and_compiled_step_agree(name, clip):
    values = atentdsl.load(name).values()
    values["optimizer"]["clip"] = clip
    for sampler in values["sampler"]:
        sampler["moves"] = min(sampler["moves"], 3)
    made, batches = atentdsl.load(values), [batch(seed=1), batch(seed=2)]
    model = network(dropout=0.4, batch_norm=True)
    best = interpreted(optimised(lower(made), made.compile), model, batches, seed=5)
    run = run_module(as_module(generate(made).text, name), model, batches, seed=5)
    assert differences(best, run) == []
