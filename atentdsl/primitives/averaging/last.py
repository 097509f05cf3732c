"""The last point alone carries weight: c_K = 1. What adversarial training does (Alg. 4 line 10).

>>> coefficients(3)
[Fraction(0, 1), Fraction(0, 1), Fraction(0, 1), Fraction(1, 1)]
"""

from __future__ import annotations

from fractions import Fraction

from atentdsl.primitives.average import Average
from atentdsl.primitives.primitive import Primitive


class Parameters(Average):
    """The table `[sampler.averaging]` with kind `last`."""


def coefficients(moves: int) -> list[Fraction]:
    """The weights of points 0 … moves."""
    return [Fraction(k == moves) for k in range(moves + 1)]


PRIMITIVE = Primitive(Parameters, coefficients=coefficients, cites=("madry2018pgd",))
