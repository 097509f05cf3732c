"""The most memory that some work holds.

On a GPU the peak of what torch has allocated, `torch.cuda.max_memory_allocated`. On a CPU the peak of the process's
resident memory above what it held before: on Linux `VmHWM`, which writing 5 to `/proc/self/clear_refs` sets back to
what is resident now; elsewhere, or where that may not be written, `ru_maxrss`, which is never set back: only work that
takes more than all before it shows, so that it has to come first.

Where the C library is glibc, blocks of 128 kB and more come from the system and go back to it while the work is done.
By itself glibc keeps some of what was freed, and how much changes from process to process: a step of 31 MB then shows
as 38 to 55. In a process that was told to keep it (`atentdsl.runtime.allocator`) work may be given several of the free
blocks in turn, and show as more than it holds: a process measures its first step best.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from atentdsl.runtime import allocator

__all__ = ["means", "peak", "sets_back"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(work: Callable[[], Any], device: torch.device) -> int:
    """The most bytes that the work held at a time: on a GPU in all, on a CPU above what the process held before.

    >>> 39e6 < peak(lambda: torch.ones(10_000_000), torch.device("cpu")) < 45e6
    True
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    with allocator.given_back():
        highest = _high_water if sets_back(device) else _max_resident
        before = highest()
        work()
        return max(0, highest() - before)


def means(device: torch.device) -> str:
    """What `peak` reads on this device.

    >>> means(torch.device("cpu")) in {"VmHWM", "ru_maxrss"}
    True
    """
    if device.type == "cuda":
        return "max_memory_allocated"
    return "VmHWM" if sets_back(device) else "ru_maxrss"


def sets_back(device: torch.device) -> bool:
    """Whether the highest reading can be set back, which it is, so that `peak` measures work that comes late too."""
    if device.type == "cuda":
        return True
    try:
        CLEAR.write_text("5")
        _high_water()
    except (OSError, ValueError):
        return False
    return True


def _high_water() -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no VmHWM")


def _max_resident() -> int:
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024
