"""What is remembered of single training examples from step to step: a batch says which examples it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from atentdsl.runtime.streams import Streams

__all__ = ["Batch", "remember", "remembered"]


class Batch(tuple[Tensor, Tensor]):
    """A pair of x `(batch, *input)` and y `(batch,)` that knows which training examples they are.

    Attributes:
        examples: the training index of each, `(batch,)` integers on the images' device; None where it is not known.
        of: how many training examples there are.

    >>> import torch
    >>> batch = Batch((torch.zeros(2, 1), torch.tensor([3, 7])), torch.tensor([5, 0]), of=6)
    >>> x, y = batch
    >>> y.tolist(), batch.examples.tolist(), batch.of
    ([3, 7], [5, 0], 6)
    """

    examples: Tensor | None
    of: int

    def __new__(cls, pair: Iterable[Tensor], examples: Tensor | None = None, of: int = 0) -> Batch:
        """The pair, with the examples' numbers beside it."""
        made = super().__new__(cls, pair)
        made.examples, made.of = examples, of
        return made


def remembered(state: dict[str, Any], name: str, batch: Any, initial: Tensor, rng: Streams) -> Tensor:
    """What was remembered of each of the batch's examples, `(batch,)`.

    Args:
        state: the step's own; it keeps one number for each training example under the name.
        name: of what is remembered.
        batch: a `Batch`.
        initial: of examples that nothing was remembered of, `(batch,)`, one number throughout.
        rng: notes that the step reads which examples it has.

    Raises:
        TypeError: the batch does not say which examples it holds.

    >>> import torch
    >>> batch = Batch((torch.zeros(2, 1), torch.zeros(2)), torch.tensor([2, 0]), of=3)
    >>> rng, state = Streams(0, 1, torch.device("cpu")), {}
    >>> remembered(state, "radius", batch, torch.ones(2), rng)
    tensor([1., 1.])
    >>> remember(state, "radius", batch, torch.tensor([5.0, 6.0]))
    >>> state
    {'radius': tensor([6., 1., 5.])}
    """
    rng.read.add("examples")
    examples = getattr(batch, "examples", None)
    if examples is None:
        raise TypeError(
            "this step remembers something of each training example, and its batch does not say which it holds: "
            "give it `atentdsl.runtime.Batch((x, y), examples, of)`, the index of each and how many there are"
        )
    if name not in state:
        state[name] = initial[:1].expand(batch.of).clone()
    found: Tensor = state[name][examples]
    return found


def remember(state: dict[str, Any], name: str, batch: Any, value: Tensor) -> None:
    """Keeps a value for each of the batch's examples, of which something was `remembered` in this step."""
    state[name] = state[name].index_copy(0, batch.examples, value)
