"""Exhausted memory: how it is told from other errors, and how many examples would have fitted."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

__all__ = ["fitting", "is_exhausted"]

# What torch's allocators say where no exception of its own stands for it.
SAID = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Cannot allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "could not create a primitive",  # oneDNN, whatever it lacks
)


def is_exhausted(error: BaseException) -> bool:
    """Whether the error says that memory is exhausted, on the device or on the host.

    >>> is_exhausted(MemoryError()), is_exhausted(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in SAID)


def fitting(trial: Callable[[int], object], batch: int) -> int | None:
    """The largest of batch / 2, batch / 4, ... with which the trial does not exhaust memory; None if 1 still does.

    >>> def trial(batch):
    ...     if batch > 100:
    ...         raise MemoryError
    >>> fitting(trial, 512)
    64
    """
    while batch > 1:
        batch //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            trial(batch)
        except Exception as error:
            if not is_exhausted(error):
                raise
        else:
            return batch
    return None
