"""The points of data that samplers hand on to what comes after them in a step."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import attrs

from atentdsl.plan.calls import coefficients

ONE = Fraction(1)


@attrs.frozen
class Points:
    """The points of data that samplers have handed on so far.

    Attributes:
        at: the register of the one point, or the sampler on whose shelf they are.
        weights: the coefficient of each; one for a register.
        held: whether they are on a shelf.
    """

    at: str
    weights: tuple[Fraction, ...] = (ONE,)
    held: bool = False


def ends_in_its_point(sampler: Any) -> bool:
    """Whether the sampler hands on one point, the last that its register holds: it needs no shelf."""
    weights = coefficients(sampler)
    chains = sampler.restarts if sampler.averaging.over_restarts == "mean" else 1
    return bool(weights[-1]) and not any(weights[:-1]) and chains == 1
