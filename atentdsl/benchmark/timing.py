"""Measuring several things against one another: in turns, in rotating order, medians over the rounds.

What slows a machine down for a while slows all of them down, and none is always first or always last. Ratios are taken
of medians of the same rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch

__all__ = ["WARM_UP", "Clock", "Timings", "clock_of", "in_turns", "timed"]

Clock = Callable[[], float]
WARM_UP = 2
"""Rounds that do not count: libraries load, kernels are chosen, graphs are captured."""


@attrs.frozen
class Timings:
    """Seconds of each contender, round by round.

    Attributes:
        seconds: by contender, one number a round.
    """

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """The median of the contender's rounds, in seconds.

        >>> Timings({"step": [3.0, 1.0, 2.0]}).median("step")
        2.0
        """
        return statistics.median(self.seconds[name])

    def ratio(self, one: str, other: str) -> float:
        """How many times as long as the other the one takes.

        >>> Timings({"step": [3.0, 3.0], "limit": [2.0, 2.0]}).ratio("step", "limit")
        1.5
        """
        return self.median(one) / self.median(other)


def clock_of(device: torch.device) -> Clock:
    """A clock in seconds that first waits until everything asked of the device is done.

    >>> clock = clock_of(torch.device("cpu"))
    >>> clock() <= clock()
    True
    """
    if device.type != "cuda":
        return time.perf_counter

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def timed(step: Callable[[], Any], clock: Clock, before: Callable[[], Any] = lambda: None) -> Callable[[], float]:
    """A contender: does what comes before, which does not count, then the step, and returns the step's seconds.

    >>> ticks = iter([10.0, 10.5])
    >>> timed(lambda: None, lambda: next(ticks))()
    0.5
    """

    def contender() -> float:
        before()
        begin = clock()
        step()
        return clock() - begin

    return contender


def in_turns(contenders: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = WARM_UP) -> Timings:
    """Every contender once a round; each round begins with the one after the last round's first.

    Args:
        contenders: each does its work and returns the seconds that count.
        rounds: how many count, at least one.
        warm_up: rounds before them that do not.

    >>> order = []
    >>> def contender(name):
    ...     return lambda: order.append(name) or 1.0
    >>> timings = in_turns({name: contender(name) for name in "abc"}, rounds=3, warm_up=0)
    >>> "".join(order), timings.seconds["a"]
    ('abcbcacab', [1.0, 1.0, 1.0])
    """
    if rounds < 1:
        raise ValueError(f"at least one round is wanted, not {rounds}")
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warm_up + rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            took = contenders[name]()
            if turn >= warm_up:
                seconds[name].append(took)
    return Timings(seconds)
