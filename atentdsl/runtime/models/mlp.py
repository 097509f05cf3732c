"""A perceptron of two layers: the smallest network that learns something."""

from __future__ import annotations

import math

from torch import nn

__all__ = ["build"]

WIDTH = 128


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build (batch, *shape) to (batch, classes) through 128 ReLU units.

    >>> sum(p.numel() for p in build((1, 8, 8), 10).parameters())
    9610
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))
