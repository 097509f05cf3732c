"""Projection onto the l-infinity ball around the anchor: each coordinate clipped to within radius of the anchor's.

    P(z) = min(max(z, x - radius), x + radius)                                             (Madry et al.; Alg. 4 line 8)

Euclidean (the ball is a product of intervals). Shapes: z, anchor `(batch, *input)`. Units: radius in units of inputs
in [0, 1]. Not `increment_clip`, which bounds one move and lets the displacement grow.

>>> import torch
>>> linf_ball(torch.tensor([[0.9, 0.2]]), torch.tensor([[0.5, 0.1]]), radius=0.25)
tensor([[0.7500, 0.2000]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule
from atentdsl.primitives.tensors import clip_around

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The table `[[sampler.projection]]` with kind `linf_ball`."""

    radius: NonNegativeOrSchedule = Field(description="largest perturbation of a coordinate, in units of the input")
    when: Literal["every", "last"] = Field("every", description="after every move, or after the last alone")


def linf_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """The nearest point within radius of the anchor in every coordinate."""
    return clip_around(z, anchor, radius)


def in_linf_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """Whether the projection would leave each example as it is, `(batch,)`."""
    return (clip_around(z, anchor, radius) == z).flatten(1).all(dim=1)


PRIMITIVE = Primitive(Parameters, linf_ball, inside=in_linf_ball, cites=("madry2018pgd",))
