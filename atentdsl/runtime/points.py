"""Points of data between chains: the worst of several restarts, and what one outer step leaves to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor


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
