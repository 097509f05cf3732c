"""Optimizers: three steps against their definitions, in numpy and float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import modest
from torch.optim import Optimizer

from atentdsl.primitives.optimizers import adamw, sgd

RATES = st.lists(st.floats(1e-4, 1), min_size=3, max_size=3)  # one for each step: schedules change the rate
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> tuple[Any, Any]:
    """Weights, and one gradient for each of three steps."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-2, 2, 7), rng.choice([-1, 1], (3, 7)) * rng.uniform(0.1, 2, (3, 7))


def stepped(make: Callable[[Any], Optimizer], w: Any, gradients: Any, rates: list[float]) -> Any:
    """The weights after torch's steps."""
    weights = torch.tensor(w, requires_grad=True)
    optimizer = make([weights])
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weights.grad = torch.tensor(gradient)
        optimizer.step()
    return weights.detach().numpy()


@modest
@given(SEEDS, RATES, st.floats(0.01, 0.99) | st.just(0.0), st.booleans(), st.floats(0, 0.5))
def test_sgd(seed: int, rates: list[float], momentum: float, nesterov: bool, weight_decay: float) -> None:
    nesterov = nesterov and momentum > 0
    w, gradients = drawn(seed)
    found = stepped(lambda p: sgd.sgd(p, rates[0], momentum, nesterov, weight_decay), w, gradients, rates)
    buffer = np.zeros_like(w)
    for gradient, rate in zip(gradients, rates, strict=True):
        g = gradient + weight_decay * w
        buffer = momentum * buffer + g
        w = w - rate * (g + momentum * buffer if nesterov else buffer)
    np.testing.assert_allclose(found, w, rtol=1e-12, atol=1e-12)


@modest
@given(
    SEEDS,
    RATES,
    st.lists(st.floats(0, 0.999), min_size=2, max_size=2),
    st.sampled_from([1e-8, 1e-3, 1.0]),
    st.floats(0, 0.5),
)
def test_adamw(seed: int, rates: list[float], betas: list[float], eps: float, weight_decay: float) -> None:
    w, gradients = drawn(seed)
    found = stepped(lambda p: adamw.adamw(p, rates[0], betas, eps, weight_decay), w, gradients, rates)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        direction = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        w = w - rate * direction - rate * weight_decay * w
    np.testing.assert_allclose(found, w, rtol=1e-12, atol=1e-12)


def test_the_first_rate_is_the_one_given() -> None:
    weights = [torch.zeros(1, requires_grad=True)]
    assert sgd.sgd(weights, 0.3, 0.0, False, 0.0).param_groups[0]["lr"] == 0.3
    assert adamw.adamw(weights, 0.3, [0.9, 0.999], 1e-8, 0.0).param_groups[0]["lr"] == 0.3


@modest
@given(st.sampled_from([0.0, 0.5, 0.9]), st.booleans())
def test_nesterov_needs_a_momentum(momentum: float, nesterov: bool) -> None:
    table = sgd.Parameters.model_validate({"epochs": 1, "lr": 0.1, "momentum": momentum, "nesterov": nesterov})
    found = sgd.conflicts(table.parameters())
    assert [field for field, _, _ in found] == (["nesterov"] if nesterov and momentum == 0 else [])
    assert all("`momentum`" in mend for _, _, mend in found)
