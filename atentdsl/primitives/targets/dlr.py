"""The difference of logits ratio: the margin in units of the lead of the first class over the third, per example.

    L(z) = (max over j other than y of f_j - f_y) / (f_[1] - f_[3] + 1e-12),   f_[i] the i-th largest (Croce, Hein)

Blind to the scale and the offset of the logits, so that a network cannot hide from it by large ones. It is
from -1 to 1 where y is likeliest. Shapes: logits `(batch, classes)`, 3 classes or more, y and result `(batch,)`.

>>> import torch
>>> PRIMITIVE.function(torch.tensor([[1.0, 5.0, 3.0], [10.0, 50.0, 30.0]]), torch.tensor([1, 1]))
tensor([-0.5000, -0.5000])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atentdsl.primitives.primitive import Part, Primitive
from atentdsl.primitives.tensors import margin

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Part):
    """`loss = "dlr"` in `[sampler.target]`; it has no parameters of its own."""


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """The margin over the lead of the first class before the third."""
    largest = logits.topk(3, dim=1).values
    return margin(logits, y) / (largest[:, 0] - largest[:, 2] + 1e-12)


PRIMITIVE = Primitive(Parameters, dlr, cites=("croce2020autoattack",))
