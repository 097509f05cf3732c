"""Gaussian start: independent normal noise around the anchor, z^0 = x + sd * xi.

Shapes: anchor, xi `(batch, *input)`. Units: sd in units of inputs in [0, 1]. The "random normal perturbation" of
Jagatap et al., Alg. 1 line 4; not confined to any ball.

>>> import torch
>>> gaussian(torch.zeros(1, 2), torch.tensor([[1.0, -2.0]]), sd=0.1)
tensor([[ 0.1000, -0.2000]])
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
    """The table `[sampler.start]` with kind `gaussian`."""

    sd: NonNegativeOrSchedule = Field(description="standard deviation per coordinate, in units of the input")
    projected: bool = Field(False, description="bring the start into the projections' sets first")


def gaussian(anchor: Tensor, xi: Tensor, sd: float) -> Tensor:
    """The anchor with normal noise."""
    return anchor + sd * xi


def reduces(parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Noise of scale 0 is none, and nothing is drawn."""
    return None if parameters["sd"] else ("zero", {})


PRIMITIVE = Primitive(Parameters, gaussian, draws=("normal",), reduces=reduces, cites=("jagatap2021atent",))
