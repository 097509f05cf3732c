"""TRADES' outer loss: cross entropy at the clean input, and how far the prediction moves from there.

    L(z) = -log p(x)[y] + beta KL(p(x) || p(z)),   p = softmax of f                           (Zhang et al., Eq. 5)

Both p(x) are differentiated, as in the published code. It reads them twice, from two forwards of the same inputs: one
for the cross entropy, one for the divergence. Not the paper's 1/lambda: beta is that, as in the code.
Shapes: logits, clean and clean_again `(batch, classes)`, y `(batch,)`, result `(batch,)`, in nats.

>>> import torch
>>> z, x = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0986]])
>>> PRIMITIVE.function(z, torch.tensor([1]), x, x, beta=6.0)  # log(4/3) + 6 * 0.1308
tensor([1.0725])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from atentdsl.primitives.objective import Objective
from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.slots import PositiveOrSchedule
from atentdsl.primitives.tensors import cross_entropy, kl_divergence

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Objective):
    """The table `[objective]` with kind `trades`."""

    beta: PositiveOrSchedule = Field(description="β, weight of the divergence: 6 for CIFAR-10, 1 for MNIST in the code")


def trades(logits: Tensor, y: Tensor, clean: Tensor, clean_again: Tensor, beta: float) -> Tensor:
    """Cross entropy of clean, and beta times the divergence from clean_again to logits, per example."""
    return cross_entropy(clean, y) + beta * kl_divergence(clean_again, logits)


PRIMITIVE = Primitive(Parameters, trades, cites=("zhang2019trades",))
