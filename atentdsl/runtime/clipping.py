"""The signal's gradient, clipped to a length before the optimizer moves along it."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["clip_gradient"]


def clip_gradient(model: nn.Module, limit: float) -> None:
    """Multiplies the gradients of all weights, as one vector, so that its l2 norm is at most the limit.

        g <- g * limit / ||g|| where ||g|| > limit, g as it is elsewhere, and so 0 where it is 0

    Nothing waits for the device. A gradient that is not finite leaves none that is, for the checks of the loop to find.
    `torch.nn.utils.clip_grad_norm_` divides by the norm plus 1e-6 instead.

    Args:
        model: its weights hold the gradients gathered.
        limit: in units of the signal divided by those of a weight.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.weight.grad = torch.tensor([[3.0, 4.0]])
    >>> clip_gradient(model, limit=1.0)
    >>> model.weight.grad
    tensor([[0.6000, 0.8000]])
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if gradients:
        norm = torch.nn.utils.get_total_norm(gradients)
        torch._foreach_mul_(gradients, torch.where(norm > limit, limit / norm, 1.0))
