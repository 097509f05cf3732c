"""How far the prediction has moved from that at the clean input: the loss that TRADES' chain climbs.

    L(z) = KL(p(x) || p(z)),   p = softmax of f at the current weights                        (Zhang et al., Eq. 5)

p(x) is a constant: no gradient goes through it. x is the batch's input, whatever samplers stand before this one. Not
a loss of labels: it has its minimum, 0 with a gradient of 0, at z = x itself, so a chain must start beside it.
Shapes: logits and clean `(batch, classes)`, result `(batch,)`, in nats.

>>> import torch
>>> PRIMITIVE.function(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0986]]))  # KL((1/4, 3/4) || (1/2, 1/2))
tensor([0.1308])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atentdsl.primitives.primitive import Part, Primitive
from atentdsl.primitives.tensors import kl_divergence

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Part):
    """`loss = "kl_to_clean"` in `[sampler.target]`; it has no parameters of its own."""


def kl_to_clean(logits: Tensor, clean: Tensor) -> Tensor:
    """KL(softmax(clean) || softmax(logits)) per example, clean held constant."""
    return kl_divergence(clean.detach(), logits)


PRIMITIVE = Primitive(Parameters, kl_to_clean, cites=("zhang2019trades",))
