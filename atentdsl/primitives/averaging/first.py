"""The start alone carries weight: c_0 = 1. The moves then serve the next step's start, or nothing.

>>> coefficients(2)
[Fraction(1, 1), Fraction(0, 1), Fraction(0, 1)]
"""

from __future__ import annotations

from fractions import Fraction

from atentdsl.primitives.average import Average
from atentdsl.primitives.primitive import Primitive


class Parameters(Average):
    """The table `[sampler.averaging]` with kind `first`."""


def coefficients(moves: int) -> list[Fraction]:
    """The weights of points 0 … moves."""
    return [Fraction(k == 0) for k in range(moves + 1)]


PRIMITIVE = Primitive(Parameters, coefficients=coefficients)
