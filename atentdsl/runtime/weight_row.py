"""A network's weights as one row: what a sampler in weights space moves, and the gradients that it gathers.

The row, `(1, weights)`, holds every weight that asks for a gradient, in the order of `model.parameters()`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from atentdsl.runtime.streams import Streams

# The gradients that were there before a target's: one entry for each weight.
Aside = list[Tensor | None]


def weights(model: nn.Module) -> Tensor:
    """A copy of the weights in one row, `(1, weights)`.

    >>> model = nn.Linear(2, 1)
    >>> weights(model).shape
    torch.Size([1, 3])
    """
    return torch.cat([p.detach().flatten() for p in _asking(model)])[None]


def weight_shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """The shape of each weight in the row.

    >>> weight_shapes(nn.Linear(2, 1))
    [(1, 2), (1,)]
    """
    return [tuple(p.shape) for p in _asking(model)]


def set_weights(model: nn.Module, row: Tensor, rng: Streams) -> None:
    """Copies a row into the weights, in place. Every point is another one then, with dropout masks of its own.

    >>> model = nn.Linear(2, 1)
    >>> set_weights(model, torch.tensor([[1.0, 2.0, 3.0]]), Streams(0, 1, torch.device("cpu")))
    >>> model.weight.tolist(), model.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    with torch.no_grad():
        for p, own in _parts(model, row):
            p.copy_(own)
    rng.new_points()


def put_aside(model: nn.Module) -> Aside:
    """The gradients gathered so far, taken out of the network; `gathered` puts them back."""
    aside = [p.grad for p in _asking(model)]
    for p in _asking(model):
        p.grad = None
    return aside


def gathered(model: nn.Module, aside: Aside) -> Tensor:
    """The gradient gathered since `put_aside`, in one row; the network has those of before again."""
    row = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in _asking(model)])
    for p, before in zip(_asking(model), aside, strict=True):
        p.grad = before
    return row[None]


def displacement_gradient(model: nn.Module, w: Tensor, w_moved: Tensor, weight: float) -> Tensor:
    """Adds weight * (w - w_moved) to the weights' gradients: the gradient in w of what is returned.

    Returns:
        weight / 2 * ||w - w_moved||^2, on the device.
    """
    away = w - w_moved
    for p, own in _parts(model, weight * away):
        # In the weight's own memory format: a fused optimizer takes no other.
        p.grad = torch.empty_like(p).copy_(own) if p.grad is None else p.grad + own
    return weight / 2 * away.square().sum()


def _asking(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _parts(model: nn.Module, row: Tensor) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Each weight with its part of the row, in its own shape."""
    asking = _asking(model)
    for p, own in zip(asking, torch.split(row[0], [p.numel() for p in asking]), strict=True):
        yield p, own.view_as(p)
