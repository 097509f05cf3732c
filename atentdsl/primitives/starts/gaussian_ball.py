"""Gaussian start brought onto the l2 ball: z^0 = x + xi * min(1, radius / ||xi||_2), per example.

In the dimensions of images a standard normal xi is far longer than any radius in use, so the start lies on the sphere:
what the published code of l2 ATENT does. Shapes: anchor, xi `(batch, *input)`. Units: radius in units of inputs in
[0, 1].

>>> import torch
>>> gaussian_ball(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]]), radius=0.5)
tensor([[ 0.3000, -0.4000]])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule
from atentdsl.primitives.tensors import within_l2

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The table `[sampler.start]` with kind `gaussian_ball`."""

    radius: NonNegativeOrSchedule = Field(description="largest Euclidean length of the start, in units of the input")
    projected: bool = Field(False, description="bring the start into the projections' sets first")


def gaussian_ball(anchor: Tensor, xi: Tensor, radius: float) -> Tensor:
    """The anchor with normal noise, no longer than radius."""
    return anchor + within_l2(xi, radius)


def reduces(parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """A ball of radius 0 is its centre, and nothing is drawn."""
    return None if parameters["radius"] else ("zero", {})


PRIMITIVE = Primitive(Parameters, gaussian_ball, draws=("normal",), reduces=reduces, cites=("jagatap2021atent",))
