"""The objective of interval bounds against numpy, by itself; and the schedule with a warm-up."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import arrays, modest
from pydantic import ValidationError

from atentdsl.primitives.objectives import interval_bound
from atentdsl.primitives.schedules import linear, ramp
from atentdsl.testing import edited


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]


@st.composite
def examples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    count, classes = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    logits, worst = (draw(arrays(np.float64, (count, classes), -20, 20)) for _ in range(2))
    y = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)))
    return logits, worst, y, draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1))


def is_the_weighted_sum(module: ModuleType, drawn: tuple[np.ndarray, np.ndarray, np.ndarray, float]) -> bool:
    logits, worst, y, kappa = drawn
    found = module.interval_bound(*map(torch.from_numpy, (logits, y, worst)), kappa=kappa)
    wanted = kappa * cross_entropy(logits, y) + (1 - kappa) * cross_entropy(worst, y)
    return bool(np.allclose(found.numpy(), wanted, rtol=1e-12, atol=1e-12))


@modest
@given(examples())
def test_it_is_numpys_sum_of_two_cross_entropies(drawn: tuple[np.ndarray, np.ndarray, np.ndarray, float]) -> None:
    assert is_the_weighted_sum(interval_bound, drawn)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kappa * cross_entropy(logits, y)", "cross_entropy(logits, y)"),
        ("(1 - kappa) * cross_entropy(worst, y)", "kappa * cross_entropy(worst, y)"),
        ("cross_entropy(worst, y)", "cross_entropy(logits, y)"),
        ("kappa * cross_entropy(logits, y) + (1 - kappa)", "(1 - kappa) * cross_entropy(logits, y) + kappa"),
    ],
)
def test_an_edit_of_it_is_noticed(old: str, new: str) -> None:
    one = np.array([[1.0, 2.0, 0.5]]), np.array([[3.0, 0.0, 1.0]]), np.array([1]), 0.25
    assert not is_the_weighted_sum(edited(interval_bound, old, new), one)


def test_only_what_reads_the_bounds_is_not_cross_entropy() -> None:
    assert interval_bound.PRIMITIVE.bounded
    assert interval_bound.PRIMITIVE.reduces({"kappa": 1.0, "radius": 0.1}) == ("cross_entropy", {})
    for kappa in (0.0, 0.5, linear.Parameters(kind="linear", start=1.0, end=1.0)):
        assert interval_bound.PRIMITIVE.reduces({"kappa": kappa, "radius": 0.1}) is None


@pytest.mark.parametrize("number", ["kappa", "radius"])
@pytest.mark.parametrize("value", [-0.1, 1.1, {"kind": "linear", "start": 0.0, "end": 1.5}])
def test_its_numbers_are_shares_and_lengths_of_the_inputs_range(number: str, value: object) -> None:
    right = {"kind": "interval_bound", "kappa": 0.5, "radius": 0.1}
    interval_bound.Parameters.model_validate(right)
    with pytest.raises(ValidationError):
        interval_bound.Parameters.model_validate({**right, number: value})


LENGTHS = st.integers(1, 30)


def is_numpys(module: ModuleType, start: float, end: float, after: int, length: int) -> bool:
    return all(
        math.isclose(
            module.ramp(t, start, end, after, length),
            np.interp(t, [1 + after, 1 + after + length], [start, end]),
            rel_tol=1e-12,
            abs_tol=1e-14,
        )
        for t in range(1, after + length + 5)
    )


@modest
@given(st.floats(0, 10), st.floats(0, 10), st.integers(0, 20), LENGTHS)
def test_ramp_is_numpys_interpolation_after_a_while_and_stays(
    start: float, end: float, after: int, length: int
) -> None:
    assert is_numpys(ramp, start, end, after, length)


@modest
@given(st.floats(0, 10), st.floats(0, 10), LENGTHS)
def test_ramp_without_a_warm_up_is_linear(start: float, end: float, length: int) -> None:
    for t in range(1, length + 3):
        assert ramp.ramp(t, start, end, 0, length) == linear.linear(t, start, end, length)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("min(max(0, t - 1 - after)", "min(max(0, t - after)"),
        ("min(max(0, t - 1 - after)", "min(t - 1 - after"),
        (", length) / length", ", length)"),
    ],
)
def test_an_edit_of_the_ramp_is_noticed(old: str, new: str) -> None:
    assert not is_numpys(edited(ramp, old, new), 1.0, 0.5, 3, 4)
