"""Stochastic gradient descent on the signal, with momentum and weight decay: w <- w - lr * direction.

torch.optim.SGD's conventions: the decay is added to the gradient, the momentum buffer starts at the first gradient.
(Jagatap et al., Eq. 7; Alg. 1 line 13)

>>> import torch
>>> sgd([torch.zeros(1, requires_grad=True)], 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4).defaults["nesterov"]
True
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atentdsl.primitives.lazy import torch
from atentdsl.primitives.outer import Outer
from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule, ShareOrSchedule

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


class Parameters(Outer):
    """The table `[optimizer]` with kind `sgd`."""

    momentum: ShareOrSchedule = Field(0.0, description="share of the previous direction kept")
    nesterov: bool = Field(False, description="look ahead along the momentum")
    weight_decay: NonNegativeOrSchedule = Field(0.0, description="share of the weights added to the gradient")


def sgd(parameters: Iterable[Tensor], lr: float, momentum: float, nesterov: bool, weight_decay: float) -> Optimizer:
    """The optimizer over these weights."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def conflicts(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Nesterov's look-ahead needs a momentum, from the first step on."""
    if parameters["nesterov"] and isinstance(parameters["momentum"], Kinded):
        message = "`nesterov` needs a momentum from the first step on, and a schedule may begin at 0"
        return [("nesterov", message, "write `momentum` as a number, or drop `nesterov`")]
    if parameters["nesterov"] and not parameters["momentum"]:
        return [("nesterov", "`nesterov` needs a momentum", "set `momentum`, for example 0.9, or drop `nesterov`")]
    return []


PRIMITIVE = Primitive(Parameters, sgd, conflicts=conflicts, cites=("jagatap2021atent",))
