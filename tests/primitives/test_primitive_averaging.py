"""Averaging: the coefficients against the recursions they stand for, in rationals."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import modest

from atentdsl.primitives import registry
from atentdsl.primitives.averaging import exponential, first, last, mean

MOVES = st.integers(0, 40)
ALPHAS = st.integers(1, 1000).map(lambda n: Fraction(n, 1000))


def coefficients(kind: str) -> Callable[..., list[Fraction]]:
    function = registry.primitive("averaging", kind).coefficients
    assert function is not None
    known: dict[str, Any] = {"alpha": 0.9, "burn_in": 0}
    asked = inspect.signature(function).parameters
    return lambda moves: function(moves, **{name: known[name] for name in asked if name != "moves"})


def unit(k: int, moves: int) -> list[Fraction]:
    """The loss of point k as a symbol: one place for each point."""
    return [Fraction(j == k) for j in range(moves + 1)]


@modest
@given(MOVES.filter(bool), ALPHAS)
def test_exponential_is_line_10_of_algorithm_1(moves: int, alpha: Fraction) -> None:
    mu = [Fraction(0)] * (moves + 1)
    for k in range(1, moves + 1):
        loss = unit(k, moves)
        mu = [(1 - alpha) * m + alpha * part for m, part in zip(mu, loss, strict=True)]
    assert exponential.coefficients(moves, float(alpha)) == mu
    assert sum(mu) == 1 - (1 - alpha) ** moves


@modest
@given(st.integers(2, 40), ALPHAS.filter(lambda a: a < 1))
def test_exponential_is_heaviest_at_the_newest_point(moves: int, alpha: Fraction) -> None:
    weights = exponential.coefficients(moves, float(alpha))[1:]
    assert weights == sorted(weights)
    assert len(set(weights)) == moves


def test_exponential_reads_alpha_as_it_is_written() -> None:
    assert exponential.coefficients(4, 0.9)[2] == Fraction(9, 1000)  # not what the nearest double's powers give
    assert exponential.coefficients(3, 1.0) == last.coefficients(3)
    assert exponential.coefficients(2, 1e-05)[2] == Fraction(1, 100_000)


@modest
@given(MOVES.filter(bool), st.data())
def test_mean_is_the_running_mean_of_the_points_after_the_burn_in(moves: int, data: st.DataObject) -> None:
    burn_in = data.draw(st.integers(0, moves - 1))
    total, count = [Fraction(0)] * (moves + 1), 0
    for k in range(burn_in + 1, moves + 1):
        count += 1
        total = [t + part for t, part in zip(total, unit(k, moves), strict=True)]
    weights = mean.coefficients(moves, burn_in)
    assert weights == [t / count for t in total]
    assert sum(weights) == 1


@modest
@given(MOVES)
def test_first_and_last(moves: int) -> None:
    assert first.coefficients(moves) == unit(0, moves)
    assert last.coefficients(moves) == unit(moves, moves)


@pytest.mark.parametrize("kind", registry.kinds("averaging"))
def test_without_moves_the_start_carries_everything(kind: str) -> None:
    assert coefficients(kind)(0) == [1]


@pytest.mark.parametrize("kind", registry.kinds("averaging"))
@modest
@given(MOVES)
def test_one_rational_for_each_point_none_negative_at_most_one_together(kind: str, moves: int) -> None:
    weights = coefficients(kind)(moves)
    assert len(weights) == moves + 1
    assert all(isinstance(c, Fraction) and c >= 0 for c in weights)
    assert 0 < sum(weights) <= 1
