"""l2 drift: each example's gradient at Euclidean length one, D(g) = g / ||g||_2, 0 where g is 0.

The steepest ascent direction in the l2 norm. Shapes: g `(batch, *input)`; the norm is over everything but the batch.
The division by the largest coordinate comes first, so that neither subnormal nor huge gradients lose their direction.

>>> import torch
>>> unit_l2(torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-40, 4e-40], [3e38, 0.0]]))
tensor([[0.6000, 0.8000],
        [0.0000, 0.0000],
        [0.6000, 0.8000],
        [1.0000, 0.0000]])
"""

from __future__ import annotations

from atentdsl.primitives.primitive import Part, Primitive
from atentdsl.primitives.tensors import unit_l2


class Parameters(Part):
    """A drift has no parameters."""


PRIMITIVE = Primitive(Parameters, unit_l2, cites=("madry2018pgd",))
