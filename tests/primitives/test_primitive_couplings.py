"""Couplings: the pull is minus the gradient of the energy that the density has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import batches, edited, modest
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives.couplings import linf
from atentdsl.primitives.couplings.l2 import l2_energy, l2_pull

GAMMA = st.floats(0, 100)


@modest
@given(batches(2), GAMMA)
def test_the_energy_is_half_gamma_times_the_squared_distance(drawn: list[Tensor], gamma: float) -> None:
    z, anchor = drawn
    flat = (z.numpy().astype(np.float64) - anchor.numpy()).reshape(len(z), -1)
    rtol = 1e-5 if z.dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(l2_energy(z, anchor, gamma).numpy(), gamma / 2 * (flat**2).sum(axis=1), rtol, 1e-30)


@modest
@given(batches(2), GAMMA)
def test_the_pull_is_minus_the_energys_slope_in_every_coordinate(drawn: list[Tensor], gamma: float) -> None:
    z, anchor = (t.double() for t in drawn)
    step = 2.0**-8  # central differences of a square are exact but for rounding
    slope = np.zeros(z.shape)
    for place in np.ndindex(*z.shape[1:]):
        aside = np.zeros(z.shape)
        aside[(slice(None), *place)] = step
        up, down = (l2_energy(z + sign * torch.from_numpy(aside), anchor, gamma).numpy() for sign in (1, -1))
        slope[(slice(None), *place)] = (up - down) / (2 * step)
    scale = 1 + gamma * float((z - anchor).flatten(1).square().sum(1).max())
    np.testing.assert_allclose(l2_pull(z, anchor, gamma).numpy(), -slope, rtol=0, atol=1e-12 * scale)


@modest
@given(batches(2), GAMMA)
def test_nothing_pulls_at_the_anchor_and_without_gamma(drawn: list[Tensor], gamma: float) -> None:
    z, anchor = drawn
    assert (l2_pull(anchor, anchor, gamma) == 0).all()
    assert (l2_energy(anchor, anchor, gamma) == 0).all()
    assert (l2_pull(z, anchor, 0.0) == 0).all()


@pytest.mark.parametrize("kind", registry.kinds("couplings"))
def test_a_coupling_has_a_pull_and_an_energy_or_neither(kind: str) -> None:
    primitive = registry.primitive("couplings", kind)
    assert (primitive.function is None) == (primitive.energy is None) == (kind == "none")


def pull_by_differences(z: Any, anchor: Any, gamma: float) -> Any:
    """Minus the gradient of gamma/2 times the largest displacement, by central differences in numpy."""
    pull, h = np.zeros_like(z), 1e-6
    for i in np.ndindex(*z.shape):
        step = np.zeros_like(z)
        step[i] = h
        ends = [gamma / 2 * abs((z + s - anchor)[i[0]]).max() for s in (step, -step)]
        pull[i] = -(ends[0] - ends[1]) / (2 * h)
    return pull


def agrees_with_differences(function: Any) -> bool:
    """For displacements whose largest coordinate leads by far more than a difference's step."""
    generator = np.random.default_rng(0)
    worst = 0.0
    for _ in range(20):
        anchor = generator.random((4, 2, 3))
        d = generator.permuted(np.linspace(0.1, 0.6, 6) * np.ones((4, 6)), axis=1).reshape(4, 2, 3)
        z = anchor + d * generator.choice([-1, 1], d.shape)
        found = function(torch.from_numpy(z), torch.from_numpy(anchor), 0.7).numpy()
        worst = max(worst, abs(found - pull_by_differences(z, anchor, 0.7)).max())
    return worst < 1e-8


def test_the_linf_pull_is_minus_its_energys_gradient_and_mutants_are_not() -> None:
    """Eq. 13 prints gamma where the gradient of gamma/2 times the norm is gamma/2: that mutant is caught too."""
    assert agrees_with_differences(linf.linf_pull)
    assert not agrees_with_differences(edited(linf.linf_pull, "gamma / 2", "gamma"))
    assert not agrees_with_differences(edited(linf.linf_pull, "anchor - z", "z - anchor"))
    assert not agrees_with_differences(edited(linf.linf_pull, "argmax", "argmin"))


@modest
@given(batches(2), st.floats(0, 10))
def test_the_linf_energy_is_numpys_and_its_pull_touches_one_coordinate(drawn: list[Tensor], gamma: float) -> None:
    z, anchor = drawn
    wanted = gamma / 2 * abs(z.double().numpy() - anchor.double().numpy()).reshape(len(z), -1).max(axis=1)
    np.testing.assert_allclose(linf.linf_energy(z, anchor, gamma), wanted, rtol=1e-6, atol=1e-37)
    pull = linf.linf_pull(z, anchor, gamma)
    assert (pull.flatten(1).count_nonzero(dim=1) <= 1).all()
    assert (linf.linf_pull(anchor, anchor, gamma) == 0).all()
