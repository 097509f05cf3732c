"""Interval bound propagation: cross entropy at the input, and at the worst logits that its ball can have.

    L(x) = kappa CE(f(x), y)  +  (1 - kappa) CE(z, y)                                   (Gowal et al., 2018)

z_j - z_y is an upper bound of f(x')_j - f(x')_y for all x' within `radius` of x in l-infinity and in [0, 1]. The bounds
go through the network as a centre and a radius for each unit, mu' = W mu + b and r' = |W| r; the last layer, where it
is linear, is bounded in the differences to the label's logit and not in each logit by itself, which is tighter. They
are of the network in eval mode, and computed in float32 whatever the step's precision is, as bfloat16 rounds more than
they leave; f(x) is evaluated in train mode, as every signal is. An x where CE(z, y) < log 2 is certified: no point of
the ball is in another class, which is more than that no attack finds one. No sampler's points are read, so none may be.
Two schedules are usual: the radius grows from 0, and kappa falls from 1. Not the `kappa` of the objective `margin`.
Shapes: logits and worst `(batch, classes)`, y `(batch,)`, result `(batch,)`, in nats. Inputs are in [0, 1].

>>> import torch
>>> z, worst = torch.tensor([[0.0, 1.0986]]), torch.tensor([[0.0, 0.0]])
>>> PRIMITIVE.function(z, torch.tensor([1]), worst, kappa=0.5)  # (log(4/3) + log 2) / 2
tensor([0.4904])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atentdsl.primitives.objective import Objective
from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.slots import UnitOrSchedule
from atentdsl.primitives.tensors import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Objective):
    """The table `[objective]` with kind `interval_bound`."""

    kappa: UnitOrSchedule = Field(description="κ, share of the cross entropy at the input itself")
    radius: UnitOrSchedule = Field(description="of the l-infinity ball that is bounded, in units of inputs in [0, 1]")


def interval_bound(logits: Tensor, y: Tensor, worst: Tensor, kappa: float) -> Tensor:
    """Cross entropy of logits and of the worst logits, kappa and 1 - kappa of them, per example."""
    return kappa * cross_entropy(logits, y) + (1 - kappa) * cross_entropy(worst, y)


def reduces(parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """With nothing of the bounds in it, cross entropy."""
    return ("cross_entropy", {}) if parameters.get("kappa") == 1 else None


PRIMITIVE = Primitive(Parameters, interval_bound, reduces=reduces, cites=("gowal2018ibp",))
