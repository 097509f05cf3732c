"""Layer drift: in each layer's weights the gradient at the length of the weights themselves, 0 in biases and scales.

    D(g)_l = ||w_l||_2 g_l / ||g_l||_2   for weights of two or more dimensions,  else 0      (Wu et al., AWP, Eq. 8)

For the space of the weights alone. w is the anchor, the weights where the chain started: with one move and start `zero`
that is where the gradient is taken. So `step_size` is relative to the size of each layer. Shapes: g, anchor
`(1, weights)`, all weights in one row, in the order and with the shapes of `shapes`. 0 where g_l is 0.

>>> import torch
>>> row = torch.tensor([[3.0, 4.0, 2.0]])
>>> unit_layers(torch.tensor([[0.0, -2.0, 7.0]]), row, shapes=[(1, 2), (1,)])
tensor([[ 0., -5.,  0.]])
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from atentdsl.primitives.lazy import torch
from atentdsl.primitives.primitive import Part, Primitive
from atentdsl.primitives.tensors import unit_l2

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Part):
    """A drift has no parameters."""


def unit_layers(g: Tensor, anchor: Tensor, shapes: list[tuple[int, ...]]) -> Tensor:
    """g with each layer at the length of its weights."""
    sizes = [math.prod(shape) for shape in shapes]
    layers = []
    parts = zip(shapes, torch.split(g, sizes, dim=1), torch.split(anchor, sizes, dim=1), strict=True)
    for shape, own, w in parts:
        length = w.norm(dim=1, keepdim=True) if len(shape) > 1 else 0.0
        layers.append(length * unit_l2(own))
    return torch.cat(layers, dim=1)


PRIMITIVE = Primitive(Parameters, unit_layers, cites=("wu2020awp",))
