"""Sparse drift: steepest ascent of l1 within the box, the signs of the few largest coordinates, their sum 1.

    D(g)_i = sign(g_i) / m  for the m = max(1, d // 100) largest |g_i| of the d coordinates that can follow g,  else 0

A coordinate cannot follow where z_i is at 1 and g_i above 0, or at 0 and below: the box would take the move back. One
coordinate alone is the steepest direction in l1; one in a hundred are the published attack's, which needs fewer moves
(Tramer, Boneh, 2019, section 3 and Appendix A). For the space of data alone. Shapes: g, z `(batch, *input)`. 0 where g
is 0, and where fewer than m coordinates can follow, those alone.

>>> import torch
>>> sparse(torch.tensor([[3.0, -2.0, 1.0]]), torch.tensor([[1.0, 0.5, 0.5]]))
tensor([[ 0., -1.,  0.]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atentdsl.primitives.lazy import torch
from atentdsl.primitives.primitive import Part, Primitive

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Part):
    """A drift has no parameters."""


def sparse(g: Tensor, z: Tensor) -> Tensor:
    """Signs of the largest coordinates that can follow g within the box."""
    follows = torch.where(g > 0, z < 1, z > 0)
    size = torch.where(follows, g.abs(), 0.0).flatten(1)
    count = max(1, size.shape[1] // 100)
    chosen = torch.zeros_like(size).scatter(1, size.topk(count, dim=1).indices, 1.0 / count)
    return torch.where(size > 0, chosen, 0.0).view_as(g) * g.sign()


PRIMITIVE = Primitive(Parameters, sparse, cites=("tramer2019multiple",))
