"""l2 coupling: the target density falls off with the squared distance to the anchor.

    energy  gamma / 2 * ||z - x||^2,   pull  -grad = gamma * (x - z)            (Jagatap et al., Eq. 4 and 9)

Shapes: z, anchor `(batch, *input)`; energy `(batch,)`. Units: gamma per squared unit of the input. With `per = "time"`
the kernel's step size multiplies the pull, as in Eq. 9; with `per = "move"` it does not, as in the published code,
whose gamma is step_size times the paper's.

>>> import torch
>>> l2_pull(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2), gamma=0.5)
tensor([[-0.5000,  0.0000]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The inline table `coupling` with kind `l2`."""

    gamma: NonNegativeOrSchedule = Field(description="γ, strength of the pull towards the anchor")
    per: Literal["time", "move"] = Field("time", description="whether the step size multiplies the pull")


def l2_pull(z: Tensor, anchor: Tensor, gamma: float) -> Tensor:
    """The force towards the anchor: minus the energy's gradient."""
    return gamma * (anchor - z)


def l2_energy(z: Tensor, anchor: Tensor, gamma: float) -> Tensor:
    """What the coupling subtracts from the target's energy, per example."""
    return gamma / 2 * (z - anchor).flatten(1).square().sum(dim=1)


PRIMITIVE = Primitive(Parameters, l2_pull, energy=l2_energy, cites=("jagatap2021atent",))
