"""The plain mean of the points after a burn-in: c_k = 1 / (K - burn_in) for k > burn_in.

With a Langevin kernel and raw drift this is the usual Monte Carlo estimate of the expectation in Jagatap et al., Eq. 6.
Without moves the start carries weight 1.

>>> coefficients(3, burn_in=1)
[Fraction(0, 1), Fraction(0, 1), Fraction(1, 2), Fraction(1, 2)]
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import Field

from atentdsl.primitives.average import Average
from atentdsl.primitives.primitive import Primitive


class Parameters(Average):
    """The table `[sampler.averaging]` with kind `mean`."""

    burn_in: Annotated[int, Field(ge=0)] = Field(0, description="points left out at the chain's beginning")


def coefficients(moves: int, burn_in: int) -> list[Fraction]:
    """The weights of points 0 … moves; burn_in is smaller than moves, or both are 0."""
    if moves == 0:
        return [Fraction(1)]
    return [Fraction(int(k > burn_in), moves - burn_in) for k in range(moves + 1)]


PRIMITIVE = Primitive(Parameters, coefficients=coefficients, cites=("jagatap2021atent",))
