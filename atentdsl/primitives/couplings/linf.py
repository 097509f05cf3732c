"""l-infinity coupling: the target density falls off with the largest displacement of a coordinate.

    energy  gamma / 2 * ||z - x||_inf,   pull  -grad = gamma / 2 * sign(x_i - z_i) at the one i = argmax |z_i - x_i|

(Jagatap et al., Assumption 3 and Eq. 13, which prints gamma where the gradient is gamma / 2.) The pull moves one
coordinate at a time, and the paper reports that chains with it fail to converge; it is here so that this can be seen.
Shapes: z, anchor `(batch, *input)`; energy `(batch,)`. Units: gamma per unit of the input. At z = x the pull is 0.

>>> import torch
>>> linf_pull(torch.tensor([[0.5, -1.0, 0.0]]), torch.zeros(1, 3), gamma=0.5)
tensor([[0.0000, 0.2500, 0.0000]])
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
    """The inline table `coupling` with kind `linf`."""

    gamma: NonNegativeOrSchedule = Field(description="γ, twice the strength of the pull towards the anchor")
    per: Literal["time", "move"] = Field("time", description="whether the step size multiplies the pull")


def linf_pull(z: Tensor, anchor: Tensor, gamma: float) -> Tensor:
    """The force towards the anchor: minus the energy's gradient, at the coordinate that is farthest off."""
    d = (anchor - z).flatten(1)
    farthest = d.abs().argmax(dim=1, keepdim=True)
    pull = torch.zeros_like(d).scatter(1, farthest, gamma / 2 * d.gather(1, farthest).sign())
    return pull.view_as(z)


def linf_energy(z: Tensor, anchor: Tensor, gamma: float) -> Tensor:
    """What the coupling subtracts from the target's energy, per example."""
    return gamma / 2 * (z - anchor).flatten(1).abs().amax(dim=1)


PRIMITIVE = Primitive(Parameters, linf_pull, energy=linf_energy, cites=("jagatap2021atent",))
