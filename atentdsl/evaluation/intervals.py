"""Confidence intervals of shares of images."""

from __future__ import annotations

# Loaded with whatever evaluates, before anything is trained: at its end there may be no memory left to load it into.
from scipy.special import betaincinv

CONFIDENCE = 0.95


def interval(count: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact interval of Clopper and Pearson: shares under which `count` of `n` or as extreme is not unlikely.

        low = Beta^-1(a; count, n - count + 1),  high = Beta^-1(1 - a; count + 1, n - count),  a = (1 - confidence) / 2

    It covers the true share with at least that confidence, whatever the share is, for images that are drawn by chance.

    Args:
        count: images that do.
        n: all images, above 0.
        confidence: between 0 and 1.

    Reference: Clopper, Pearson, Biometrika 26(4), 1934.

    >>> low, high = interval(81, 100)
    >>> f"{low:.4f} {high:.4f}"
    '0.7193 0.8816'
    >>> interval(0, 10)[0], interval(10, 10)[1]
    (0.0, 1.0)
    """
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, tail))
    high = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1 - tail))
    return low, high
