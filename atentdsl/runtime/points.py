"""Points of data between moves and chains: a proposal taken or not, the worst of several restarts, and what one outer
step leaves to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import attrs
import torch
from torch import Tensor


class Density(NamedTuple):
    """What a target density is made of at a point.

    Attributes:
        losses: the loss of each example, `(batch,)`.
        gradient: of their sum in the point, `(batch, *input)`.
    """

    losses: Tensor
    gradient: Tensor


def where_taken(taken: Tensor, new: tuple[Tensor, Density], old: tuple[Tensor, Density]) -> tuple[Tensor, Density]:
    """For each example the new point with its density where it is taken, else the old one with its own.

    >>> one, other = torch.zeros(2, 1), torch.ones(2, 1)
    >>> old, new = (one, Density(torch.zeros(2), one)), (other, Density(torch.ones(2), other))
    >>> z, here = where_taken(torch.tensor([True, False]), new, old)
    >>> z.tolist(), here.losses.tolist(), here.gradient.tolist()
    ([[1.0], [0.0]], [1.0, 0.0], [[1.0], [0.0]])
    """
    (proposal, there), (z, here) = new, old
    examples = taken.view(-1, *[1] * (z.dim() - 1))
    losses = torch.where(taken, there.losses, here.losses)
    gradient = torch.where(examples, there.gradient, here.gradient)
    return torch.where(examples, proposal, z), Density(losses, gradient)


@attrs.frozen(eq=False)
class WorstSoFar:
    """For each example the points of its worst restart so far.

    Attributes:
        losses: the target loss at that restart's last point, `(batch,)`.
        points: what it handed on, each `(batch, *input)`.
    """

    losses: Tensor
    points: list[Tensor]


def worse(worst: WorstSoFar | None, points: list[Tensor], losses: Tensor) -> WorstSoFar:
    """The worst so far with one restart more: an example changes where its loss is higher, and all its points with it.

    >>> one, other = torch.tensor([[1.0], [1.0]]), torch.tensor([[2.0], [2.0]])
    >>> first = worse(None, [one], torch.tensor([0.5, 0.7]))
    >>> worse(first, [other], torch.tensor([0.6, 0.7])).points
    [tensor([[2.],
            [1.]])]
    """
    if worst is None:
        return WorstSoFar(losses, points)
    higher = losses > worst.losses
    return WorstSoFar(
        torch.where(higher, losses, worst.losses),
        [
            torch.where(higher.view(-1, *[1] * (new.dim() - 1)), new, old)
            for new, old in zip(points, worst.points, strict=True)
        ],
    )


def carried(state: Mapping[str, Any], name: str, like: Tensor) -> Tensor:
    """The displacement of that name which the previous step left; zero where there is none of like's shape."""
    left = state.get(name)
    return torch.zeros_like(like) if left is None or left.shape != like.shape else left
