"""Interleaving and medians, with a clock of the test's own."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.benchmark.timing import Timings, in_turns, timed
from atentdsl.testing import edited


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@given(count=st.integers(1, 5), rounds=st.integers(1, 9), warm_up=st.integers(0, 3))
def test_each_runs_once_a_round_and_is_first_in_turn(count, rounds, warm_up):
    order = []
    names = [chr(97 + i) for i in range(count)]
    in_turns({name: (lambda name=name: order.append(name) or 0.0) for name in names}, rounds, warm_up)
    turns = [order[i : i + count] for i in range(0, len(order), count)]
    assert len(turns) == warm_up + rounds
    for number, turn in enumerate(turns):
        assert sorted(turn) == names
        assert turn[0] == names[number % count]
        assert turn == names[names.index(turn[0]) :] + names[: names.index(turn[0])]


@given(durations=st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=9), before=st.floats(0, 100))
def test_what_counts_is_the_step_alone_after_the_warm_up(durations, before):
    clock, left = Clock(), iter([1e6, 1e6, *durations])

    def work():
        clock.now += next(left)

    def preparing():
        clock.now += before

    timings = in_turns({"work": timed(work, clock, preparing)}, rounds=len(durations), warm_up=2)
    assert timings.seconds["work"] == pytest.approx(durations, rel=1e-3, abs=1e-6)
    assert timings.median("work") == pytest.approx(statistics.median(durations), rel=1e-3, abs=1e-6)


def test_a_disturbance_of_less_than_half_of_the_rounds_changes_nothing():
    quiet = {"step": [3.0] * 9, "limit": [2.0] * 9}
    disturbed = {"step": [3.0] * 5 + [50.0] * 4, "limit": [2.0] * 5 + [70.0] * 4}
    assert Timings(disturbed).ratio("step", "limit") == Timings(quiet).ratio("step", "limit") == 1.5


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="at least one round"):
        in_turns({"a": lambda: 0.0}, rounds=0)


def test_an_order_that_does_not_rotate_is_noticed():
    from atentdsl.benchmark import timing

    mutant = edited(timing, "turn % len(names)", "0")
    order = []
    mutant.in_turns({name: (lambda name=name: order.append(name) or 0.0) for name in "ab"}, 2, 0)
    assert order == ["a", "b", "a", "b"], "and so the property above would fail"
