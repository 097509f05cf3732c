"""Five hundred short runs in one process: no memory and no file handle is left behind."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest
import torch

import atentdsl
from atentdsl.runtime.errors import Diverged, Interrupted
from atentdsl.runtime.running import Running

RUNS, WARM = 500, 100
QUICK = ["model.name=mlp", "optimizer.epochs=1", "evaluate.attacks=['pgd-2']"]


def resident() -> int:
    """Bytes of memory that the process has, after what nobody holds is given back."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def handles() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:  # the one that listed them
            continue
    return sorted(found)


def one(number: int, out: Path, monkeypatch) -> None:
    """A run that finishes; every fifth is interrupted and gone on with, every seventh diverges."""
    options = {"out": out, "quiet": True, "max_steps": 3}
    if number % 7 == 0:
        rate = "optimizer.lr={kind='piecewise', at=[1, 2], value=[0.01, 1e30], over='steps'}"
        with pytest.raises(Diverged):
            atentdsl.train("sgd", overrides=[*QUICK, rate], **options)
    elif number % 5 == 0:
        advance = Running.advance

        def interrupting(self):
            os.kill(os.getpid(), 15)
            return advance(self)

        with monkeypatch.context() as patched:
            patched.setattr(Running, "advance", interrupting)
            with pytest.raises(Interrupted) as caught:
                atentdsl.train("atent_linf", overrides=QUICK, **options)
        atentdsl.resume(caught.value.run, quiet=True)
    else:
        atentdsl.train("sgd", overrides=QUICK, **options)
    shutil.rmtree(out)


@pytest.mark.long
def test_five_hundred_runs_leave_no_memory_and_no_handle_behind(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    for number in range(WARM):
        one(number, tmp_path / "runs", monkeypatch)
    memory, before = resident(), handles()
    for number in range(WARM, RUNS):
        one(number, tmp_path / "runs", monkeypatch)
    grown = resident() / memory - 1
    print(f"memory after {WARM} runs {memory / 2**20:.0f} MiB, after {RUNS} {grown:+.1%}")
    assert handles() == before
    assert grown <= 0.05
