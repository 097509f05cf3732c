"""What the primitives' properties are checked on: batches of awkward numbers, and shipped functions with one edit."""

from __future__ import annotations
import __future__

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

modest = settings(max_examples=40)
DTYPES = (np.float32, np.float64)
# The statistical tests raise a false alarm with this probability, for a seed drawn anew; the seeds here are fixed.
FALSE_ALARM = 1e-6


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """`(batch, *input)`: batches from one, inputs of one to three axes, mostly odd."""
    return st.tuples(st.integers(1, 4), hnp.array_shapes(max_dims=3, max_side=5)).map(lambda s: (s[0], *s[1]))


def arrays(dtype: Any, shape: Any, low: float | None = None, high: float | None = None) -> st.SearchStrategy[Any]:
    """Finite numbers, subnormal ones and both zeros among them; the whole range where no bounds are given."""
    ends = {} if low is None or high is None else {"min_value": float(dtype(low)), "max_value": float(dtype(high))}
    return hnp.arrays(
        dtype, shape, elements=hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False, **ends)
    )


@st.composite
def batches(draw: Any, count: int, low: float = -3.0, high: float = 3.0) -> list[Tensor]:
    """`count` tensors of one shape and one precision."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(shapes())
    return [torch.from_numpy(draw(arrays(dtype, shape, low, high))) for _ in range(count)]


class Ball(NamedTuple):
    """Two points, a centre of the same shape, and a radius."""

    z: Tensor
    other: Tensor
    centre: Tensor
    radius: float

    def bounds(self) -> tuple[Any, Any]:
        """The ball's ends in numpy, in the tensors' own precision."""
        centre, radius = self.centre.numpy(), self.centre.numpy().dtype.type(self.radius)
        return centre - radius, centre + radius


RADII = st.sampled_from([0.0, 5e-324, 1e-45, 1e-8, 8 / 255, 0.031, 0.3, 1.0]) | st.floats(0, 2)


@st.composite
def balls(draw: Any, dtypes: Any = DTYPES, inside_box: bool = False) -> Ball:
    """Points in, on, next to and far from the ball's boundary."""
    dtype, shape, radius = draw(st.sampled_from(dtypes)), draw(shapes()), draw(RADII)
    centre = draw(arrays(dtype, shape, *((0, 1) if inside_box else (-2, 2))))
    low, high = centre - dtype(radius), centre + dtype(radius)
    ends = [low, high, np.nextafter(low, dtype(-9)), np.nextafter(high, dtype(9)), centre]

    def point() -> Tensor:
        free = draw(arrays(dtype, shape, -5, 5))
        which = draw(hnp.arrays(np.intp, shape, elements=st.integers(0, len(ends))))
        return torch.from_numpy(np.choose(which, [free, *ends]))

    return Ball(point(), point(), torch.from_numpy(centre), radius)


def bits(tensor: Tensor) -> bytes:
    """Every bit of a tensor: unlike `==` it tells the two zeros apart."""
    return bytes(tensor.contiguous().numpy().tobytes())


def edited(function: Callable[..., Any], old: str, new: str) -> Callable[..., Any]:
    """The shipped function with one edit of its source: what a check of that function must catch."""
    source = inspect.getsource(function)
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in\n{source}"
    assert old != new
    space = dict(function.__globals__)
    exec(compile(source.replace(old, new), "<mutant>", "exec", flags=__future__.annotations.compiler_flag), space)
    mutant: Callable[..., Any] = space[function.__name__]
    return mutant
