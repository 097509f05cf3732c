"""The layer drift against numpy, and the momentum of a kernel against its sum written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from primitives.primitive_draws import arrays, modest
from torch import Tensor

from atentdsl.primitives.drifts import layer
from atentdsl.primitives.kernel import accumulated, look_ahead
from atentdsl.testing import edited

SHAPES = st.lists(hnp.array_shapes(max_dims=4, max_side=3), min_size=1, max_size=4)


@st.composite
def layered(draw: Any) -> tuple[Tensor, Tensor, list[tuple[int, ...]]]:
    """Gradients and weights of some layers, in one row each; some gradients are zero."""
    shapes = draw(SHAPES)
    size = sum(int(np.prod(shape)) for shape in shapes)
    g, w = (draw(arrays(np.float64, (1, size), -3, 3)) for _ in range(2))
    return torch.from_numpy(g), torch.from_numpy(w), shapes


def by_numpy(g: Tensor, w: Tensor, shapes: list[tuple[int, ...]]) -> Any:
    pieces, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        own, weights = (row.numpy()[0, at : at + size].astype(np.longdouble) for row in (g, w))
        length = np.sqrt((own**2).sum())
        at += size
        pieces.append(np.sqrt((weights**2).sum()) * own / length if len(shape) > 1 and length else np.zeros(size))
    return np.concatenate(pieces).astype(np.float64)[None]


def agrees(function: Any, drawn: tuple[Tensor, Tensor, list[tuple[int, ...]]]) -> bool:
    return np.allclose(function(*drawn).numpy(), by_numpy(*drawn), rtol=1e-12, atol=1e-300)


@modest
@given(layered())
def test_each_layer_has_the_length_of_its_weights(drawn: tuple[Tensor, Tensor, list[tuple[int, ...]]]) -> None:
    # The squares of subnormal numbers are beyond numpy's longdouble here as well.
    big = [row.where(row.abs() > 1e-100, torch.zeros((), dtype=row.dtype)) for row in drawn[:2]]
    assert agrees(layer.unit_layers, (*big, drawn[2]))


EXAMPLE = (
    torch.tensor([[1.0, -2.0, 0.5, 3.0, 4.0, -1.0]], dtype=torch.float64),
    torch.tensor([[2.0, 1.0, 1.0, -2.0, 0.5, 6.0]], dtype=torch.float64),
    [(2, 1), (1,), (1, 3)],
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if len(shape) > 1 else 0.0", "if len(shape) > 1 else 1.0"),
        ("length = w.norm(dim=1, keepdim=True)", "length = 1.0"),
        ("length * unit_l2(own)", "length * own"),
        ("torch.split(anchor, sizes, dim=1)", "torch.split(anchor.flip(1), sizes, dim=1)"),
    ],
)
def test_an_edited_drift_is_caught(old: str, new: str) -> None:
    assert agrees(layer.unit_layers, EXAMPLE)
    assert not agrees(edited(layer, old, new).unit_layers, EXAMPLE)


@modest
@given(layered())
def test_it_is_odd_and_does_not_see_the_gradients_size(drawn: tuple[Tensor, Tensor, list[tuple[int, ...]]]) -> None:
    g, w, shapes = drawn
    assert torch.equal(layer.unit_layers(-g, w, shapes), -layer.unit_layers(g, w, shapes))
    assert torch.equal(layer.unit_layers(4 * g, w, shapes), layer.unit_layers(g, w, shapes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_smallest_and_the_largest_gradients_keep_their_direction(dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    w = torch.tensor([[3.0, 4.0]], dtype=dtype)
    for size in (info.smallest_normal * info.eps, info.max):
        g = torch.tensor([[size, 0.0]], dtype=dtype)
        assert layer.unit_layers(g, w, [(1, 2)]).tolist() == [[5.0, 0.0]]


@modest
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6), st.sampled_from([0.0, 0.5, 0.9]))
def test_momentum_is_the_decaying_sum_of_the_gradients(gradients: list[float], mu: float) -> None:
    """From rest, m_k = sum_j mu^(k - j) g_j; Nesterov's direction is g_k + mu m_k."""
    velocity: Any = 0.0
    for g in gradients:
        velocity = accumulated(velocity, torch.tensor(g, dtype=torch.float64), mu)
    last = len(gradients) - 1
    wanted = sum(mu ** (last - j) * g for j, g in enumerate(gradients))
    assert float(velocity) == pytest.approx(wanted, rel=1e-12, abs=1e-12)
    direction = look_ahead(torch.tensor(gradients[-1], dtype=torch.float64), velocity, mu)
    assert float(direction) == pytest.approx(gradients[-1] + mu * wanted, rel=1e-12, abs=1e-12)
