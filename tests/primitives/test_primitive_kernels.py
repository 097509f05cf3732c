"""Kernels: one step by its definition, and the exact law of a Langevin chain."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import FALSE_ALARM, batches, edited, modest
from scipy import stats
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives.kernels.gradient import gradient_step
from atentdsl.primitives.kernels.langevin import langevin_step

STEPS = st.floats(1e-6, 2)


@modest
@given(batches(3), STEPS, st.floats(0, 2))
def test_a_langevin_step_is_the_sum_of_its_terms(drawn: list[Tensor], step_size: float, noise: float) -> None:
    z, drift, xi = drawn
    terms = [
        z.double().numpy(),
        step_size * drift.double().numpy(),
        (2 * step_size) ** 0.5 * noise * xi.double().numpy(),
    ]
    rounding = 8 * torch.finfo(z.dtype).eps * (1 + sum(abs(term) for term in terms))
    found = langevin_step(z, drift, xi, step_size, noise).double().numpy()
    assert (abs(found - sum(terms)) <= rounding).all()


@modest
@given(batches(3), STEPS)
def test_without_noise_it_is_the_gradient_step(drawn: list[Tensor], step_size: float) -> None:
    z, drift, xi = drawn
    assert torch.equal(langevin_step(z, drift, xi, step_size, 0.0), gradient_step(z, drift, step_size))


@modest
@given(batches(2), STEPS)
def test_a_gradient_step_goes_along_the_drift(drawn: list[Tensor], step_size: float) -> None:
    z, drift = drawn
    wanted = z.double().numpy() + step_size * drift.double().numpy()
    rounding = 4 * torch.finfo(z.dtype).eps * (3 + 3 * step_size)
    np.testing.assert_allclose(gradient_step(z, drift, step_size).double().numpy(), wanted, rtol=0, atol=rounding)
    assert torch.equal(gradient_step(z, torch.zeros_like(z), step_size), z)


CHAINS, MOVES = 20_000, 20


def has_the_law_of_the_discretised_chain(step: Callable[..., Tensor], step_size: float, noise: float) -> bool:
    """Independent chains on N(0, s2), E(z) = -z^2 / (2 s2), raw drift, run until nothing of the start is left.

    The chain z' = (1 - h/s2) z + sqrt(2h) noise xi is linear, so its stationary law is exactly normal with variance
    T s2 / (1 - h / (2 s2)), T = noise^2, and one move's correlation is exactly 1 - h/s2. Three tests, so the false
    alarm's probability is at most 3e-6 for a seed drawn anew.
    """
    s2 = 0.5
    kept = 1 - step_size / s2
    assert CHAINS * kept ** (2 * MOVES) < 1e-3, "the start has not been forgotten"
    generator = torch.Generator().manual_seed(3)
    z = old = torch.full((CHAINS, 1), 0.4, dtype=torch.float64)
    for _ in range(MOVES):
        old = z
        xi = torch.randn(z.shape, generator=generator, dtype=torch.float64)
        z = step(old, -old / s2, xi, step_size, noise)
    if not bool(z.isfinite().all()):
        return False
    variance = noise**2 * s2 / (1 - step_size / (2 * s2))
    points, before = z.ravel().numpy(), old.ravel().numpy()
    innovations = points - kept * before
    total, moved = (points**2).sum() / variance, (innovations**2).sum() / (2 * step_size * noise**2)
    dof = stats.chi2(CHAINS)
    tests = [
        2 * min(dof.cdf(total), dof.sf(total)),
        2 * min(dof.cdf(moved), dof.sf(moved)),
        stats.kstest(points, stats.norm(0, math.sqrt(variance)).cdf).pvalue,
    ]
    return bool(min(tests) > FALSE_ALARM)


@pytest.mark.parametrize(("step_size", "noise"), [(0.2, 1.0), (0.2, 0.3), (0.7, 0.5)])
def test_a_langevin_chain_has_its_exact_law(step_size: float, noise: float) -> None:
    assert has_the_law_of_the_discretised_chain(langevin_step, step_size, noise)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* noise)", "* noise * math.sqrt(2))"),
        ("2 * step_size", "step_size"),
        ("* noise)", "* noise**2)"),
        ("alpha=step_size", "alpha=-step_size"),
        ("alpha=step_size", "alpha=step_size / 2"),
        ("torch.add(z, drift, alpha=step_size)", "z"),
        ("math.sqrt(2 * step_size)", "math.sqrt(2) * step_size"),
        ("* noise)", "* noise * 1.03)"),
        (", xi,", ", xi.sign(),"),
    ],
)
def test_the_same_check_catches_a_wrong_step(old: str, new: str) -> None:
    assert not has_the_law_of_the_discretised_chain(edited(langevin_step, old, new), step_size=0.2, noise=0.3)


def test_both_kernels_ask_for_the_same_table_but_for_the_noise() -> None:
    langevin, gradient = (
        set(registry.primitive("kernels", k).parameters.model_fields) for k in ("langevin", "gradient")
    )
    assert langevin - gradient == {"noise"}
    assert gradient <= langevin
