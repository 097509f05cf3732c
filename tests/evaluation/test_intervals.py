"""Intervals of Clopper and Pearson: as another library computes them, and covering what they promise to."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from atentdsl.evaluation import intervals
from atentdsl.evaluation.intervals import interval
from atentdsl.testing.mutants import edited

SHARES = [1e-4, 0.003, 0.02, 0.1, 0.25, 0.371, 0.5, 0.77, 0.9, 0.999]
NUMBERS = [1, 2, 5, 10, 33, 100, 361]


@settings(max_examples=150)
@given(st.integers(1, 10_000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_as_scipys_exact_binomial_test(n, share, confidence):
    count = round(share * n)
    expected = stats.binomtest(count, n).proportion_ci(confidence, method="exact")
    assert interval(count, n, confidence) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


def coverage(n: int, share: float, module=intervals) -> float:
    """The probability that the interval of a binomial count holds the share, summed over all counts."""
    counts = numpy.arange(n + 1)
    found = [module.interval(int(count), n) for count in counts]
    holds = [low <= share <= high for low, high in found]
    return float(stats.binom.pmf(counts, n, share)[holds].sum())


@pytest.mark.parametrize("n", NUMBERS)
def test_it_covers_any_share_with_at_least_its_confidence(n):
    assert min(coverage(n, share) for share in SHARES) >= 0.95


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tail = (1 - confidence) / 2", "tail = 1 - confidence"),
        ("betaincinv(count, n - count + 1, tail)", "betaincinv(count + 1, n - count + 1, tail)"),
        ("betaincinv(count + 1, n - count, 1 - tail)", "betaincinv(count, n - count + 1, 1 - tail)"),
    ],
)
def test_a_narrower_interval_does_not(old, new):
    """The mutants: both tails as one, and bounds a count too near."""
    mutant = edited(intervals, old, new)
    covers = [coverage(n, share, mutant) for n in (33, 100) for share in SHARES]
    assert min(covers) < 0.95
