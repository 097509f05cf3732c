"""A number that jumps: from epoch (or step) at[i] on it is value[i], counted from 1.

>>> [piecewise(t, at=[1, 75], value=[0.1, 0.01]) for t in (1, 74, 75, 76)]
[0.1, 0.1, 0.01, 0.01]
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, NonNegative, Primitive


class Parameters(Kinded):
    """A schedule table with kind `piecewise`."""

    over: Literal["epochs", "steps", "moves"] = Field("epochs", description="what is counted, from 1")
    at: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = Field(
        description="where each value begins to hold; begins with 1 and rises"
    )
    value: Annotated[list[NonNegative], Field(min_length=1)] = Field(description="one value for each entry of `at`")


def piecewise(t: int, at: list[int], value: list[float]) -> float:
    """The value of the last entry that has begun at t."""
    return value[sum(t >= begin for begin in at) - 1]


def conflicts(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """One value for each beginning, the first of them at 1, rising."""
    at, value = parameters["at"], parameters["value"]
    found = []
    if at[0] != 1:
        found.append(("at", "`at` begins with 1", "let the first entry be 1: nothing else says what holds at first"))
    if any(a >= b for a, b in pairwise(at)):
        found.append(("at", "the entries of `at` rise", f"write `at = {sorted(set(at))}`"))
    if len(at) != len(value):
        found.append(("value", f"`at` has {len(at)} entries and `value` {len(value)}", "give one value for each entry"))
    return found


PRIMITIVE = Primitive(Parameters, piecewise, conflicts=conflicts)
