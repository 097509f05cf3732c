"""Small networks and batches in float64, on which two executions can be compared to the last bit."""

from __future__ import annotations

import math

import torch
from torch import nn

from atentdsl.runtime.examples import Batch

SHAPE = (1, 4, 4)
CLASSES = 3


def network(
    shape: tuple[int, ...] = SHAPE,
    classes: int = CLASSES,
    dropout: float = 0.0,
    batch_norm: bool = False,
    seed: int = 0,
) -> nn.Module:
    """A smooth network from `(batch, *shape)` to `(batch, classes)`, in float64 and train mode.

    Smooth, so that no gradient is zero by chance; sharp enough that gradients are of order one. Its weights depend on
    the seed alone.

    >>> network(dropout=0.5, batch_norm=True)(torch.zeros(2, 1, 4, 4, dtype=torch.float64)).shape
    torch.Size([2, 3])
    """
    width = 6
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = [nn.Flatten(), nn.Linear(math.prod(shape), width, bias=not batch_norm)]  # its gradient would be 0
        layers += [nn.BatchNorm1d(width)] if batch_norm else []
        layers += [nn.Tanh()]
        layers += [nn.Dropout(dropout)] if dropout else []
        layers += [nn.Linear(width, classes)]
        made = nn.Sequential(*layers).double()
        with torch.no_grad():
            for weights in made.parameters():
                weights.mul_(3)
    return made


def batch(count: int = 5, shape: tuple[int, ...] = SHAPE, classes: int = CLASSES, seed: int = 0) -> Batch:
    """Inputs `(count, *shape)` in [0, 1], a third of them on the box's boundary as in images of digits, and labels.

    Its examples are numbered by their places.

    >>> x, y = batch(count=2)
    >>> x.shape, x.dtype, y.shape, bool((x >= 0).all() and (x <= 1).all())
    (torch.Size([2, 1, 4, 4]), torch.float64, torch.Size([2]), True)
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *shape, generator=generator, dtype=torch.float64) * 1.5 - 0.25
    y = torch.randint(classes, (count,), generator=generator)
    return Batch((x.clamp(0, 1), y), torch.arange(count), count)
