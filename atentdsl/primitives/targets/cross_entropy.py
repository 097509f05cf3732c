"""Cross entropy as the loss that a chain climbs: L(z) = -log softmax(f(z))[y], per example.

Shapes: logits `(batch, classes)`, y `(batch,)`, result `(batch,)`. (Jagatap et al., Eq. 3 and 4)

>>> import torch
>>> PRIMITIVE.function(torch.zeros(1, 4), torch.tensor([2]))
tensor([1.3863])
"""

from __future__ import annotations

from atentdsl.primitives.primitive import Part, Primitive
from atentdsl.primitives.tensors import cross_entropy


class Parameters(Part):
    """`loss = "cross_entropy"` in `[sampler.target]`; it has no parameters of its own."""


PRIMITIVE = Primitive(Parameters, cross_entropy, cites=("jagatap2021atent",))
