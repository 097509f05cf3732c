"""What an epoch adds to its steps: at most 3 % for batches, log, progress and checkpoints together."""

from __future__ import annotations

import time

import pytest
from scipy.stats import binom

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark import measured_epoch
from atentdsl.runtime.running import Batches

pytestmark = pytest.mark.long

ROUNDS, LIMIT = 7, 0.03


def at_least(shares, confidence=0.99):
    """What their median lies above with this confidence, whatever the distribution: an order statistic (sign test)."""
    return sorted(shares)[len(shares) - 1 - int(binom.ppf(confidence, len(shares), 0.5))]


def least_share(clock):
    """In processor time, which other processes do not take; a wait for the disk is no part of it."""
    measured = subject("atent_linf", device="cpu")
    return at_least(
        [measured_epoch(measured, None, rounds=1, clock=clock, warm_up=0)["overhead_share"] for _ in range(ROUNDS)]
    )


def test_an_epoch_adds_three_percent_at_most():
    assert least_share(time.process_time) <= LIMIT


def test_ten_percent_in_the_batches_are_noticed(monkeypatch):
    """As much more for each batch as makes 10 % of a step."""
    added = [0.0]
    found = measured_epoch(subject("atent_linf", device="cpu"), None, rounds=1, clock=time.process_time)
    step = found["steps_seconds"] / found["steps"]
    own = Batches.__next__

    def slow(batches):
        added[0] += 0.1 * step
        return own(batches)

    monkeypatch.setattr(Batches, "__next__", slow)
    assert least_share(lambda: time.process_time() + added[0]) > LIMIT
