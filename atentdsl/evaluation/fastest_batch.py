"""The number of noisy copies at a time with which a network answers most in a second, by trying."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import nn

from atentdsl.evaluation.noisy_votes import Stage, votes
from atentdsl.runtime import memory
from atentdsl.runtime.data import Images

__all__ = ["fastest", "fastest_batch"]

LEAST, MOST = 32, 2**16
GAIN = 1.02  # a batch twice as large has to be faster by that, or takes memory for nothing
PATIENCE = 2  # so many doublings may bring nothing: the first can be another's doing
WORTH = 0.1  # seconds; what takes less is repeated


def fastest(seconds: Callable[[int], float], most: int) -> int:
    """The best of 32, 64, ... by copies a second, which ends two doublings after the last that was worth it.

    Args:
        seconds: how long a batch of that many takes; may raise for exhausted memory, which ends the ladder.
        most: no larger one is tried; where it is less than 32 it is the answer.

    Raises:
        MemoryError, RuntimeError: memory does not hold even the first.

    >>> fastest(lambda batch: 1 + max(0, batch - 256), most=10_000)
    256
    """
    best, speed, idle = min(LEAST, most), 0.0, 0
    size = best
    while size <= most and idle < PATIENCE:
        try:
            found = size / seconds(size)
        except (MemoryError, RuntimeError) as error:
            if speed == 0 or not memory.is_exhausted(error):
                raise
            break
        if found > GAIN * speed:
            best, speed, idle = size, found, 0
        else:
            idle += 1
        size *= 2
    return best


def fastest_batch(model: nn.Module, images: Images, sigma: float, draws: int) -> int:
    """`fastest` of the network on noisy copies of the first image, drawn and counted as certification does it.

    The network's mode and the global random generators stay as they are.

    Args:
        model: maps `(batch, *input)` to logits `(batch, classes)`.
        images: x `(n, *input)`, on the network's device.
        sigma: the noise's deviation, in units of inputs in [0, 1].
        draws: how many there are in all; no larger batch is tried.

    Raises:
        NotFinite: as for `votes`.

    >>> import torch
    >>> images = Images(torch.eye(2), torch.arange(2), classes=2)
    >>> fastest_batch(nn.Identity(), images, 0.1, draws=20)
    20
    """
    one = Images(images.x[:1], images.y[:1], images.classes)

    def seconds(batch: int) -> float:
        begin = time.perf_counter()
        # Its counts are fetched from the device at the end, which waits for it.
        [*_] = votes(model, one, sigma, [Stage("timing", batch)], seed=0, batch=batch, halve=False)
        return time.perf_counter() - begin

    def least(batch: int) -> float:
        times = [seconds(batch), seconds(batch)]  # the first chooses kernels and asks for memory
        while sum(times[1:]) < WORTH and len(times) < 4:
            times.append(seconds(batch))
        return min(times[1:])

    return fastest(least, min(draws, MOST))
