"""MART's outer loss: boosted cross entropy at the point, and a divergence that weighs most where x is misclassified.

    L(z) = -log p(z)[y] - log(1.0001 - p(z)[j] + 1e-12) + beta KL(p(x) || p(z)) (1.0000001 - p(x)[y])

j is the likeliest wrong class at z, the first of equals; p the softmax of f (Wang et al., Eq. 8 to 11, with the small
numbers of the published code). Everything is differentiated, the weight 1 - p(x)[y] too. Of one class alone none is
wrong, and p(z)[j] is 0. Not the margin loss: probabilities are compared with 1, not with each other.
Shapes: logits and clean `(batch, classes)`, y `(batch,)`, result `(batch,)`, in nats.

>>> import torch
>>> z, x = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0986]])
>>> PRIMITIVE.function(z, torch.tensor([1]), x, beta=5.0)  # log 2 + log 2 + 5 * 0.1308 / 4
tensor([1.5496])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from atentdsl.primitives.lazy import torch
from atentdsl.primitives.objective import Objective
from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.slots import PositiveOrSchedule
from atentdsl.primitives.tensors import boosted_cross_entropy, kl_divergence

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Objective):
    """The table `[objective]` with kind `mart`."""

    beta: PositiveOrSchedule = Field(description="β, weight of the divergence: 5 or 6 for CIFAR-10, λ in the code")


def mart(logits: Tensor, y: Tensor, clean: Tensor, beta: float) -> Tensor:
    """Boosted cross entropy of logits, and beta times the weighed divergence from clean to logits, per example."""
    confident = torch.softmax(clean, dim=1).gather(1, y[:, None])[:, 0]
    divergence = kl_divergence(clean, logits) * (1.0000001 - confident)
    return boosted_cross_entropy(logits, y) + beta * divergence


PRIMITIVE = Primitive(Parameters, mart, cites=("wang2020mart",))
