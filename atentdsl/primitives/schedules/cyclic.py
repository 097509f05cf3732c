"""Up a straight line from `start` to `peak`, and down another to `end`, which then holds: one cycle.

    s = min(t - 1, length) / length,     start + (peak - start) * s / rise                  while s <= rise
                                         end + (peak - end) * (1 - s) / (1 - rise)          after

Counted from 1, as the other schedules are: the peak is reached after `rise * length`, the end after `length`. Over
epochs and moves, `length` is their number where it is not given. `start` is what epoch 1 runs at, and at 0 nothing is
learned in it, so over epochs it is better above. The published code counts steps, from 0 to 0. (Smith, sec. 3; Wong et
al., sec. 4)

>>> [round(cyclic(t, start=0.0, peak=0.2, end=0.0, rise=0.4, length=10), 3) for t in (1, 3, 5, 8, 11, 12)]
[0.0, 0.1, 0.2, 0.1, 0.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, NonNegative, Primitive


class Parameters(Kinded):
    """A schedule table with kind `cyclic`."""

    over: Literal["epochs", "steps", "moves"] = Field("epochs", description="what is counted, from 1")
    start: NonNegative = Field(0.0, description="the number at 1")
    peak: NonNegative = Field(description="the number where the cycle turns")
    end: NonNegative = Field(0.0, description="the number after `length`")
    rise: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="share of `length` before the peak")
    length: Annotated[int, Field(ge=1)] | None = Field(None, description="how long the cycle takes")


def cyclic(t: int, start: float, peak: float, end: float, rise: float, length: int) -> float:
    """The number at t."""
    share = min(t - 1, length) / length
    if share <= rise:
        return start + (peak - start) * (share / rise)
    return end + (peak - end) * ((1 - share) / (1 - rise))


def conflicts(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Steps have no natural end."""
    if parameters["over"] == "steps" and parameters["length"] is None:
        return [("over", "a cycle over steps needs a length", "set `length`, the number of steps it takes")]
    return []


PRIMITIVE = Primitive(Parameters, cyclic, conflicts=conflicts, cites=("smith2017cyclical", "wong2020fast"))
