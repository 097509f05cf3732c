"""Corner start: a random corner of the l-infinity ball, z^0 = x + radius * sign(xi).

Shapes: anchor, xi `(batch, *input)`. Units: radius in units of inputs in [0, 1]. What the published code of
l-infinity ATENT does where the paper says "random normal perturbation"; every coordinate moves by exactly radius.

>>> import torch
>>> corner(torch.zeros(1, 3), torch.tensor([[0.3, 0.0, -1.2]]), radius=0.1)
tensor([[ 0.1000,  0.1000, -0.1000]])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atentdsl.primitives.lazy import torch
from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The table `[sampler.start]` with kind `corner`."""

    radius: NonNegativeOrSchedule = Field(
        description="distance of the corner in every coordinate, in units of the input"
    )
    projected: bool = Field(False, description="bring the start into the projections' sets first")


def corner(anchor: Tensor, xi: Tensor, radius: float) -> Tensor:
    """A corner of the cube around the anchor."""
    return torch.where(xi < 0, anchor - radius, anchor + radius)


def reduces(parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """A cube of radius 0 is its centre, and nothing is drawn."""
    return None if parameters["radius"] else ("zero", {})


PRIMITIVE = Primitive(Parameters, corner, draws=("normal",), reduces=reduces, cites=("jagatap2021atent",))
