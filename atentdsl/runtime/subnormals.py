"""Subnormal numbers taken for zero, for a while: they take a processor a hundred times as long as others.

The setting belongs to a thread. Measured with torch 2.15 on Linux: what is set in one thread holds in the worker
threads of its parallel operations as long as it is set, and no other thread meets it. A worker that is *begun* while it
is set inherits it, though, and keeps it afterwards; so the workers are begun before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

__all__ = ["are_flushed", "flushed"]

SUBNORMAL = 1e-40
# From this size on torch shares an elementwise operation out to its threads.
PARALLEL = 1 << 20


def are_flushed() -> bool:
    """Whether the calling thread takes subnormal float32 numbers for zero; torch has no question for it.

    >>> with flushed():
    ...     are_flushed()
    True
    """
    # The comparison is made on bits: under the setting the processor takes an operand that is subnormal for 0, too.
    product = torch.tensor(SUBNORMAL, dtype=torch.float32) * torch.ones(())
    return int(product.view(torch.int32)) == 0


@contextmanager
def flushed(wanted: bool = True) -> Iterator[None]:
    """Within the block subnormal numbers are taken for zero, if wanted; afterwards as before, whatever happened.

    On a processor that has no such setting nothing changes.
    """
    if not wanted or are_flushed():
        yield
        return
    _begin_workers(threading.get_ident(), torch.get_num_threads())
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@cache
def _begin_workers(thread: int, workers: int) -> None:
    """Once for each thread and number of workers, which are then there."""
    torch.zeros(PARALLEL).add_(1)
