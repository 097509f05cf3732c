"""The sparse drift: numpy's sorted magnitudes, the steepest of all directions in l1, and nothing against the box."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import modest
from torch import Tensor

from atentdsl.primitives.drifts.sparse import sparse


def gradient_and_point(seed: int, n: int, d: int) -> tuple[Tensor, Tensor]:
    """Gradients without ties, some of them 0, and points of which half lie on the box's faces."""
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(n, d, generator=generator, dtype=torch.float64)
    g[torch.rand(n, d, generator=generator) < 0.2] = 0
    z = (2 * torch.rand(n, d, generator=generator, dtype=torch.float64) - 0.5).clamp(0, 1)
    return g, z


@modest
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([1, 3, 64, 199, 200, 250, 399]))
def test_it_is_numpys_choice_of_the_largest_that_can_follow(seed: int, n: int, d: int) -> None:
    g, z = gradient_and_point(seed, n, d)
    count = max(1, d // 100)
    wanted = np.zeros((n, d))
    for row in range(n):
        follows = [i for i in range(d) if (g[row, i] > 0 and z[row, i] < 1) or (g[row, i] < 0 and z[row, i] > 0)]
        for i in sorted(follows, key=lambda i, row=row: -abs(float(g[row, i])))[:count]:
            wanted[row, i] = np.sign(float(g[row, i])) / count
    assert np.array_equal(sparse(g, z).numpy(), wanted)


@modest
@given(st.integers(0, 10**6))
def test_no_direction_of_l1_length_one_that_the_box_allows_gains_more(seed: int) -> None:
    g, z = gradient_and_point(seed, 1, 64)
    other = torch.randn(200, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    other[(z == 0).expand_as(other) & (other < 0)] = 0
    other[(z == 1).expand_as(other) & (other > 0)] = 0
    other = other / other.abs().sum(dim=1, keepdim=True)
    assert ((g * other).sum(dim=1) <= (g * sparse(g, z)).sum() + 1e-12).all()


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (3, 3, 32, 32)])
def test_magnitudes_sum_to_one_on_images(shape: tuple[int, ...]) -> None:
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    d = sparse(g, torch.full_like(g, 0.5)).flatten(1)
    torch.testing.assert_close(d.abs().sum(dim=1), torch.ones(len(g)))
    assert ((d != 0).sum(dim=1) == d.shape[1] // 100).all()


def test_where_nothing_can_follow_nothing_moves() -> None:
    g = torch.tensor([[1.0, -1.0, 0.0]])
    assert not sparse(g, torch.tensor([[1.0, 0.0, 0.5]])).any()
