"""Clip of one move's increment, P_gamma of Jagatap et al., Eq. 14 and Alg. 2 line 8, with radius = 1 / gamma.

    P(z) = old + clip(z - old, -radius, radius)

Both signs are clipped; Eq. 14 as printed leaves z < -1/gamma undefined. Shapes: z, old `(batch, *input)`. Units: radius
in units of inputs in [0, 1]. Not a ball around the anchor: over K moves the displacement can reach K * radius, and
with `when = "last"` only the last move is bounded at all. The published code clips the displacement instead, which is
`linf_ball`.

>>> import torch
>>> increment_clip(torch.tensor([[0.9, 0.2]]), torch.tensor([[0.5, 0.25]]), radius=0.125)
tensor([[0.6250, 0.2000]])
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
    """The table `[[sampler.projection]]` with kind `increment_clip`."""

    radius: NonNegativeOrSchedule = Field(description="largest change of a coordinate in one move: 1/γ of Eq. 14")
    when: Literal["every", "last"] = Field("every", description="at every move, or at the last alone")


def increment_clip(z: Tensor, old: Tensor, radius: float) -> Tensor:
    """z with its increment clipped on both sides, written so that a second clip changes nothing."""
    return clip_around(z, old, radius)


PRIMITIVE = Primitive(Parameters, increment_clip, cites=("jagatap2021atent",))
