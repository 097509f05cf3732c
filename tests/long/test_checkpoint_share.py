"""Writing snapshots takes at most one per cent of a run's time, beside the first and the last."""

from __future__ import annotations

import time

import pytest
import torch

import atentdsl
from atentdsl.runtime import loop
from atentdsl.runtime.snapshot import Saving


@pytest.mark.long
def test_snapshots_by_the_clock_take_at_most_one_per_cent(tmp_path, monkeypatch):
    """With no least time between two: as often as the rule about the share allows, in one run, with the real disk."""
    torch.set_num_threads(1)
    took = []
    save = loop._Fit.save

    def timed(self):
        begin = time.monotonic()
        path = save(self)
        took.append(time.monotonic() - begin)
        return path

    monkeypatch.setattr(loop._Fit, "save", timed)
    begin = time.monotonic()
    atentdsl.train(
        "atent_linf",
        overrides=["optimizer.epochs=8", "evaluate.attacks=['pgd-2']"],
        out=tmp_path,
        quiet=True,
        checkpoint_minutes=0,
    )
    whole = time.monotonic() - begin
    share = sum(took[1:-1]) / whole
    print(
        f"{len(took)} snapshots in {whole:.1f} s, {1000 * sum(took) / len(took):.1f} ms each, {share:.2%} of the time"
    )
    assert len(took) >= 10
    # A slow write is answered by a longer wait after it, so the share may exceed the rule by one write.
    assert share <= Saving.SHARE + max(took[1:-1]) / whole
