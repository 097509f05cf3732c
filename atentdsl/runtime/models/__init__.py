"""The networks that a recipe can name: one file each, whose name is the network's.

A network's file offers `build(shape: tuple[int, ...], classes: int) -> nn.Module`, from (batch, *shape) to
(batch, classes) logits, and draws its weights from torch's global generator, as torch's layers do.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

import torch

from atentdsl.runtime.normalise import Normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["build", "names"]


def names() -> tuple[str, ...]:
    """List the networks' names in alphabetical order; none of their files is imported.

    >>> "small_cnn" in names()
    True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def build(
    name: str,
    shape: tuple[int, ...],
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
) -> torch.nn.Module:
    """Build the network called `name` behind its normalisation: (batch, *shape) in [0, 1] to (batch, classes) logits.

    The weights depend on `seed` alone, and the global generators are left as they were. The network is on the CPU, in
    train mode.

    Raises:
        ValueError: there is no network of that name, `shape` does not suit it, or `mean` and `std` are not one number a
            channel.

    >>> model = build("mlp", (1, 8, 8), 10, mean=[0.3], std=[0.4], seed=1)
    >>> model(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    if name not in names():
        raise ValueError(f"unknown model {name!r}; known: {', '.join(names())}")
    if len(mean) != shape[0]:
        raise ValueError(f"images of shape {shape} want {shape[0]} means and deviations, not {len(mean)}")
    make = importlib.import_module(f"{__name__}.{name}").build
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed: that would also seed the GPUs' generators, which the fork does not put back.
        torch.default_generator.manual_seed(seed)
        network = make(shape, classes)
        return torch.nn.Sequential(Normalise(mean, std), network)
