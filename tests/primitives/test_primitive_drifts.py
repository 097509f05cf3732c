"""Drifts: finite everywhere, of length one or of signs, blind to the gradient's size."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import DTYPES, arrays, batches, modest, shapes
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives.drifts.l1 import unit_l1
from atentdsl.primitives.drifts.l2 import unit_l2
from atentdsl.primitives.drifts.sign import sign

OF_EXAMPLES = [kind for kind in registry.kinds("drifts") if kind != "layer"]  # which is one of weights

LENGTH = {np.float32: 1e-6, np.float64: 1e-14}


def drift(kind: str) -> Callable[[Tensor], Tensor]:
    function = registry.primitive("drifts", kind).function or (lambda g: g)
    # In the middle of the box every coordinate can follow.
    return (lambda g: function(g, torch.full_like(g, 0.5))) if kind == "sparse" else function


@st.composite
def gradients(draw: Any, dtype: Any) -> Tensor:
    """Rows of any finite numbers; now and then of the smallest, of the largest, or of nothing but zeros."""
    g = draw(arrays(dtype, draw(shapes())))
    size = np.finfo(dtype)
    extreme = st.sampled_from([0.0, float(size.smallest_subnormal), float(size.tiny), float(size.max)])
    for row in g:
        if draw(st.booleans()):
            row[...] = np.where(draw(arrays(dtype, row.shape, -1, 1)) < 0, -1, 1) * dtype(draw(extreme))
    return torch.from_numpy(g)


def exact_unit(row: Any) -> list[float]:
    """The direction of a row, from ratios of rationals: no square in it can overflow or vanish."""
    values = [Fraction(float(v)) for v in row.ravel()]
    largest = max(abs(v) for v in values)
    if not largest:
        return [0.0] * len(values)
    ratios = [float(v / largest) for v in values]
    length = math.sqrt(math.fsum(r * r for r in ratios))
    return [r / length for r in ratios]


every_precision = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)


@every_precision
@pytest.mark.parametrize("kind", OF_EXAMPLES)
@modest
@given(data=st.data())
def test_a_finite_gradient_gives_a_finite_drift(kind: str, dtype: Any, data: st.DataObject) -> None:
    g = data.draw(gradients(dtype))
    d = drift(kind)(g)
    assert d.isfinite().all()
    assert d.shape == g.shape
    assert d.dtype == g.dtype


@pytest.mark.parametrize("kind", [kind for kind in OF_EXAMPLES if kind != "sparse"])
@every_precision
def test_the_smallest_and_the_largest_gradients(kind: str, dtype: Any) -> None:
    size = np.finfo(dtype)
    for value in (0.0, size.smallest_subnormal, size.tiny, 1.0, size.max):
        g = torch.from_numpy(np.full((2, 3, 5), value, dtype))
        d = drift(kind)(torch.cat([g, -g]))
        assert d.isfinite().all()
        assert (d[:2] == -d[2:]).all()
        assert (d[:2] > 0).all() == (value > 0)


@every_precision
@modest
@given(data=st.data())
def test_l2_has_length_one_and_the_gradients_direction(dtype: Any, data: st.DataObject) -> None:
    g = data.draw(gradients(dtype))
    for row, unit in zip(g.numpy(), unit_l2(g).numpy(), strict=True):
        if (row == 0).all():
            assert (unit == 0).all()
        else:
            assert abs(math.hypot(*unit.ravel().tolist()) - 1) <= LENGTH[dtype]
        np.testing.assert_allclose(unit.ravel(), exact_unit(row), rtol=0, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 3, 32, 32), (2, 3, 224, 224)])
@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1.0, 1e37])
def test_l2_has_length_one_at_the_size_of_images(shape: tuple[int, ...], scale: float) -> None:
    even = torch.full(shape, scale)
    uneven = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * scale
    for g in (even, uneven):
        lengths = unit_l2(g).flatten(1).double().norm(dim=1)
        assert (lengths - 1).abs().max() <= 1e-6


@modest
@given(batches(1))
def test_sign_has_the_values_of_numpys(drawn: list[Tensor]) -> None:
    (g,) = drawn
    assert np.array_equal(sign(g).numpy(), np.sign(g.numpy()))
    assert set(sign(g).unique().tolist()) <= {-1.0, 0.0, 1.0}


def test_raw_is_the_identity() -> None:
    assert registry.primitive("drifts", "raw").function is None


@pytest.mark.parametrize("kind", ["l1", "l2", "sign", "sparse"])
@every_precision
@modest
@given(data=st.data(), power=st.integers(-60, 60))
def test_the_gradients_scale_does_not_matter(kind: str, dtype: Any, data: st.DataObject, power: int) -> None:
    # A power of two loses no bit as long as nothing leaves the normal range; then no bit of the drift changes either.
    g = torch.from_numpy(data.draw(arrays(dtype, data.draw(shapes()), -1e9, 1e9)))
    g = torch.where(g.abs() < 1e-9, 0.0, g)
    assert torch.equal(drift(kind)(g * 2.0**power), drift(kind)(g))


@every_precision
@modest
@given(data=st.data(), scale=st.floats(1e-3, 1e3))
def test_any_scale_leaves_l2_to_rounding(dtype: Any, data: st.DataObject, scale: float) -> None:
    g = torch.from_numpy(data.draw(arrays(dtype, data.draw(shapes()), -1e9, 1e9)))
    g = torch.where(g.abs() < 1e-9, 0.0, g)
    np.testing.assert_allclose(unit_l2(g * scale), unit_l2(g), rtol=0, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("kind", OF_EXAMPLES)
@modest
@given(batches(1))
def test_a_drift_is_odd(kind: str, drawn: list[Tensor]) -> None:
    (g,) = drawn
    assert torch.equal(drift(kind)(-g), -drift(kind)(g))


@modest
@given(batches(2))
def test_each_normalised_drift_is_the_steepest_ascent_of_its_norm(drawn: list[Tensor]) -> None:
    g, other = (t.flatten(1).double() for t in drawn)
    gain = (g * sign(g)).sum(1)
    assert (gain + 1e-9 >= (g * other.clamp(-1, 1)).sum(1)).all()  # any direction of l-infinity norm at most one
    gain = (g * unit_l2(g)).sum(1)
    assert (gain + 1e-9 >= (g * (other / other.norm(dim=1, keepdim=True).clamp(min=1))).sum(1)).all()


@every_precision
@modest
@given(data=st.data())
def test_l1_is_the_gradient_over_its_magnitudes_sum(dtype: Any, data: st.DataObject) -> None:
    """Against numpy in its longest precision, over the whole range of numbers; zero stays zero."""
    g = data.draw(arrays(dtype, data.draw(shapes())))
    wide = g.astype(np.longdouble).reshape(len(g), -1)
    total = abs(wide).sum(axis=1, keepdims=True)
    wanted = np.where(total > 0, wide / np.where(total > 0, total, 1), 0).reshape(g.shape)
    found = unit_l1(torch.from_numpy(g)).numpy()
    np.testing.assert_allclose(found.astype(np.longdouble), wanted, rtol=0, atol=1e-6 if dtype == np.float32 else 1e-14)
