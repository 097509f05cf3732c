"""Projection onto the l1 ball around the anchor, per example: the displacement soft-thresholded where it is too long.

    P(z) = x + sign(d) * max(|d| - t, 0),  d = z - x,  t >= 0 the least with ||P(z) - x||_1 <= radius

The threshold is found from the sorted magnitudes (Duchi et al., Fig. 1). Euclidean, unlike scaling d down. Shapes:
z, anchor `(batch, *input)`; the norm is over everything but the batch. Units: radius in units of inputs in [0, 1].

>>> import torch
>>> l1_ball(torch.tensor([[2.0, 1.0, 0.25], [0.2, 0.1, 0.0]]), torch.zeros(2, 3), radius=2.0)
tensor([[1.5000, 0.5000, 0.0000],
        [0.2000, 0.1000, 0.0000]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from atentdsl.primitives.lazy import torch
from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The table `[[sampler.projection]]` with kind `l1_ball`."""

    radius: NonNegativeOrSchedule = Field(
        description="largest sum of a perturbation's magnitudes, in units of the input"
    )
    when: Literal["every", "last"] = Field("every", description="after every move, or after the last alone")


def l1_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """The nearest point whose displacement's magnitudes sum to radius at most."""
    d = (z - anchor).flatten(1)
    magnitude = d.abs()
    falling = magnitude.sort(dim=1, descending=True).values
    count = torch.arange(1, d.shape[1] + 1, device=d.device, dtype=d.dtype)
    mean = falling.cumsum(dim=1) / count
    kept = (falling - mean + radius / count > 0).sum(dim=1, keepdim=True).clamp(min=1)
    # The threshold is mean - radius / kept; taken away in two parts, so that a far point keeps its digits.
    left = (magnitude - mean.gather(1, kept - 1) + radius / kept.to(d.dtype)).clamp(min=0)
    outside = magnitude.sum(dim=1, keepdim=True) > radius
    return anchor + torch.where(outside, d.sign() * left, d).view_as(z)


def in_l1_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """Whether the magnitudes of each example's displacement sum to radius at most, `(batch,)`."""
    return (z - anchor).flatten(1).abs().sum(dim=1) <= radius


PRIMITIVE = Primitive(Parameters, l1_ball, inside=in_l1_ball, cites=("duchi2008l1",))
