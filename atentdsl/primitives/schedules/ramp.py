"""`start` for a while, the warm-up, then a straight line to `end`, which then holds.

    start + (end - start) * max(0, t - 1 - after) / length       for t = 1 … after + length, then end

Counted from 1, as the other schedules are; with `after = 0` it is `linear`. What grows only when something has been
learned: the radius that interval bounds are trained at.

>>> [ramp(t, start=0.0, end=1.0, after=2, length=4) for t in (1, 2, 3, 4, 5, 7, 9)]
[0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 1.0]
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, NonNegative, Primitive


class Parameters(Kinded):
    """A schedule table with kind `ramp`."""

    over: Literal["epochs", "steps", "moves"] = Field("epochs", description="what is counted, from 1")
    start: NonNegative = Field(description="the number at 1")
    end: NonNegative = Field(description="the number after `after` and `length`")
    after: Annotated[int, Field(ge=0)] = Field(description="how long `start` holds")
    length: Annotated[int, Field(ge=1)] = Field(description="how long the way takes")


def ramp(t: int, start: float, end: float, after: int, length: int) -> float:
    """The number at t."""
    return start + (end - start) * min(max(0, t - 1 - after), length) / length


PRIMITIVE = Primitive(Parameters, ramp, cites=("gowal2018ibp",))
