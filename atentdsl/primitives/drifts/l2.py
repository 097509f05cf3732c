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

from typing import TYPE_CHECKING

import lazy_loader

from atentdsl.primitives.primitive import Part, Primitive

torch = lazy_loader.load("torch")

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Part):
    """A drift has no parameters."""


def unit_l2(g: Tensor) -> Tensor:
    """g at length one per example, zero where g is zero."""
    flat = g.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    length = scaled.square().sum(dim=1, keepdim=True).sqrt()  # `norm` loses digits of long rows
    return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)


PRIMITIVE = Primitive(Parameters, unit_l2, cites=("madry2018pgd",))
