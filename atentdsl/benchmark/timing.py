"""Measuring several things against one another: in turns, in balanced order, medians over the rounds.

What slows a machine down for a while slows all of them down, none is always first or always last, and each comes after
each other equally often: what one leaves in caches and in the allocator is met by all. A ratio is one of times in the
same round, and the median over the rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch

__all__ = ["WARM_UP", "Clock", "Timings", "clock_of", "in_turns", "orders", "timed"]

Clock = Callable[[], float]
WARM_UP = {"cpu": 2, "cuda": 6}
"""Rounds that do not count, by device: libraries load, kernels are chosen; the fourth step is captured."""


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
        """How many times as long as the other the one takes: the median over the rounds of the ratio within each.

        What slows a machine down for some rounds, or more and more, is in both of a round's times.

        >>> Timings({"step": [3.0, 30.0, 3.3], "limit": [2.0, 20.0, 2.2]}).ratio("step", "limit")
        1.5
        """
        return statistics.median(a / b for a, b in zip(self.seconds[one], self.seconds[other], strict=True))


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


def timed(
    step: Callable[[], Any],
    clock: Clock,
    before: Callable[[], Any] = lambda: None,
    after: Callable[[], Any] = lambda: None,
) -> Callable[[], float]:
    """A contender: returns the step's seconds; what is done before and after it does not count.

    >>> ticks = iter([10.0, 10.5])
    >>> timed(lambda: None, lambda: next(ticks))()
    0.5
    """

    def contender() -> float:
        before()
        begin = clock()
        step()
        seconds = clock() - begin
        after()
        return seconds

    return contender


def in_turns(contenders: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = WARM_UP["cpu"]) -> Timings:
    """Every contender once a round, in the orders that `orders` gives, one after another.

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
    cycle = orders(list(contenders))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warm_up + rounds):
        for name in cycle[turn % len(cycle)]:
            took = contenders[name]()
            if turn >= warm_up:
                seconds[name].append(took)
    return Timings(seconds)


def orders(names: Sequence[str]) -> list[list[str]]:
    """Orders in which each name has each place, and each other name just before it, equally often.

    One zigzag over the names, moved on by one name at a time, and all of that backwards.

    >>> ["".join(order) for order in orders("abcd")]
    ['abdc', 'bcad', 'cdba', 'dacb', 'cdba', 'dacb', 'abdc', 'bcad']

    Reference:
        E. J. Williams, "Experimental designs balanced for the estimation of residual effects of treatments", 1949.
    """
    zigzag = [(place + 1) // 2 * (-1) ** (place + 1) for place in range(len(names))]
    forward = [[names[(step + moved) % len(names)] for step in zigzag] for moved in range(len(names))]
    return forward + [order[::-1] for order in forward]
