"""Radial start: a random direction, and a length uniform in [0, radius).

    z^0 = x + radius * u * xi / ||xi||_2,  one u for an example

The usual random start of l2 attacks. Its density is not uniform in the ball: it falls off with the distance from the
centre. Shapes: anchor, xi, u `(batch, *input)`, of u the first coordinate of an example is read. Units: radius in units
of inputs in [0, 1].

>>> import torch
>>> radial(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]]), torch.tensor([[0.5, 0.9]]), radius=1.0)
tensor([[ 0.3000, -0.4000]])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule
from atentdsl.primitives.tensors import unit_l2

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The table `[sampler.start]` with kind `radial`."""

    radius: NonNegativeOrSchedule = Field(description="largest Euclidean length of the start, in units of the input")
    projected: bool = Field(False, description="bring the start into the projections' sets first")


def radial(anchor: Tensor, xi: Tensor, u: Tensor, radius: float) -> Tensor:
    """A point in a random direction, at a uniform share of the radius."""
    share = u.flatten(1)[:, :1]
    return anchor + (radius * share * unit_l2(xi).flatten(1)).view_as(anchor)


def reduces(parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """A ball of radius 0 is its centre, and nothing is drawn."""
    return None if parameters["radius"] else ("zero", {})


PRIMITIVE = Primitive(Parameters, radial, draws=("normal", "uniform"), reduces=reduces, cites=("madry2018pgd",))
