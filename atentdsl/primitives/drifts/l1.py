"""l1 drift: each example's gradient with magnitudes that sum to one, D(g) = g / ||g||_1, 0 where g is 0.

What momentum methods normalise by (Dong et al., MI-FGSM). Shapes: g `(batch, *input)`; the norm is over everything but
the batch. The division by the largest coordinate comes first, so that neither subnormal nor huge gradients lose their
direction. It is not the steepest ascent direction in any of the usual norms.

>>> import torch
>>> unit_l1(torch.tensor([[1.0, -3.0], [0.0, 0.0], [1e-40, 1e-40]]))
tensor([[ 0.2500, -0.7500],
        [ 0.0000,  0.0000],
        [ 0.5000,  0.5000]])
"""

from __future__ import annotations

from atentdsl.primitives.primitive import Part, Primitive
from atentdsl.primitives.tensors import unit_l1


class Parameters(Part):
    """A drift has no parameters."""


PRIMITIVE = Primitive(Parameters, unit_l1, cites=("dong2018mifgsm",))
