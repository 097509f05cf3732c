"""A number that does not change. A bare number in the recipe means this.

>>> constant(7, value=0.1)
0.1
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, NonNegative, Primitive


class Parameters(Kinded):
    """A schedule table with kind `constant`."""

    over: Literal["epochs", "steps", "moves"] = Field("epochs", description="what is counted, from 1")
    value: NonNegative = Field(description="the number")


def constant(t: int, value: float) -> float:
    """The value at every t."""
    return value


PRIMITIVE = Primitive(Parameters, constant)
