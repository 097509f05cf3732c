"""Drawings over epochs: round ticks around all numbers, gaps where there is none."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.reporting.charts import Series, chart, ticks

numbers = st.floats(-1e6, 1e6)


@given(numbers, numbers)
def test_ticks_are_round_and_hold_all(one, other):
    low, high = sorted((one, other))
    found = ticks(low, high)
    assert found[0] <= low + 1e-9 * abs(low) + 1e-12
    assert found[-1] >= high - 1e-9 * abs(high) - 1e-12
    assert 2 <= len(found) <= 8
    step = found[1] - found[0]
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(mantissa - round_one) for round_one in (1, 2, 5)) < 1e-4
    assert [b - a for a, b in pairwise(found)] == pytest.approx([step] * (len(found) - 1), rel=1e-4)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=60), st.integers(1, 500))
def test_every_number_is_drawn_inside_and_a_gap_is_none(values, first):
    points = [(first + i, value) for i, value in enumerate(values)]
    finite = [value for value in values if math.isfinite(value)]
    found = chart("a", "title", [Series("one", "plain", points)], kept=first)
    if not finite:
        assert found is None
        return
    path = found.lines[0].path
    places = [tuple(map(float, text.split())) for text in path.replace("M", "L").split("L")[1:]]
    assert len(places) == len(finite)
    for x, y in places:
        assert found.left <= x <= found.right
        assert found.top <= y <= found.bottom
    starts = sum(
        math.isfinite(value) and (i == 0 or not math.isfinite(values[i - 1])) for i, value in enumerate(values)
    )
    assert path.count("M") == starts
    drawn = zip(finite, (y for _, y in places), strict=True)
    for (a, ya), (b, yb) in pairwise(drawn):
        assert (a - b) * (yb - ya) >= -1e-6 * abs(a - b), "up is more"


def test_a_kept_epoch_that_is_not_drawn_is_not_marked():
    series = [Series("one", "plain", [(3, 1.0), (4, 2.0)])]
    assert chart("a", "t", series, kept=2).mark is None
    assert chart("a", "t", series, kept=4).mark == (466.0, "kept: epoch 4")
    assert "the checkpoint of epoch 4 was kept" in chart("a", "t", series, kept=4).description
