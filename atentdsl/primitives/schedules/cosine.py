"""Half a cosine from `start` down (or up) to `end`, without restarts.

    end + (start - end) * (1 + cos(pi * (t - 1) / length)) / 2       for t = 1 … length, then end

Counted from 1, so that epoch 1 runs at `start`; `end` itself is reached after `length`. Over epochs and
moves, `length` is their number where it is not given. (Loshchilov and Hutter, SGDR, Eq. 5)

>>> [round(cosine(t, start=1.0, end=0.0, length=4), 3) for t in (1, 2, 3, 4, 5, 9)]
[1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, NonNegative, Primitive


class Parameters(Kinded):
    """A schedule table with kind `cosine`."""

    over: Literal["epochs", "steps", "moves"] = Field("epochs", description="what is counted, from 1")
    start: NonNegative = Field(description="the number at 1")
    end: NonNegative = Field(0.0, description="the number after `length`")
    length: Annotated[int, Field(ge=1)] | None = Field(None, description="how long the descent takes")


def cosine(t: int, start: float, end: float, length: int) -> float:
    """The number at t."""
    return end + (start - end) * (1 + math.cos(math.pi * min(t - 1, length) / length)) / 2


def conflicts(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Steps have no natural end."""
    if parameters["over"] == "steps" and parameters["length"] is None:
        return [("over", "a cosine over steps needs a length", "set `length`, the number of steps it takes")]
    return []


PRIMITIVE = Primitive(Parameters, cosine, conflicts=conflicts, cites=("loshchilov2017sgdr",))
