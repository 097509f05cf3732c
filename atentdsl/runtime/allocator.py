"""Freed memory that the process keeps: a step frees and asks for the same tensors again and again.

By itself glibc takes large blocks from the system and gives them back, and gives back what is free at the heap's end.
Each page that comes back has to be made anew and filled with zeros, up to a third of a step of a small network. Here
both limits are put at 1 GiB. The setting is the process's and stays, since glibc tells nobody what it was; who has set
one of them in the environment (`MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`, `GLIBC_TUNABLES`) keeps theirs.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["can_keep", "given_back", "keep", "usual"]

# glibc's malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT = 1 << 30
AT_ONCE = 1 << 17
USUAL = 1 << 25  # where glibc's own adjustment, which cannot be turned on again, ends with large tensors

_kept = False
_within = 0  # blocks of `given_back`


def can_keep() -> bool:
    """Whether the C library has the setting, and nobody has made it in the environment.

    >>> can_keep() in {True, False}
    True
    """
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
    said = any(name in os.environ for name in names) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    return not said and _library() is not None


def keep() -> None:
    """From now on the process keeps what it frees: where `can_keep` says so, and after a block of `given_back`."""
    global _kept
    if can_keep():
        _kept = True
        if not _within:
            _thresholds(KEPT, KEPT)


@contextmanager
def given_back() -> Iterator[None]:
    """Within the block freed memory goes back to the system at once, and what was free before has gone there.

    Without effect where the C library has no such setting.
    """
    global _within
    gc.collect()
    library = _library()
    if library is None:
        yield
        return
    library.mallopt(MMAP_THRESHOLD, AT_ONCE)
    library.malloc_trim(0)
    _within += 1
    try:
        yield
    finally:
        _within -= 1
        if not _within:
            _thresholds(KEPT, KEPT) if _kept else _thresholds(USUAL, 2 * USUAL)


@contextmanager
def usual() -> Iterator[None]:
    """Within the block glibc keeps about what it does by itself, as in a process that has not been asked to keep."""
    library = _library()
    if _within or library is None:
        yield
        return
    _thresholds(USUAL, 2 * USUAL)
    library.malloc_trim(0)  # what was kept would serve for long
    try:
        yield
    finally:
        if _kept:
            _thresholds(KEPT, KEPT)


def _thresholds(mmap: int, trim: int) -> None:
    library = _library()
    if library is not None:
        library.mallopt(MMAP_THRESHOLD, mmap)
        library.mallopt(TRIM_THRESHOLD, trim)


def _library() -> Any:
    """The C library, if it is glibc or has its functions."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # a system whose programs are not linked so
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
