"""A straight line from `start` to `end`, which then holds.

    start + (end - start) * (t - 1) / length       for t = 1 … length, then end

Counted from 1, so that epoch 1 (or move 1) runs at `start`; `end` itself is reached after `length`. Over epochs and
moves, `length` is their number where it is not given.

>>> [linear(t, start=0.0, end=1.0, length=4) for t in (1, 2, 3, 4, 5, 9)]
[0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, NonNegative, Primitive


class Parameters(Kinded):
    """A schedule table with kind `linear`."""

    over: Literal["epochs", "steps", "moves"] = Field("epochs", description="what is counted, from 1")
    start: NonNegative = Field(description="the number at 1")
    end: NonNegative = Field(description="the number after `length`")
    length: Annotated[int, Field(ge=1)] | None = Field(None, description="how long the way takes")


def linear(t: int, start: float, end: float, length: int) -> float:
    """The number at t."""
    return start + (end - start) * min(t - 1, length) / length


def conflicts(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Steps have no natural end."""
    if parameters["over"] == "steps" and parameters["length"] is None:
        return [("over", "a line over steps needs a length", "set `length`, the number of steps it takes")]
    return []


PRIMITIVE = Primitive(Parameters, linear, conflicts=conflicts)
