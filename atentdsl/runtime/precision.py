"""The number format of training's network passes: float32, or bfloat16 where it is asked for.

Under `bfloat16` the forward and backward passes of a step run in bfloat16 where torch holds that safe (autocast), with
images in channels-last order. Weights, perturbed points, logits, losses and the update stay float32, and so does every
accuracy that is reported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PRECISIONS", "prepared"]

PRECISIONS = ("float32", "bfloat16")


class _Bfloat16(nn.Module):
    """A network whose passes run in bfloat16; shares its parameters, and follows its mode."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, classes)` in x's own type, so that losses and perturbations keep their digits."""
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16):
            logits: Tensor = self.network(x)
        return logits.to(x.dtype)


def prepared(network: nn.Module, precision: str) -> nn.Module:
    """The network to train through; its weights are `network`'s own.

    Args:
        network: maps `(batch, *input)` to logits `(batch, classes)`.
        precision: one of `PRECISIONS`.

    Raises:
        ValueError: there is no such precision.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> prepared(network, "float32") is network
    True
    >>> fast = prepared(network, "bfloat16")
    >>> fast(torch.zeros(3, 1, 2, 2)).dtype, next(fast.parameters()) is next(network.parameters())
    (torch.float32, True)
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
    if precision == "float32":
        return network
    return _Bfloat16(network.to(memory_format=torch.channels_last))
