"""Local entropy's identity, gamma E[w - w'] = E[grad L(w')] under p(w') ~ exp(-(L(w') + gamma/2 ||w - w'||^2) / T).

On a quadratic, L(w') = 1/2 ||A w' - b||^2 / rows, with the drawn step of the library itself: the interpreter walks the
chain, and the loss is put in place of the recipe's. Stationary moves have mean zero, so the identity holds for the
discretised chain at any step size. Over K moves from stationarity

    gamma mean(w - w') - mean grad L(w')  =  (w'_K - w'_0) / (eta K) - sqrt(2 / eta) eps mean(xi)

whose standard deviation in each weight is at most eps sqrt(2 / (eta K)) plus what the ends leave, 2 sd(w') / (eta K).
"""

from __future__ import annotations

import importlib
from functools import cache

import attrs
import pytest
import torch

import atentdsl
from atentdsl.plan import lower
from atentdsl.plan.operations import Evaluate
from atentdsl.plan.program import Plan
from atentdsl.plan.values import Call
from atentdsl.runtime.streams import Streams
from atentdsl.testing import edited

INTERPRETER = importlib.import_module("atentdsl.plan.interpret")  # the package offers a function of the same name
MOVES, BURN_IN, ETA, EPS, GAMMA = 3000, 1000, 0.05, 0.1, 0.5
ROWS, SIZE = 8, 6
GENERATOR = torch.Generator().manual_seed(0)
A = torch.randn(ROWS, SIZE, generator=GENERATOR, dtype=torch.float64)
B = torch.randn(ROWS, generator=GENERATOR, dtype=torch.float64)
ANCHOR = torch.randn(SIZE, generator=GENERATOR, dtype=torch.float64)

RECIPE = {
    "schema": 1,
    "recipe": {"name": "local_entropy"},
    "data": {"name": "digits", "batch": ROWS},
    "model": {"name": "mlp"},
    "sampler": [
        {
            "space": "weights",
            "moves": MOVES,
            "mode": "train",
            "target": {"direction": "descend", "coupling": {"kind": "l2", "gamma": GAMMA}},
            "kernel": {"kind": "langevin", "step_size": ETA, "noise": EPS},
            "averaging": {"kind": "mean", "burn_in": BURN_IN},
        }
    ],
    "optimizer": {"kind": "sgd", "epochs": 1, "lr": 0.1},
    "evaluate": {"attacks": [], "select": "clean"},
}


class Quadratic(Call):
    """Half the squared residual of each row, in place of a primitive's loss."""

    @property
    def function(self):
        return lambda logits, y: 0.5 * (logits[:, 0] - B) ** 2

    @property
    def clean(self):
        return ()


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(ANCHOR.clone())

    def forward(self, x):
        return (x @ self.w)[:, None]


def chain(interpret=INTERPRETER.interpret, seed=0):
    """The points w' after the burn-in, a row each; the anchor is left as the network's weights."""
    plan = lower(atentdsl.load(RECIPE), "draw")
    operations = tuple(
        attrs.evolve(o, loss=Quadratic("targets", "quadratic")) if isinstance(o, Evaluate) else o
        for o in plan.operations
    )
    model, rng = Linear(), Streams(seed, 1, torch.device("cpu"))
    batch = (A, torch.zeros(ROWS, dtype=torch.int64))
    trace = interpret(Plan("draw", operations), model, None, iter([batch]), rng, {})
    return torch.cat([w for w, _ in trace.kept]), model


@cache
def unedited():
    """Drawn once for the two tests that look at it."""
    return chain()


def deviations(points):
    """gamma mean(w - w') - mean grad L(w'), in standard errors, for each weight."""
    gradients = (points @ A.T - B) @ A / ROWS
    left = GAMMA * (ANCHOR - points).mean(dim=0) - gradients.mean(dim=0)
    count = len(points)
    error = EPS * (2 / (ETA * count)) ** 0.5 + 2 * points.std(dim=0) / (ETA * count)
    return left / error


def test_the_identity_holds_within_its_statistical_error():
    points, model = unedited()
    assert len(points) == MOVES - BURN_IN
    assert float(deviations(points).abs().max()) < 5
    assert torch.equal(model.w.detach(), ANCHOR)


def test_the_chains_law_is_the_discretised_one():
    """Mean H^-1 (A'b / rows + gamma w) and covariance T / (H - eta/2 H^2), with H = A'A / rows + gamma: exact for a
    quadratic; each eigenvalue's autocorrelation time, 2 / (eta h), says how many independent points there are.
    """
    points, _ = unedited()
    hessian = A.T @ A / ROWS + GAMMA * torch.eye(SIZE, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(hessian)
    centre = torch.linalg.solve(hessian, A.T @ B / ROWS + GAMMA * ANCHOR)
    along = (points - centre) @ vectors
    variance = EPS**2 / (values - ETA / 2 * values**2)
    independent = len(points) * ETA * values / 2
    assert float((along.mean(dim=0) / (variance / independent).sqrt()).abs().max()) < 5
    assert float(((along.var(dim=0) / variance - 1) / (2 / independent).sqrt()).abs().max()) < 5


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("drift = drift + outside", "drift = drift - outside"),  # the pull pushes
        ("drift = drift + outside", "pass"),  # there is no pull
        ("g = -g if move.descend else g", "g = -0.5 * g"),  # half the loss
    ],
)
def test_another_drift_breaks_the_identity(old, new):
    points, _ = chain(edited(INTERPRETER, old, new).interpret)
    assert not float(deviations(points).abs().max()) < 5  # so written, no number at all is caught too


def test_noise_off_by_a_root_of_two_breaks_the_law_though_not_the_identity():
    """The identity is one of means, which noise does not move: the law's variance tells."""
    old = "z = self._apply(move.kernel, index=k, z=z, drift=drift, **self._noise(move.kernel, move.stream, z))"
    loud = "z=z, drift=drift, xi=2**0.5 * self._noise(move.kernel, move.stream, z)['xi'])"
    points, _ = chain(edited(INTERPRETER, old, f"z = self._apply(move.kernel, index=k, {loud}").interpret)
    hessian = A.T @ A / ROWS + GAMMA * torch.eye(SIZE, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(hessian)
    variance = EPS**2 / (values - ETA / 2 * values**2)
    independent = len(points) * ETA * values / 2
    excess = ((points @ vectors).var(dim=0) / variance - 1) / (2 / independent).sqrt()
    assert float(excess.abs().max()) > 5
