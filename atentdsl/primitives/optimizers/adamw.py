"""AdamW on the signal: adaptive moments with decoupled weight decay (Loshchilov and Hutter, Alg. 2).

>>> import torch
>>> adamw([torch.zeros(1, requires_grad=True)], 1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01).defaults["betas"]
(0.9, 0.999)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from atentdsl.primitives.lazy import torch
from atentdsl.primitives.outer import Outer
from atentdsl.primitives.primitive import Positive, Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

Beta = Annotated[float, Field(ge=0, lt=1)]


class Parameters(Outer):
    """The table `[optimizer]` with kind `adamw`."""

    betas: Annotated[list[Beta], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [0.9, 0.999], description="decay of the first and second moments"
    )
    eps: Positive = Field(1e-8, description="added to the root of the second moment")
    weight_decay: NonNegativeOrSchedule = Field(
        0.01, description="share of the weights taken away, times the learning rate"
    )


def adamw(parameters: Iterable[Tensor], lr: float, betas: list[float], eps: float, weight_decay: float) -> Optimizer:
    """The optimizer over these weights."""
    return torch.optim.AdamW(parameters, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay)


PRIMITIVE = Primitive(Parameters, adamw, cites=("loshchilov2019adamw",))
