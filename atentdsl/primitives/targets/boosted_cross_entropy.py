"""MART's boosted cross entropy as the loss that a chain climbs: away from the label and into one wrong class.

    L(z) = -log p(z)[y] - log(1.0001 - p(z)[j] + 1e-12)                                       (Wang et al., Eq. 8)

j is the likeliest class at z but y, the first of equals; p = softmax of f; the small numbers are the published code's.
Of one class alone none is wrong, and p(z)[j] is 0. The second term is at most 9.2, where p(z)[j] is 1. MART itself
climbs cross entropy and has this in its outer loss. Not binary cross entropy.
Shapes: logits `(batch, classes)`, y `(batch,)`, result `(batch,)`, in nats.

>>> import torch
>>> PRIMITIVE.function(torch.zeros(1, 4), torch.tensor([2]))  # log 4 - log(3/4 + 0.0001)
tensor([1.6738])
"""

from __future__ import annotations

from atentdsl.primitives.primitive import Part, Primitive
from atentdsl.primitives.tensors import boosted_cross_entropy


class Parameters(Part):
    """`loss = "boosted_cross_entropy"` in `[sampler.target]`; it has no parameters of its own."""


PRIMITIVE = Primitive(Parameters, boosted_cross_entropy, cites=("wang2020mart",))
