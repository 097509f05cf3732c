"""Uniform start: each coordinate uniform within radius of the anchor's.

    z^0 = x + radius * (2 u - 1),  u uniform in [0, 1)                                       (Madry et al.: PGD-AT)

Shapes: anchor, u `(batch, *input)`. Units: radius in units of inputs in [0, 1].

>>> import torch
>>> uniform(torch.zeros(1, 3), torch.tensor([[0.0, 0.5, 0.75]]), radius=0.2)
tensor([[-0.2000,  0.0000,  0.1000]])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The table `[sampler.start]` with kind `uniform`."""

    radius: NonNegativeOrSchedule = Field(description="half the side of the cube, in units of the input")
    projected: bool = Field(False, description="bring the start into the projections' sets first")


def uniform(anchor: Tensor, u: Tensor, radius: float) -> Tensor:
    """A point of the cube around the anchor."""
    return anchor + radius * (2 * u - 1)


def reduces(parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """A cube of radius 0 is its centre, and nothing is drawn."""
    return None if parameters["radius"] else ("zero", {})


PRIMITIVE = Primitive(Parameters, uniform, draws=("uniform",), reduces=reduces, cites=("madry2018pgd",))
