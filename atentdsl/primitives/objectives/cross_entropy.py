"""Cross entropy as the outer loss: L(z) = -log softmax(f(z))[y], per example.

Shapes: logits `(batch, classes)`, y `(batch,)`, result `(batch,)`. (Jagatap et al., Alg. 1 line 9)

>>> import torch
>>> PRIMITIVE.function(torch.zeros(1, 4), torch.tensor([2]))
tensor([1.3863])
"""

from __future__ import annotations

from atentdsl.primitives.objective import Objective
from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.tensors import cross_entropy


class Parameters(Objective):
    """The table `[objective]` with kind `cross_entropy`."""


PRIMITIVE = Primitive(Parameters, cross_entropy, cites=("jagatap2021atent",))
