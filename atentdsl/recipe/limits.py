"""Numbers that no computation can carry: what is in range by itself and still too large, or too long, to run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from pydantic import BaseModel

from atentdsl.recipe.merging import Written
from atentdsl.recipe.wording import name_of
from atentdsl.source import Diagnostic, KeyPath

LARGEST = 1e30
"""Of any number of a recipe: what float32 can hold. What a product of two such numbers makes of training, it says."""
LARGEST_NOISE = 1e38
"""Of a move's noise, sqrt(2 * step_size) * noise: a step hands it on as one number, which float32 has to hold."""
LONGEST_WEIGHTS = 10**8
"""Decimals of an averaging's weights times moves: what takes some seconds and some ten megabytes."""


def beyond_limits(whole: Written, path: KeyPath, part: BaseModel) -> Iterator[Diagnostic]:
    """The numbers of one validated table that are too large to compute with."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, list):
            for i, element in enumerate(value):
                yield from _too_large(whole, (*path, name, i), element)
        yield from _too_large(whole, (*path, name), value)
    yield from _too_noisy(whole, path, part)
    alpha = getattr(getattr(part, "averaging", None), "alpha", None)
    if alpha is not None:
        yield from _too_long(whole, (*path, "averaging", "alpha"), alpha, getattr(part, "moves", 0))


def _too_large(whole: Written, path: KeyPath, value: Any) -> Iterator[Diagnostic]:
    if isinstance(value, float) and abs(value) > LARGEST:
        name = name_of(whole, path)
        message = f"`{name}` is too large to compute with"
        yield Diagnostic("out-of-range", message, whole.walk_to(path).at(), help=f"accepted: {name} <= {LARGEST:g}")


def _too_noisy(whole: Written, path: KeyPath, part: BaseModel) -> Iterator[Diagnostic]:
    """The noise of a kernel's move, each of its two numbers as large as it becomes."""
    step_size, noise = (_largest(getattr(part, name, 0.0)) for name in ("step_size", "noise"))
    if math.sqrt(2 * step_size) * noise > LARGEST_NOISE and max(step_size, noise) <= LARGEST:
        message = "the noise of a move, sqrt(2 * step_size) * noise, is too large to compute with"
        place = whole.walk_to((*path, "noise")).at()
        yield Diagnostic("inconsistent", message, place, help="write a smaller `noise`, or a smaller `step_size`")


def _largest(number: Any) -> float:
    """The largest value that a number has, where it is a schedule; of none, 0."""
    if not isinstance(number, BaseModel):
        return float(number or 0.0)
    reached = [getattr(number, name, 0.0) for name in ("value", "start", "peak", "end")]
    return float(max(max(value) if isinstance(value, list) else value for value in reached))


def _too_long(whole: Written, path: KeyPath, alpha: float, moves: int) -> Iterator[Diagnostic]:
    """The weights are exact fractions, whose digits grow with every move."""
    decimals = len(str(Fraction(str(alpha)).denominator)) - 1
    if decimals * moves**2 > LONGEST_WEIGHTS:
        message = f"the weights of {moves} points are too long to compute with an `alpha` of {decimals} decimals"
        mend = "write `alpha` with fewer decimals, or take fewer moves"
        yield Diagnostic("inconsistent", message, whole.walk_to(path).at(), help=mend)
