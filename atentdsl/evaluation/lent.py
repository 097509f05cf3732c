"""A network lent to a library's attack: it answers as libraries expect, and all that they disturb is put back."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy
import torch
from torch import Tensor, nn

from atentdsl.runtime.errors import NotFinite
from atentdsl.runtime.modes import mode_kept
from atentdsl.runtime.network import weights_frozen
from atentdsl.runtime.random_state import random_state_kept


class Lent(nn.Module):
    """The network in float32 and on images `(batch, channels, height, width)`, whatever it asks for itself.

    Attributes:
        x: the images as libraries meet them, float32.

    >>> Lent(nn.Linear(6, 2).bfloat16(), torch.zeros(3, 6, dtype=torch.bfloat16)).x.shape
    torch.Size([3, 1, 2, 3])
    """

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        super().__init__()
        self._model, self._asked, self._dtype = model, x.shape[1:], x.dtype
        self.x = x.detach().float().reshape(len(x), *_grid(x.shape[1:]))

    def forward(self, z: Tensor) -> Tensor:
        """The logits `(batch, classes)`, float32: a tensor of their own, since libraries write into them.

        Raises:
            NotFinite: names the image whose perturbation it is, the nearest of the batch.
        """
        logits: Tensor = self._model(z.reshape(len(z), *self._asked).to(self._dtype)).float().clone()
        wrong = ~logits.isfinite().all(dim=1) & z.isfinite().flatten(1).all(dim=1)
        if bool(wrong.any()):
            point = z.detach()[torch.nonzero(wrong)[0]]
            raise NotFinite(int((self.x - point).flatten(1).norm(dim=1).argmin()))
        if torch.is_grad_enabled() and z.requires_grad and not logits.requires_grad:
            # A constant has no gradient for autograd to find; libraries ask for one, and zero is the right one.
            return logits + 0 * z.flatten(1)[:, :1]
        return logits


@contextmanager
def lent(model: nn.Module, x: Tensor, seed: int) -> Iterator[Lent]:
    """The network in eval mode, with every global random generator set by the seed.

    After the block its modes, its weights' gradients, the random states of torch (and CUDA's), numpy and python, the
    tracer and the root logger's handlers are as they were found.

    Args:
        model: maps `(batch, *input)` in [0, 1] to logits `(batch, classes)`.
        x: the images that are going to be attacked.
        seed: of all draws within the block.
    """
    with ExitStack() as stack:
        stack.enter_context(mode_kept(model))
        stack.enter_context(weights_frozen(model))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(random_state_kept())
        stack.enter_context(_process_kept())
        torch.manual_seed(seed)
        numpy.random.seed(seed % 2**32)
        random.seed(seed)
        model.eval()
        yield Lent(model, x).eval()


def _grid(shape: torch.Size) -> tuple[int, int, int]:
    """Channels, height and width; a row of numbers is folded into the squarest grid, for Square to draw squares in."""
    if len(shape) >= 2:
        return shape[:-2].numel(), shape[-2], shape[-1]
    pixels = shape.numel()
    height = max(side for side in range(1, int(pixels**0.5) + 1) if pixels % side == 0)
    return 1, height, pixels // height


@contextmanager
def _process_kept() -> Iterator[None]:
    """The tracer, which pyautoattack takes away, and the loggers: its own is silent, and the root's gets no handler."""
    tracer, silent, root = sys.gettrace(), logging.NullHandler(), logging.getLogger()
    theirs = logging.getLogger("auto-attack")
    disabled = theirs.disabled
    theirs.disabled = True
    root.addHandler(silent)  # or `logging.info`, as foolbox calls it, would install one that prints
    try:
        yield
    finally:
        sys.settrace(tracer)
        root.removeHandler(silent)
        theirs.disabled = disabled
