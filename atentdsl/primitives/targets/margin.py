"""The margin by which the wrong class that is nearest leads: the loss of Carlini and Wagner, per example.

    L(z) = max over j other than y of f(z)_j  -  f(z)_y                          (Carlini, Wagner, 2017, f_6 with κ = 0)

Above 0 the example is misclassified. Its gradient stays where cross entropy's vanishes, at confident predictions.
Shapes: logits `(batch, classes)` with 2 classes or more, y `(batch,)`, result `(batch,)`, in units of logits.

>>> import torch
>>> PRIMITIVE.function(torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0]]), torch.tensor([1, 2]))
tensor([-2.,  2.])
"""

from __future__ import annotations

from atentdsl.primitives.primitive import Part, Primitive
from atentdsl.primitives.tensors import margin


class Parameters(Part):
    """`loss = "margin"` in `[sampler.target]`; it has no parameters of its own."""


PRIMITIVE = Primitive(Parameters, margin, cites=("carlini2017cw",))
