"""Couplings: the pull is minus the gradient of the energy that the density has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import batches, modest
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives.couplings.l2 import energy, l2_pull

GAMMA = st.floats(0, 100)


@modest
@given(batches(2), GAMMA)
def test_the_energy_is_half_gamma_times_the_squared_distance(drawn: list[Tensor], gamma: float) -> None:
    z, anchor = drawn
    flat = (z.numpy().astype(np.float64) - anchor.numpy()).reshape(len(z), -1)
    rtol = 1e-5 if z.dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(energy(z, anchor, gamma).numpy(), gamma / 2 * (flat**2).sum(axis=1), rtol, 1e-30)


@modest
@given(batches(2), GAMMA)
def test_the_pull_is_minus_the_energys_slope_in_every_coordinate(drawn: list[Tensor], gamma: float) -> None:
    z, anchor = (t.double() for t in drawn)
    step = 2.0**-8  # central differences of a square are exact but for rounding
    slope = np.zeros(z.shape)
    for place in np.ndindex(*z.shape[1:]):
        aside = np.zeros(z.shape)
        aside[(slice(None), *place)] = step
        up, down = (energy(z + sign * torch.from_numpy(aside), anchor, gamma).numpy() for sign in (1, -1))
        slope[(slice(None), *place)] = (up - down) / (2 * step)
    scale = 1 + gamma * float((z - anchor).flatten(1).square().sum(1).max())
    np.testing.assert_allclose(l2_pull(z, anchor, gamma).numpy(), -slope, rtol=0, atol=1e-12 * scale)


@modest
@given(batches(2), GAMMA)
def test_nothing_pulls_at_the_anchor_and_without_gamma(drawn: list[Tensor], gamma: float) -> None:
    z, anchor = drawn
    assert (l2_pull(anchor, anchor, gamma) == 0).all()
    assert (energy(anchor, anchor, gamma) == 0).all()
    assert (l2_pull(z, anchor, 0.0) == 0).all()


@pytest.mark.parametrize("kind", registry.kinds("couplings"))
def test_a_coupling_has_a_pull_and_an_energy_or_neither(kind: str) -> None:
    primitive = registry.primitive("couplings", kind)
    assert (primitive.function is None) == (primitive.energy is None) == (kind == "none")
