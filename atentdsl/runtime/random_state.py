"""The global random generators, kept: an attack or a library may draw from them, and the caller's must not move."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import torch


@contextmanager
def random_state_kept() -> Iterator[None]:
    """After the block the global generators of torch (and CUDA's), numpy and Python are as they were found.

    >>> before = torch.get_rng_state()
    >>> with random_state_kept():
    ...     drawn = torch.rand(3)
    >>> bool(torch.equal(before, torch.get_rng_state()))
    True
    """
    states = torch.get_rng_state(), numpy.random.get_state(), random.getstate()
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if begun else None
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        numpy.random.set_state(states[1])
        random.setstate(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        elif torch.cuda.is_available():
            # Seeding waits for CUDA's first use, and the last that was asked for holds: the one from before.
            torch.cuda.manual_seed_all(torch.initial_seed())
