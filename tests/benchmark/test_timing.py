"""Interleaving and medians, with a clock of the test's own."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.benchmark import timing
from atentdsl.benchmark.timing import Timings, in_turns, orders, timed
from atentdsl.testing import edited


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def places_and_predecessors(cycle):
    """How often each name has each place, and each other name just before it."""
    places = Counter((name, place) for order in cycle for place, name in enumerate(order))
    return places, Counter(pair for order in cycle for pair in itertools.pairwise(order))


@given(count=st.integers(1, 9))
def test_none_has_a_place_or_a_predecessor_more_often_than_another(count):
    names = [chr(97 + i) for i in range(count)]
    cycle = orders(names)
    assert all(sorted(order) == names for order in cycle)
    places, predecessors = places_and_predecessors(cycle)
    assert places == dict.fromkeys(itertools.product(names, range(count)), 2)
    assert predecessors == dict.fromkeys(itertools.permutations(names, 2), 2)


@given(count=st.integers(1, 5), rounds=st.integers(1, 9), warm_up=st.integers(0, 3))
def test_the_rounds_take_the_orders_one_after_another(count, rounds, warm_up):
    ran = []
    names = [chr(97 + i) for i in range(count)]
    in_turns({name: (lambda name=name: ran.append(name) or 0.0) for name in names}, rounds, warm_up)
    expected = itertools.islice(itertools.cycle(orders(names)), warm_up + rounds)
    assert ran == [name for order in expected for name in order]


@given(durations=st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=9), before=st.floats(0, 100))
def test_what_counts_is_the_step_alone_after_the_warm_up(durations, before):
    clock, left = Clock(), iter([1e6, 1e6, *durations])

    def work():
        clock.now += next(left)

    def preparing():
        clock.now += before

    timings = in_turns({"work": timed(work, clock, preparing, preparing)}, rounds=len(durations), warm_up=2)
    assert timings.seconds["work"] == pytest.approx(durations, rel=1e-3, abs=1e-6)
    assert timings.median("work") == pytest.approx(statistics.median(durations), rel=1e-3, abs=1e-6)


@given(slower=st.lists(st.floats(1.0, 100.0), min_size=1, max_size=9))
def test_a_machine_that_slows_down_from_round_to_round_changes_no_ratio(slower):
    found = Timings({"step": [3.0 * by for by in slower], "limit": [2.0 * by for by in slower]})
    assert found.ratio("step", "limit") == pytest.approx(1.5)


def test_a_disturbance_of_less_than_half_of_the_rounds_changes_nothing():
    quiet = {"step": [3.0] * 9, "limit": [2.0] * 9}
    disturbed = {"step": [3.0] * 5 + [50.0] * 4, "limit": [2.0] * 5 + [70.0] * 4}
    assert Timings(disturbed).ratio("step", "limit") == Timings(quiet).ratio("step", "limit") == 1.5


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="at least one round"):
        in_turns({"a": lambda: 0.0}, rounds=0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(step + moved)", "step"),
        ("(place + 1) // 2 * (-1) ** (place + 1)", "place"),
        ("forward + [order[::-1] for order in forward]", "forward + forward"),
    ],
)
def test_orders_that_are_not_balanced_are_noticed(old, new):
    places, predecessors = places_and_predecessors(edited(timing, old, new).orders("abcde"))
    assert len(set(places.values())) > 1 or len(predecessors) < 20 or len(set(predecessors.values())) > 1


def test_each_turn_has_an_order_of_its_own():
    ran = []
    mutant = edited(timing, "turn % len(cycle)", "0")
    mutant.in_turns({name: (lambda name=name: ran.append(name) or 0.0) for name in "ab"}, 2, 0)
    assert ran == ["a", "b", "a", "b"], "and so the property above would fail"
