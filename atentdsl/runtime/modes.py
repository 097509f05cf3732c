"""Train and eval mode, given back as they were found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def mode_kept(model: nn.Module) -> Iterator[None]:
    """After the block every part of the network is in the mode it was in before, whatever happened."""
    modes = [(part, part.training) for part in model.modules()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
