"""Normalisation inside the network, so that inputs, perturbations and every radius are in units of [0, 1]."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Normalise"]


class Normalise(torch.nn.Module):
    """(x - mean) / std for each channel: x (batch, channels, ...) in [0, 1]; the result has its shape.

    `mean` and `std` are buffers, so a checkpoint carries them.

    Raises:
        ValueError: as many means as deviations are wanted, all finite, the deviations above zero; and inputs with that
            many channels.

    >>> Normalise([0.5], [0.25])(torch.tensor([[[0.0, 0.5, 1.0]]]))
    tensor([[[-2.,  0.,  2.]]])
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not len(mean):
            raise ValueError(f"one mean and one deviation a channel are wanted, not {len(mean)} and {len(std)}")
        if not all(math.isfinite(m) for m in mean) or not all(math.isfinite(s) and s > 0 for s in std):
            raise ValueError(f"means must be finite, deviations finite and above zero: {list(mean)}, {list(std)}")
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise `x`."""
        if x.dim() < 2 or x.shape[1] != len(self.mean):
            raise ValueError(f"inputs of shape (batch, {len(self.mean)}, ...) are wanted, not {tuple(x.shape)}")
        shape = (-1,) + (1,) * (x.dim() - 2)
        return (x - self.mean.view(shape)) / self.std.view(shape)


def statistics(x: torch.Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over images (n, channels, ...), uint8 or floats in [0, 1].

    In units of inputs in [0, 1]; a channel that does not vary has deviation 1, so that it can be divided by.

    >>> statistics(torch.tensor([[[0, 255]], [[0, 255]]], dtype=torch.uint8))
    ([0.5], [0.5])
    """
    scale = 255.0 if x.dtype == torch.uint8 else 1.0
    means, deviations = [], []
    for channel in x.unbind(1):
        values = channel.double() / scale
        means.append(float(values.mean()))
        deviations.append(float(values.std(correction=0)) or 1.0)
    return means, deviations
