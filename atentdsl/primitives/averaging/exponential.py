"""Exponentially decaying average of the losses along the chain, newest heaviest.

    mu^k = (1 - alpha) mu^(k-1) + alpha L(z^k),  mu^0 = 0                     (Jagatap et al., Alg. 1 and 2, line 10)
    so  c_k = alpha (1 - alpha)^(K - k)  for k = 1 … K,  and  sum c = 1 - (1 - alpha)^K

The sum is below 1: no correction is made, since the paper makes none. Computed in rationals, so that a comparison of
coefficients with a threshold never hangs on rounding. Without moves the start carries weight 1.

>>> coefficients(3, alpha=0.9)
[Fraction(0, 1), Fraction(9, 1000), Fraction(9, 100), Fraction(9, 10)]
"""

from __future__ import annotations

from fractions import Fraction

from pydantic import Field

from atentdsl.primitives.average import Average
from atentdsl.primitives.primitive import Primitive, Share


class Parameters(Average):
    """The table `[sampler.averaging]` with kind `exponential`."""

    alpha: Share = Field(description="α, the newest point's share, in (0, 1]")


def coefficients(moves: int, alpha: float) -> list[Fraction]:
    """The weights of points 0 … moves."""
    share = Fraction(str(alpha))
    if moves == 0:
        return [Fraction(1)]
    return [Fraction(0)] + [share * (1 - share) ** (moves - k) for k in range(1, moves + 1)]


PRIMITIVE = Primitive(Parameters, coefficients=coefficients, cites=("jagatap2021atent", "chaudhari2017entropysgd"))
