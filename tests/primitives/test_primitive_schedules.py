"""Schedules: counted from 1, against numpy and the complex exponential; what cannot stand together."""

from __future__ import annotations

import cmath
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import modest

from atentdsl.primitives.schedules import constant, cosine, cyclic, linear, piecewise

NUMBERS = st.floats(0, 10) | st.sampled_from([0.1, 0.01, 1e-3, 0.0])
BEGINNINGS = st.sets(st.integers(2, 60), max_size=6).map(lambda at: [1, *sorted(at)])


@modest
@given(st.integers(1, 10**6), NUMBERS)
def test_constant_is_its_value_at_every_t(t: int, value: float) -> None:
    assert constant.constant(t, value) == value


@modest
@given(BEGINNINGS, st.data())
def test_piecewise_is_numpys_search_of_the_last_beginning(at: list[int], data: st.DataObject) -> None:
    value = data.draw(st.lists(NUMBERS, min_size=len(at), max_size=len(at)))
    for t in range(1, 63):
        assert piecewise.piecewise(t, at, value) == value[np.searchsorted(at, t, side="right") - 1]


def written(at: list[int], value: list[float]) -> piecewise.Parameters:
    return piecewise.Parameters(kind="piecewise", at=at, value=value)


@modest
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.lists(NUMBERS, min_size=1, max_size=5))
def test_piecewise_names_each_thing_that_is_wrong(at: list[int], value: list[float]) -> None:
    found = piecewise.conflicts(written(at, value).parameters())
    assert ("`at` begins with 1" in [says for _, says, _ in found]) == (at[0] != 1)
    assert ("the entries of `at` rise" in [says for _, says, _ in found]) == (at != sorted(set(at)))
    assert ([field for field, _, _ in found].count("value") == 1) == (len(at) != len(value))


@modest
@given(BEGINNINGS)
def test_piecewise_has_nothing_against_rising_beginnings(at: list[int]) -> None:
    assert piecewise.conflicts(written(at, [0.1] * len(at)).parameters()) == []


@modest
@given(NUMBERS, NUMBERS, st.integers(1, 200))
def test_cosine_is_the_squared_half_sum_of_two_unit_numbers(start: float, end: float, length: int) -> None:
    for t in {1, 2, length // 2 + 1, length, length + 1}:
        half = abs((1 + cmath.exp(1j * math.pi * min(t - 1, length) / length)) / 2) ** 2
        wanted = half * start + (1 - half) * end
        assert math.isclose(cosine.cosine(t, start, end, length), wanted, rel_tol=1e-13, abs_tol=1e-14 * (start + end))


@modest
@given(NUMBERS, NUMBERS, st.integers(1, 200))
def test_cosine_goes_one_way_from_start_to_end_and_stays(start: float, end: float, length: int) -> None:
    values = [cosine.cosine(t, start, end, length) for t in range(1, length + 5)]
    assert values == sorted(values, reverse=start >= end)
    ulp = math.ulp(max(start, end))
    assert abs(values[0] - start) <= ulp
    assert set(values[length:]) == {end}
    assert all(min(start, end) - ulp <= v <= max(start, end) + ulp for v in values)


@modest
@given(st.floats(1e-6, 10), st.integers(2, 200))
def test_cosine_to_nothing_begins_at_exactly_its_start(start: float, length: int) -> None:
    assert cosine.cosine(1, start, 0.0, length) == start
    assert 0 < cosine.cosine(length, start, 0.0, length) < start


def test_cosine_over_steps_needs_a_length_and_over_epochs_none() -> None:
    def conflicts(over: str, length: int | None) -> list[tuple[str, str, str]]:
        table = cosine.Parameters.model_validate({"over": over, "start": 0.1, "length": length})
        return cosine.conflicts(table.parameters())

    assert conflicts("epochs", None) == conflicts("epochs", 3) == conflicts("steps", 3) == []
    ((field, says, mend),) = conflicts("steps", None)
    assert field == "over"
    assert "needs a length" in says
    assert "`length`" in mend


@modest
@given(st.floats(0, 10), st.floats(0, 10), st.integers(1, 50))
def test_linear_is_numpys_interpolation_and_stays(start: float, end: float, length: int) -> None:
    for t in range(1, length + 5):
        wanted = np.interp(t, [1, 1 + length], [start, end])
        assert math.isclose(linear.linear(t, start, end, length), wanted, rel_tol=1e-12, abs_tol=1e-14)


def test_linear_over_steps_needs_a_length_and_over_epochs_and_moves_none() -> None:
    def found(over: str, length: int | None) -> list[tuple[str, str, str]]:
        table = linear.Parameters.model_validate({"over": over, "start": 0.1, "end": 0.2, "length": length})
        return linear.conflicts(table.parameters())

    assert [conflict[0] for conflict in found("steps", None)] == ["over"]
    assert found("steps", 3) == found("epochs", None) == found("moves", None) == []


RISES = st.floats(0.01, 0.99) | st.sampled_from([0.4, 0.5, 0.3])


@modest
@given(st.tuples(NUMBERS, NUMBERS, NUMBERS), RISES, st.integers(1, 60))
def test_cyclic_is_numpys_interpolation_through_its_three_points_and_stays(
    heights: tuple[float, float, float], rise: float, length: int
) -> None:
    start, peak, end = heights
    for t in range(1, length + 5):
        wanted = np.interp(t, [1, 1 + rise * length, 1 + length], heights)
        found = cyclic.cyclic(t, start, peak, end, rise, length)
        assert math.isclose(found, wanted, rel_tol=1e-12, abs_tol=1e-12)
        assert found >= 0
        assert t <= length or found == end


def test_cyclic_from_nothing_to_nothing_is_the_published_triangle() -> None:
    """0 at the first of ten steps, 0.2 after two fifths of them: np.interp(t, [0, 4, 10], [0, 0.2, 0]), t from 0."""
    found = [cyclic.cyclic(t, 0.0, 0.2, 0.0, 0.4, 10) for t in range(1, 12)]
    np.testing.assert_allclose(found, np.interp(range(11), [0, 4, 10], [0, 0.2, 0]), rtol=1e-14, atol=1e-17)
    assert found[4] == 0.2
    assert found[0] == found[10] == 0.0


def test_cyclic_over_steps_needs_a_length_and_over_epochs_and_moves_none() -> None:
    def found(over: str, length: int | None) -> list[tuple[str, str, str]]:
        table = cyclic.Parameters.model_validate({"over": over, "peak": 0.2, "length": length})
        return cyclic.conflicts(table.parameters())

    assert [conflict[0] for conflict in found("steps", None)] == ["over"]
    assert found("steps", 3) == found("epochs", None) == found("moves", None) == []
