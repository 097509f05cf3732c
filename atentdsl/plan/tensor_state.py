"""What the interpreter does with tensors whatever the plan: state kept, choices example by example."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from atentdsl.primitives.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def buffers_kept(model: nn.Module, kept: bool) -> Iterator[None]:
    """After the block the network's buffers are what they were before, if they are to be kept."""
    before = [buffer.clone() for buffer in model.buffers()] if kept else []
    yield
    with torch.no_grad():
        for buffer, value in zip(model.buffers(), before, strict=False):
            buffer.copy_(value)


def where(taken: Any, new: Any, old: Any) -> Any:
    """For each example of a batch the new or the old."""
    return torch.where(taken.view(-1, *[1] * (new.dim() - 1)), new, old)


def global_state(z: Tensor) -> Any:
    """Of the generator that dropout draws from on z's device."""
    return torch.cuda.get_rng_state(z.device) if z.is_cuda else torch.get_rng_state()


def set_global_state(z: Tensor, state: Any) -> None:
    """The generator that dropout draws from on z's device goes on from this state."""
    if z.is_cuda:
        torch.cuda.set_rng_state(state, z.device)
    else:
        torch.set_rng_state(state)
