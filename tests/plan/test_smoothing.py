"""A smoothed network in whole steps: against sums written out in numpy, finite differences, and the law of noise."""

from __future__ import annotations

import importlib
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, norm

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.plan import PlanError, lower, units, verify
from atentdsl.plan.operations import Evaluate, Noise, Take
from atentdsl.plan.program import Plan
from atentdsl.plan.values import Call, Smoothed
from atentdsl.runtime import Streams
from atentdsl.testing import Recorded, edited

INTERPRETER = importlib.import_module("atentdsl.plan.interpret")
SUMS = importlib.import_module("atentdsl.plan.smoothing")
N, PIXELS, CLASSES = 4, 6, 3
DRAW = np.random.default_rng(0)
X, Y = DRAW.uniform(0, 1, (N, PIXELS)), np.array([0, 2, 1, 1])
W = DRAW.normal(0, 1.5, (CLASSES, PIXELS))
XI = DRAW.normal(0, 1, (40, N, PIXELS))
AVERAGES = ["probabilities", "losses"]


def recipe(moves, smoothing, sampler=None):
    chain = {"name": "attack", "moves": moves, "kernel": {"step_size": 0.3}, "projection": [{"kind": "box"}]}
    return {
        "schema": 1,
        "recipe": {"name": "smoothed"},
        "data": {"name": "digits", "batch": N},
        "model": {"name": "mlp"},
        "sampler": [chain | (sampler or {})],
        "smoothing": smoothing,
        "optimizer": {"kind": "sgd", "epochs": 1, "lr": 0.0},
        "evaluate": {"attacks": [], "select": "clean"},
    }


# A linear network, whose smoothed gradients are sums that can be written out.


def smoothed_by_hand(z, noise, average):
    """L per example, and its gradients in z and in W, at z + noise."""
    seen = z + noise  # (m, n, pixels)
    logits = seen @ W.T
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    of_label = p[:, np.arange(N), Y]
    if average == "losses":
        share, losses = np.full_like(of_label, 1 / len(noise)), -np.log(of_label).mean(axis=0)
    else:  # the derivative of -log(mean p_y) weighs each copy by its share of the probability
        share, losses = of_label / of_label.sum(axis=0), -np.log(of_label.mean(axis=0))
    residual = share[:, :, None] * (p - np.eye(CLASSES)[Y])
    return losses, (residual @ W).sum(axis=0), np.einsum("inc,inp->cp", residual, seen) / N


def step_by_hand(c):
    """The points' gradients, the last point, the weights' gradient and the signal; and how many draws were read."""
    draws = iter(XI)

    def noise():
        return np.stack([c["sigma"] * next(draws) for _ in range(c["draws"])])

    signals = iter(XI[20:])
    shared, z, gradients = noise() if c["redraw"] == "batch" else None, X, []
    for _ in range(c["moves"]):
        _, g, _ = smoothed_by_hand(z, shared if shared is not None else noise(), c["target"])
        gradients.append(g)
        z = np.clip(z + 0.3 * g, 0, 1)
    own = shared if shared is not None else np.stack([c["sigma"] * next(signals) for _ in range(c["draws"])])
    losses, _, weights = smoothed_by_hand(z, own, c["objective"])
    return gradients, z, weights, losses.mean()


def streams(c):
    """The numbers of each stream, and no more of them than the step may read."""
    own = torch.from_numpy(XI[20 : 20 + c["draws"]])
    if c["redraw"] == "batch":
        normal = {"smoothing.noise": list(torch.from_numpy(XI[: c["draws"]]))}
    else:
        normal = {
            "smoothing.noise": list(torch.from_numpy(XI[: c["draws"] * c["moves"]])),
            "smoothing.signal": list(own),
        }
    rng = Recorded(normal=normal)
    rng.same_masks = lambda z: nullcontext()
    return rng


def linear():
    model = torch.nn.Linear(PIXELS, CLASSES, bias=False).double()
    model.weight.data = torch.from_numpy(W.copy())
    return model


def checked(c):
    return atentdsl.load(recipe(c["moves"], of_smoothing(c)))


def of_smoothing(c):
    return {key: value for key, value in c.items() if key != "moves"}


def agrees(c, execute):
    """Whether a step ends where the one by hand does, having read every draw that it should."""
    model, rng = linear(), streams(c)
    pair = (torch.from_numpy(X), torch.from_numpy(Y))
    try:
        z, signal = execute(c, model, torch.optim.SGD(model.parameters(), lr=0.0), iter([pair]), rng)
    except AssertionError:
        return False  # more draws than there are
    _, last, weights, by_hand = step_by_hand(c)
    pairs = [(z, last), (model.weight.grad, weights), (signal, by_hand)]
    return rng.exhausted and all(np.allclose(a.numpy(), b, rtol=1e-10, atol=1e-12) for a, b in pairs)


def interpreted(c, model, optimizer, batches, rng, interpret=INTERPRETER.interpret):
    trace = interpret(lower(checked(c)), model, optimizer, batches, rng, {})
    return trace.points[-1][0], trace.signal


def compiled(c, model, optimizer, batches, rng):
    module, seen = as_module(generate(checked(c)).text, "smoothed"), []
    own = module.weight_gradient
    module.weight_gradient = lambda model, z, *rest, **named: (seen.append(z), own(model, z, *rest, **named))[1]
    return (signal := module.train_step(model, optimizer, batches, rng, {})) is not None and (seen[-1], signal)


cases = st.fixed_dictionaries(
    {
        "moves": st.integers(1, 4),
        "draws": st.integers(1, 4),
        "sigma": st.integers(1, 2000).map(lambda i: i / 1000),
        "redraw": st.sampled_from(["batch", "evaluation"]),
        "target": st.sampled_from(AVERAGES),
        "objective": st.sampled_from(AVERAGES),
    }
)
ONE = {"moves": 2, "draws": 3, "sigma": 0.5, "redraw": "batch", "target": "probabilities", "objective": "losses"}


@given(cases)
@settings(max_examples=50)
def test_the_interpreted_step_is_the_one_written_by_hand(c):
    assert agrees(c, interpreted)


@given(cases)
@settings(max_examples=40)
def test_the_compiled_step_is_the_one_written_by_hand(c):
    assert agrees(c, compiled)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (SUMS, "torch.cat([z + each for each in noise])", "torch.cat([z for each in noise])"),
        (SUMS, "torch.cat([z + each for each in noise])", "torch.cat([(z + each).clamp(0, 1) for each in noise])"),
        (SUMS, "torch.cat([z + each for each in noise])", "torch.cat([z + noise[0] for each in noise])"),
        (SUMS, ".logsumexp(dim=0)", ".mean(dim=0)"),
        (SUMS, ").mean(dim=0)", ").sum(dim=0)"),
        (INTERPRETER, "sd * self.rng.normal", "sd**2 * self.rng.normal"),
        (INTERPRETER, "for _ in range(draws)]", "for _ in range(1)] * draws"),
    ],
)
def test_an_interpreter_that_smooths_otherwise_is_caught(module, old, new):
    mutant = edited(module, old, new)
    names = ("copies", "mean_losses", "mean_probabilities")
    interpreter = mutant if module is INTERPRETER else edited(INTERPRETER, '"""The interpreter:', '"""An interpreter:')
    if module is SUMS:
        vars(interpreter).update({name: vars(mutant)[name] for name in names})

    def execute(*given):
        return interpreted(*given, interpret=interpreter.interpret)

    def of(average):
        return agrees({**ONE, "target": average, "objective": average}, execute)

    assert not (of("losses") and of("probabilities"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('average if table.draws > 1 else "losses"', '"losses"'),
        ('if operation.loss.family == "objectives"', 'if operation.loss.family != "objectives"'),
        ('if table.redraw == "evaluation":\n            yield noise', "if False:\n            yield noise"),
        ('if table.redraw == "batch":', "if False:"),
        ('if table.redraw == "batch":', "if True:"),
        ('if table.redraw == "evaluation":\n            yield noise', "if True:\n            yield noise"),
        ('if signal and table.redraw == "evaluation"', 'if table.redraw == "evaluation"'),
    ],
)
def test_a_lowering_that_smooths_otherwise_is_caught(old, new, monkeypatch):
    monkeypatch.setattr(importlib.import_module("atentdsl.plan.lower"), "Smoothing", edited(SUMS, old, new).Smoothing)

    def of(redraw):
        try:
            return agrees({**ONE, "redraw": redraw}, interpreted)
        except PlanError:  # noise that nobody draws
            return False

    assert not (of("batch") and of("evaluation"))


@pytest.mark.parametrize("draws", [2, 3, 7])
def test_mean_probabilities_stay_finite_where_every_probability_underflows(draws):
    """softmax(0, -2000)[1] is 0 in float64, and its logarithm is -2000 all the same."""
    logits = torch.tensor([[0.0, -2000.0]], dtype=torch.float64).repeat(draws, 1)
    for module in (SUMS, importlib.import_module("atentdsl.runtime.smoothing")):
        assert module.mean_probabilities(logits, draws)[0].tolist() == pytest.approx([0.0, -2000.0], abs=1e-12)


# Losses that read the clean logits: what is smoothed is f, at x as at z, with the same noise.


def log_softmax(f, z):
    return torch.log_softmax(f(z), dim=1)


def kl(p, q):
    return (p.exp() * (p - q)).sum(dim=1)


def mart(p, q, y):
    own = torch.arange(len(y))
    others = p.exp().clone()
    others[own, y] = 0
    boosted = -p[own, y] - torch.log(1.0001 - others.max(dim=1).values + 1e-12)
    return boosted + 6.0 * kl(q, p) * (1.0000001 - q.exp()[own, y])


PAIRS = {
    "cross_entropy": lambda p, q, y: -p[torch.arange(len(y)), y],
    "kl_to_clean": lambda p, q, y: kl(q, p),
    "trades": lambda p, q, y: -q[torch.arange(len(y)), y] + 6.0 * kl(q, p),
    "mart": mart,
}


def smoothed_loss(f, z, x, y, noise, average, pair):
    """Draw by draw, each beside its own clean copy; or of the means of plain probabilities."""
    each = [(log_softmax(f, z + xi), log_softmax(f, x + xi)) for xi in noise]
    if average == "losses":
        return sum(pair(p, q, y) for p, q in each) / len(each)
    p, q = (sum(one.exp() for one in side) / len(each) for side in zip(*each, strict=True))
    return pair(p.log(), q.log(), y)


def small():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(PIXELS, 5), torch.nn.Tanh(), torch.nn.Linear(5, CLASSES)]
    return torch.nn.Sequential(*layers).double()


def slope(function, at, step=1e-5):
    """Central differences, coordinate by coordinate."""
    found = torch.zeros_like(at)
    for i in range(at.numel()):
        away = torch.zeros_like(at).view(-1)
        away[i] = step
        away = away.view_as(at)
        found.view(-1)[i] = (function(at + away) - function(at - away)) / (2 * step)
    return found


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("name", PAIRS)
def test_gradients_are_the_slopes_of_the_smoothed_loss(name, average, draws):
    """The interpreter's, by finite differences of sums that this file writes out; the compiled step agrees with it."""
    family = "targets" if name == "kl_to_clean" else "objectives"
    call = Call(family, name, (("beta", 6.0),) if name in {"trades", "mart"} else ())
    f, x, y = small(), torch.from_numpy(X), torch.from_numpy(Y)
    noise = [0.3 * torch.from_numpy(xi) for xi in XI[:draws]]
    z = x + 0.1 * torch.from_numpy(XI[30])
    made = INTERPRETER.Interpreter(f, None, None, None, {})
    made.points, made.y, made.noise = {"batch.x": x, "attack": z}, y, noise
    made.execute(Evaluate("input", call, "eval", "attack", smoothed=Smoothed(draws, average)))

    def total(at):
        with torch.no_grad():
            return smoothed_loss(f, at, x, y, noise, average, PAIRS[name]).sum()

    torch.testing.assert_close(made.g, slope(total, z), rtol=1e-7, atol=1e-8)


# What the network sees.


class Seen(torch.nn.Module):
    """A linear network that keeps its inputs."""

    def __init__(self, pixels):
        super().__init__()
        self.layer = torch.nn.Linear(pixels, CLASSES).double()
        self.inputs = []

    def forward(self, z):
        self.inputs.append(z.detach().clone())
        return self.layer(z)


STILL = {"kernel": {"step_size": 1e-300}, "projection": []}


def seen(c, x, steps=1, execute=None):
    """By step, evaluation and draw what was added to the point: the chain stands still."""
    table = recipe(c["moves"], of_smoothing(c), STILL)
    module, found = as_module(generate(atentdsl.load(table)).text, "seen"), []
    for step in range(1, steps + 1):
        model = Seen(x.shape[1])
        pair = (x, torch.zeros(len(x), dtype=torch.long))
        optimizer = module.make_optimizer(model.parameters())
        (execute or module.train_step)(model, optimizer, iter([pair]), Streams(3, step, torch.device("cpu")), {})
        found.append(torch.stack(model.inputs).view(len(model.inputs), c["draws"], *x.shape) - x)
    return torch.stack(found)


def test_one_draw_for_a_batch_is_shared_by_every_evaluation_and_another_one_for_each():
    x = torch.from_numpy(X)
    shared = seen({**ONE, "redraw": "batch"}, x, steps=2)
    assert shared.shape[:3] == (2, 3, 3)  # steps, evaluations, draws
    assert torch.equal(shared, shared[:, :1].expand_as(shared))
    assert len(shared[:, 0].reshape(6, -1).unique(dim=0)) == 6
    own = seen({**ONE, "redraw": "evaluation"}, x, steps=2)
    assert len(own.reshape(18, -1).unique(dim=0)) == 18


ALPHA = 1e-6


def is_normal(noise, sigma):
    """Mean and variance of the noise, draws uncorrelated, and as much of it outside the box as there must be."""
    flat = (noise / sigma).reshape(noise.shape[2], -1).numpy()
    count, total = flat[0].size, flat.size
    low, high = chi2.ppf([ALPHA / 2, 1 - ALPHA / 2], total)
    bound = norm.ppf(1 - ALPHA / 2)
    mean = abs(flat.sum()) < bound * np.sqrt(total)
    variance = low < np.square(flat).sum() < high
    apart = abs((flat[0] * flat[1]).sum()) < bound * np.sqrt(count)
    return mean and variance and apart


X_WIDE = torch.from_numpy(DRAW.uniform(0, 1, (64, 500)))
LAW = {**ONE, "moves": 1, "draws": 2, "sigma": 0.12}


def test_the_noise_is_normal_of_standard_deviation_sigma():
    assert is_normal(seen(LAW, X_WIDE)[:, :1], 0.12)


@pytest.mark.parametrize("sigma", ["0.12**2", "0.117", "0.123"])
def test_another_standard_deviation_is_caught(sigma):
    text = generate(atentdsl.load(recipe(1, of_smoothing(LAW), STILL))).text
    module = as_module(text.replace("SIGMA = 0.12", f"SIGMA = {sigma}"), "mutant")
    assert not is_normal(seen(LAW, X_WIDE, execute=module.train_step)[:, :1], 0.12)


@pytest.mark.parametrize("law", ["clamped", "uniform", "one draw twice"])
def test_noise_of_another_law_is_caught(law):
    noise = seen(LAW, X_WIDE)[:, :1]
    other = {
        "clamped": (noise + X_WIDE).clamp(0, 1) - X_WIDE,
        "uniform": 0.12 * (torch.rand(noise.shape, dtype=torch.float64) - 0.5),
        "one draw twice": noise[:, :, :1].expand_as(noise),
    }[law]
    assert not is_normal(other, 0.12)


def test_a_smoothing_moves_no_other_draw():
    smoothed = recipe(1, {"sigma": 0.1}, STILL | {"start": {"kind": "gaussian", "sd": 0.1}})
    plain = {key: value for key, value in smoothed.items() if key != "smoothing"}
    found = []
    for table in (smoothed, plain):
        model, rng = linear(), Streams(0, 1, torch.device("cpu"))
        batches = iter([(torch.from_numpy(X), torch.from_numpy(Y))])
        plan = lower(atentdsl.load(table))
        trace = INTERPRETER.interpret(plan, model, torch.optim.SGD(model.parameters(), lr=0.0), batches, rng, {})
        found.append(trace.points[-1][0])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


# Cost, and the rules of a plan.


def cost(K, m, *overrides):  # noqa: N803 - the table's letters
    checked_ = atentdsl.load("smoothadv", [f"sampler.attack.moves={K}", f"smoothing.draws={m}", *overrides])
    return units(lower(checked_)), units(generate(checked_).plan)


@pytest.mark.parametrize("m", [1, 2, 4])
@pytest.mark.parametrize("K", [1, 2, 5, 10])
def test_smoothadv_costs_m_times_its_chain_and_signal(K, m):  # noqa: N803
    assert cost(K, m) == (m * (2 * K + 3), m * (2 * K + 3))


@pytest.mark.parametrize("m", [1, 2, 4])
@pytest.mark.parametrize("K", [1, 2, 5])
def test_points_under_the_same_noise_and_average_are_merged_at_m_times_the_cost(K, m):  # noqa: N803
    everywhere = ['sampler.attack.averaging={ kind = "mean" }', 'sampler.attack.mode="train"']
    assert cost(K, m, *everywhere, 'smoothing.objective="probabilities"') == (5 * K * m, (3 * K + 2) * m)
    apart = m * 5 * K if m > 1 else 3 * K + 2  # of one copy both averages are the same
    assert cost(K, m, *everywhere) == (5 * K * m, apart)
    assert cost(K, m, *everywhere, 'smoothing.redraw="evaluation"') == (5 * K * m, 5 * K * m)


def test_gaussian_augmentation_costs_three_a_copy():
    checked_ = atentdsl.load("sgd", ["smoothing.sigma=0.12", "smoothing.draws=4"])
    assert units(lower(checked_)) == units(generate(checked_).plan) == 12


LOSS, TWO = Call("objectives", "cross_entropy"), Smoothed(2, "losses")


@pytest.mark.parametrize(
    "operations",
    [
        (Take(), Evaluate("weights", LOSS, "train", coefficient=1, smoothed=TWO)),
        (Take(), Noise(0.1, 3), Evaluate("weights", LOSS, "train", coefficient=1, smoothed=TWO)),
        (Take(), Noise(0.1, 2), Take(), Evaluate("weights", LOSS, "train", coefficient=1, smoothed=TWO)),
        (Noise(0.1, 2), Take(), Evaluate("weights", LOSS, "train", coefficient=1, smoothed=TWO)),
    ],
)
def test_noise_that_is_not_drawn_for_the_batch_is_a_fault(operations):
    update = lower(atentdsl.load("sgd")).operations[-1]
    good = (Take(), Noise(0.1, 2), Evaluate("weights", LOSS, "train", coefficient=1, smoothed=TWO), update)
    verify(Plan("train", good))
    with pytest.raises(PlanError):
        verify(Plan("train", (*operations, update)))
