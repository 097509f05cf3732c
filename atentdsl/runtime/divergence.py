"""Divergence: which step it was that first gave a number that is not finite, and the batch that it was made on.

A loss is fetched from the device only now and then, so a fault is seen some steps late. Steps are keyed by their
numbers: made again from the last good snapshot, they meet the same fault, and this time each is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor

from atentdsl.runtime import checkpoint
from atentdsl.runtime.directory import DIVERGED
from atentdsl.runtime.running import NotFiniteState, Running
from atentdsl.runtime.tree import pack, unpack

__all__ = ["Cause", "cause", "keep_batch"]


@attrs.frozen(eq=False)
class Cause:
    """The first bad step.

    Attributes:
        epoch, step: its numbers.
        what: what is not finite after it.
        batches: what it was made on.
        before: the run's content before it.
    """

    epoch: int
    step: int
    what: str
    batches: list[tuple[Tensor, Tensor]] = attrs.field(repr=False)
    before: dict[str, Any] = attrs.field(repr=False)


class _Seen:
    """A stream of batches that remembers what it gave."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.given: list[tuple[Tensor, Tensor]] = []

    @property
    def taken(self) -> int:
        number: int = self._stream.taken
        return number

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        self.given.append(next(self._stream))
        return self.given[-1]


def cause(running: Running, content: dict[str, Any], until: int) -> Cause | None:
    """Makes the steps after `content` again, up to step `until`, and returns the first bad one; None if none is.

    The run is left at the step that it has found. An epoch's end is not measured again: what was finite then stays in
    the run's lines.
    """
    lines, best = running.lines, running.best
    running.restore(content)
    running.lines, running.best = lines, best
    while running.step < until:
        if running.step == running.epoch * running.per_epoch:
            running.next_epoch()
        before = unpack(*pack(running.content()))  # a copy: the step changes the tensors themselves
        seen = _Seen(running.batches)
        running.batches = seen  # type: ignore[assignment]
        try:
            running.advance()
            running.check_finite()
        except NotFiniteState as found:
            return Cause(running.epoch, running.step, found.what, seen.given, before)
        running.batches = seen._stream
    return None


def keep_batch(found: Cause, folder: Path) -> Path:
    """Writes the batches of the bad step, `x0`, `y0`, `x1`, ... and what they did; the file."""
    tensors = {}
    for number, (x, y) in enumerate(found.batches):
        tensors[f"x{number}"], tensors[f"y{number}"] = (t.detach().cpu().clone().contiguous() for t in (x, y))
    texts = {"epoch": str(found.epoch), "step": str(found.step), "not_finite": found.what}
    checkpoint.write(folder / DIVERGED, tensors, texts)
    return folder / DIVERGED
