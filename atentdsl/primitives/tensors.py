"""Functions of tensors that several primitives share; taken into generated modules with whatever calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

torch = lazy_loader.load("torch")

if TYPE_CHECKING:
    from torch import Tensor


def clip_around(z: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Each coordinate of z to the nearest value within radius of centre's."""
    return torch.minimum(torch.maximum(z, centre - radius), centre + radius)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")
