"""What of a step a CUDA graph keeps as it was when it was captured, and what it reads anew at each replay.

Reads anew: weights, buffers, the optimizer's state, a learning rate on the device, the batches and the step's own
state, each from memory of its own; random numbers, from generators that are seeded before. Keeps: every Python number
and branch, so shapes, the optimizer's other numbers, and the epoch where the step reads it. These are the step's
`Form`; a graph serves steps of one form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import fused
from atentdsl.runtime.streams import Streams
from atentdsl.runtime.tree import mapped

__all__ = ["Form", "Static", "Taken", "carry_back", "form_of", "refusal"]

Batch = tuple[Tensor, Tensor]


class Taken:
    """A stream of batches that remembers what it gave; those in `first` come before it.

    >>> stream = Taken(iter("bc"), first=["a"])
    >>> [next(stream), next(stream)], stream.given
    (['a', 'b'], ['a', 'b'])
    """

    def __init__(self, stream: Iterator[Any], first: Sequence[Any] = ()) -> None:
        self._stream, self._first = stream, list(first)
        self.given: list[Any] = []

    def __iter__(self) -> Taken:
        return self

    def __next__(self) -> Any:
        self.given.append(self._first.pop(0) if self._first else next(self._stream))
        return self.given[-1]


@attrs.frozen
class Form:
    """What a graph keeps of a step.

    Attributes:
        batches: shapes and types of what it takes.
        state: the form of what the step before left.
        numbers: the optimizer's.
        epoch: where the step reads it, else None.
    """

    batches: Any
    state: Any
    numbers: Any
    epoch: int | None


def form_of(batches: Sequence[Batch], state: dict[str, Any], optimizer: Optimizer, epoch: int | None) -> Form:
    """The form of a step on these batches, which begins with this state."""
    return Form(_form(list(batches)), _form(state), fused.numbers(optimizer), epoch)


def _form(value: Any) -> Any:
    return mapped(value, lambda t: ("tensor", tuple(t.shape), t.dtype, t.device))


def refusal(rng: Streams) -> str | None:
    """Why a step cannot be captured that was made with these streams; None where it can be.

    >>> rng = Streams(seed=0, step=1, device=torch.device("cpu"))
    >>> refusal(rng) is None, rng.step, refusal(rng) is None
    (True, 1, False)
    """
    if "step" in rng.read:
        return "it reads the number of the outer step, which a graph would keep"
    if "examples" in rng.read:
        return "it remembers something of each training example, whose numbers a graph is not given"
    if "masks" in rng.read:
        return "it draws a dropout mask again, which sets a generator"
    return None


class Static:
    """Batches and state in memory that stays where it is.

    >>> static = Static([(torch.ones(2), torch.zeros(2))], {"kept": torch.ones(1)})
    >>> place = static.batches[0][0]
    >>> static.fill([(torch.full((2,), 5.0), torch.ones(2))], {"kept": torch.zeros(1)})
    >>> place, static.state["kept"]
    (tensor([5., 5.]), tensor([0.]))
    """

    def __init__(self, batches: Sequence[Batch], state: dict[str, Any]) -> None:
        self.batches: list[Batch] = mapped(list(batches), torch.clone)
        self.state: dict[str, Any] = mapped(state, torch.clone)

    def fill(self, batches: Sequence[Batch], state: dict[str, Any]) -> None:
        """Copies a step's batches and state in; both have the form of those it was made with."""
        for own, given in zip(_tensors([self.batches, self.state]), _tensors([list(batches), state]), strict=True):
            if own is not given:
                own.copy_(given)

    def inside(self) -> dict[str, Any]:
        """The state for the step that is captured, which may put other tensors in."""
        return mapped(self.state, lambda t: t)  # type: ignore[no-any-return]


def carry_back(left: dict[str, Any], static: dict[str, Any]) -> None:
    """Copies what a step left into the static state that the next one begins with; captured with the step.

    First all are copied out: what is left may be another's memory, as where a step exchanges two.

    Raises:
        ValueError: it has another form.
    """
    if _form(left) != _form(static):
        raise ValueError("what the step leaves has another form than what it begins with")
    for own, new in zip(_tensors(static), [t.clone() for t in _tensors(left)], strict=True):
        own.copy_(new)


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    mapped(value, found.append)
    return found
