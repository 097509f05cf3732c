"""The margin loss as the outer loss: a point costs what its label's lead over every other class falls short of kappa.

    L(z) = max(0, kappa + max over j other than y of f(z)_j  -  f(z)_y)               (Crammer, Singer, 2001, Eq. 4)

The multiclass hinge: 0, without a gradient, where y leads by kappa or more. Logits can grow until all do, so kappa is a
unit rather than a strength unless the weights decay. Not the target of this name, which has no bound below: a chain may
climb that for ever, weights must not descend it for ever.
Shapes: logits `(batch, classes)`, y `(batch,)`, result `(batch,)`, in units of logits; of one class alone it is 0.

>>> import torch
>>> PRIMITIVE.function(torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0]]), torch.tensor([1, 2]), kappa=3.0)
tensor([1., 5.])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from atentdsl.primitives.objective import Objective
from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.slots import PositiveOrSchedule
from atentdsl.primitives.tensors import margin

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Objective):
    """The table `[objective]` with kind `margin`."""

    kappa: PositiveOrSchedule = Field(1.0, description="κ, the lead that costs nothing, in units of logits")


def hinge(logits: Tensor, y: Tensor, kappa: float) -> Tensor:
    """What the label's lead falls short of kappa, per example."""
    return (margin(logits, y) + kappa).clamp(min=0)


PRIMITIVE = Primitive(Parameters, hinge, cites=("crammer2001multiclass",))
