"""What an execution of a plan draws from, and what it went through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from torch import Tensor


class Draws(Protocol):
    """Named random streams of one outer step, each read on from draw to draw; and which epoch and step it is."""

    @property
    def epoch(self) -> int:
        """Counted from 1."""

    @property
    def step(self) -> int:
        """The outer step, counted from 1."""

    def normal(self, place: str, like: Tensor) -> Tensor:
        """Standard normal numbers of like's shape."""

    def uniform(self, place: str, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of like's shape."""


@attrs.define
class Trace:
    """What one execution went through.

    Attributes:
        points: every point that the weights' gradient was asked for at, with its coefficient, of a margin
            search one for each example: of data `(batch, *input)`, of displaced weights `(1, weights)`.
        kept: the same of a plan that draws: what it hands on.
        visited: every value z took after a start, a move or a projection.
        gradients: g at every input evaluation.
        signal: sum of c_k times the mean loss, and of the displacements; detached.
    """

    points: list[tuple[Tensor, float | Tensor]] = attrs.field(factory=list)
    kept: list[tuple[Tensor, float | Tensor]] = attrs.field(factory=list)
    visited: list[Tensor] = attrs.field(factory=list)
    gradients: list[Tensor] = attrs.field(factory=list)
    signal: Tensor | None = None
