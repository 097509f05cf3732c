"""Sign drift: each coordinate's sign, D(g) = sign(g), 0 where g is 0.

The steepest ascent direction in the l-infinity norm (Goodfellow et al.; Madry et al.). Shapes: g `(batch, *input)`.

>>> import torch
>>> sign(torch.tensor([[0.3, 0.0, -2.0]]))
tensor([[ 1.,  0., -1.]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atentdsl.primitives.primitive import Part, Primitive

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Part):
    """A drift has no parameters."""


def sign(g: Tensor) -> Tensor:
    """-1, 0 or 1 per coordinate."""
    return g.sign()


PRIMITIVE = Primitive(Parameters, sign, cites=("goodfellow2015fgsm", "madry2018pgd"))
