"""Projection onto the l2 ball around the anchor, per example: the displacement scaled back where it is too long.

    P(z) = x + d * min(1, radius / ||d||_2),  d = z - x                                                  (Alg. 4 line 8)

Euclidean. Shapes: z, anchor `(batch, *input)`; the norm is over everything but the batch. Units: radius in units of
inputs in [0, 1]. Followed by `box` the result is in both sets where x is in the box, but it is not the Euclidean
projection onto their intersection, and the order does not commute.

>>> import torch
>>> l2_ball(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), torch.zeros(2, 2), radius=1.0)
tensor([[0.6000, 0.8000],
        [0.3000, 0.4000]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule
from atentdsl.primitives.tensors import within_l2

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The table `[[sampler.projection]]` with kind `l2_ball`."""

    radius: NonNegativeOrSchedule = Field(
        description="largest Euclidean length of a perturbation, in units of the input"
    )
    when: Literal["every", "last"] = Field("every", description="after every move, or after the last alone")


def l2_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """The nearest point within Euclidean distance radius of the anchor."""
    return anchor + within_l2(z - anchor, radius)


def in_l2_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """Whether each example lies within Euclidean distance radius of the anchor, `(batch,)`."""
    within: Tensor = (z - anchor).flatten(1).norm(dim=1) <= radius
    return within


PRIMITIVE = Primitive(Parameters, l2_ball, inside=in_l2_ball, cites=("madry2018pgd",))
