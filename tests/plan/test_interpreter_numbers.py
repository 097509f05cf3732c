"""One step of the interpreter against the same step in numpy, on a linear network whose gradients are written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.plan import interpret, lower
from atentdsl.testing import Recorded

N, PIXELS, CLASSES = 3, 6, 4
GENERATOR = np.random.default_rng(0)
WEIGHTS = GENERATOR.normal(size=(CLASSES, PIXELS))
X = GENERATOR.uniform(0.05, 0.95, size=(N, PIXELS))
Y = np.array([2, 0, 3])
NOISE = GENERATOR.normal(size=(4, N, PIXELS))
START = {"normal": GENERATOR.normal(size=(N, PIXELS)), "uniform": GENERATOR.uniform(size=(N, PIXELS))}

thousandths = st.integers(1, 2000).map(lambda i: i / 1000)
radii = st.integers(0, 600).map(lambda i: i / 1000)


def kinded(kind, number, values, **more):
    return st.fixed_dictionaries({"kind": st.just(kind), number: values, **more})


when = st.sampled_from(["every", "last"])
starts = st.one_of(
    st.just({"kind": "zero"}),
    kinded("uniform", "radius", radii, projected=st.booleans()),
    kinded("corner", "radius", radii, projected=st.booleans()),
    kinded("gaussian", "sd", radii, projected=st.booleans()),
)
projections = st.one_of(
    st.fixed_dictionaries({"kind": st.just("box"), "when": when}),
    kinded("linf_ball", "radius", radii, when=when),
    kinded("increment_clip", "radius", radii, when=when),
)


def averagings(moves):
    return st.one_of(
        kinded("exponential", "alpha", st.just(1.0) | st.integers(1, 999).map(lambda i: i / 1000)),
        st.just({"kind": "last"}),
        st.just({"kind": "first"}),
        kinded("mean", "burn_in", st.integers(0, moves - 1)),
    )


@st.composite
def chains(draw):
    """The numbers of a chain: everything that enters its points and their weights."""
    moves = draw(st.integers(1, 4))
    return {
        "moves": moves,
        "direction": draw(st.sampled_from(["ascend", "descend"])),
        "beta": draw(thousandths),
        "reduction": draw(st.sampled_from(["per_example", "batch_mean"])),
        "gamma": draw(st.none() | st.just(0.0) | thousandths),
        "step_size": draw(thousandths),
        "noise": draw(st.just(0.0) | thousandths),
        "drift": draw(st.sampled_from(["raw", "sign", "l2"])),
        "covers": draw(st.sampled_from(["loss", "energy"])),
        "start": draw(starts),
        "projection": draw(st.lists(projections, max_size=3)),
        "averaging": draw(averagings(moves)),
    }


def recipe(c):
    coupling = {} if c["gamma"] is None else {"coupling": {"kind": "l2", "gamma": c["gamma"]}}
    kernel = {k: c[k] for k in ("step_size", "noise", "drift", "covers")}
    sampler = {
        "moves": c["moves"],
        "mode": "train",
        "target": {**{k: c[k] for k in ("direction", "beta", "reduction")}, **coupling},
        "kernel": {"kind": "langevin", **kernel},
        "start": c["start"],
        "projection": c["projection"],
        "averaging": c["averaging"],
    }
    return {
        "schema": 1,
        "recipe": {"name": "numbers"},
        "data": {"name": "digits", "batch": N},
        "model": {"name": "mlp"},
        "sampler": [sampler],
        "optimizer": {"kind": "sgd", "epochs": 1, "lr": 0.0},
        "evaluate": {"attacks": [], "select": "clean"},
    }


def excess(w, z):
    """softmax(Wz) - onehot(y), the gradient of each cross entropy in the logits; and the losses."""
    logits = z @ w.T
    logits = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p - np.eye(CLASSES)[Y], -np.log(p[np.arange(N), Y])


def normalised(kind, g):
    """D(g), and the smallest magnitude that a sign was taken of."""
    if kind == "sign":
        return np.sign(g), np.abs(g).min()
    if kind == "l2":
        return g / np.linalg.norm(g, axis=1, keepdims=True), np.linalg.norm(g, axis=1).min()
    return g, np.inf


def started(start, x=X):
    match start:
        case {"kind": "uniform", "radius": r}:
            return x + r * (2 * START["uniform"] - 1)
        case {"kind": "corner", "radius": r}:
            return x + r * np.sign(START["normal"])
        case {"kind": "gaussian", "sd": s}:
            return x + s * START["normal"]
    return x


def projected(z, old, projections, last, x=X):
    """In the order written; `last` ones after the last move alone. A start has no increment."""
    for p in projections:
        if p["when"] == "last" and not last:
            continue
        if p["kind"] == "box":
            z = np.clip(z, 0, 1)
        elif p["kind"] == "linf_ball":
            z = x + np.clip(z - x, -p["radius"], p["radius"])
        elif old is not None:
            z = old + np.clip(z - old, -p["radius"], p["radius"])
    return z


def weights_by_hand(c):
    K, averaging = c["moves"], c["averaging"]  # noqa: N806
    match averaging["kind"]:
        case "last":
            return [0] * K + [1]
        case "first":
            return [1] + [0] * K
        case "mean":
            return [(k > averaging["burn_in"]) / (K - averaging["burn_in"]) for k in range(K + 1)]
    alpha = averaging["alpha"]
    return [0, *(alpha * (1 - alpha) ** (K - k) for k in range(1, K + 1))]


def chain_by_hand(c, w=WEIGHTS):
    """E = beta L - gamma/2 |z - x|^2;  z <- P(z + eta' D(g) + sqrt(2 eta') eps xi);  then the signal."""
    x, gamma, closest = X, c["gamma"] or 0.0, np.inf
    beta = c["beta"] * {"ascend": 1, "descend": -1}[c["direction"]]
    beta = beta / N if c["reduction"] == "batch_mean" else beta
    z = started(c["start"])
    if c["start"].get("projected"):
        z = projected(z, None, c["projection"], last=True)
    points = [z]
    for k in range(c["moves"]):
        loss_gradient, pull = beta * (excess(w, z)[0] @ w), -gamma * (z - x)
        if c["covers"] == "energy":
            drift, margin = normalised(c["drift"], loss_gradient + pull)
        else:
            drift, margin = normalised(c["drift"], loss_gradient)
            drift = drift + pull
        closest = min(closest, margin)
        moved = z + c["step_size"] * drift + (2 * c["step_size"]) ** 0.5 * c["noise"] * NOISE[k]
        z = projected(moved, z, c["projection"], last=k == c["moves"] - 1)
        points.append(z)
    handed = [(z, weight) for z, weight in zip(points, weights_by_hand(c), strict=True) if weight]
    gradient, signal = np.zeros_like(w), 0.0
    for z, weight in handed:
        residual, losses = excess(w, z)
        gradient = gradient + weight * residual.T @ z / N
        signal += weight * losses.mean()
    return handed, gradient, signal, closest


def interpreted(c):
    model = torch.nn.Linear(PIXELS, CLASSES, bias=False).double()
    model.weight.data = torch.from_numpy(WEIGHTS.copy())
    normal, uniform = {}, {}
    if c["noise"]:
        normal["data.noise"] = [torch.from_numpy(xi) for xi in NOISE[: c["moves"]]]
    if c["start"].get("radius") or c["start"].get("sd"):  # a scale of 0 draws nothing
        kind = "uniform" if c["start"]["kind"] == "uniform" else "normal"
        (uniform if kind == "uniform" else normal)["data.start"] = [torch.from_numpy(START[kind])]
    rng = Recorded(normal, uniform)
    batch = (torch.from_numpy(X), torch.from_numpy(Y))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    trace = interpret(lower(atentdsl.load(recipe(c))), model, optimizer, iter([batch]), rng, {})
    assert rng.exhausted
    return trace, model.weight.grad.numpy()


@given(chains())
@settings(max_examples=150)
def test_a_step_is_the_one_written_by_hand(c):
    handed, gradient, signal, closest = chain_by_hand(c)
    assume(closest > 1e-9)  # nearer to zero, rounding decides a sign or a direction
    trace, weight_gradient = interpreted(c)
    assert len(trace.points) == len(handed)
    scale = max(1.0, *(np.abs(z).max() for z, _ in handed))
    for (mine, weight), (theirs, by_hand) in zip(trace.points, handed, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=0, atol=1e-10 * scale)
        assert weight == pytest.approx(by_hand, rel=1e-12)
    np.testing.assert_allclose(weight_gradient, gradient, rtol=0, atol=1e-10 * scale)
    assert float(trace.signal) == pytest.approx(signal, abs=1e-10 * scale)


@given(chains(), st.sampled_from(["sign", "l2"]))
@settings(max_examples=30)
def test_under_sign_or_l2_of_the_loss_the_batch_mean_changes_no_move(c, drift):
    c = {**c, "drift": drift, "covers": "loss"}
    each = interpreted({**c, "reduction": "per_example"})
    mean = interpreted({**c, "reduction": "batch_mean"})
    assume(min(float(g.abs().max()) for g in each[0].gradients) > 1e-9)
    scale = max(1.0, float(each[0].points[-1][0].abs().max()))
    for (one, _), (other, _) in zip(each[0].points, mean[0].points, strict=True):
        assert float((one - other).abs().max()) < 1e-10 * scale
