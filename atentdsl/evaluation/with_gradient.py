"""A network that always has a gradient in its inputs, if only of zeros."""

from __future__ import annotations

from torch import Tensor, nn


class WithGradient(nn.Module):
    """The network, with a gradient of zero where autograd finds none: inputs compared, counted or cut off.

    Gradients are the strictest masked there, so an attack by them has to be made and to fail; it is no error of the
    network's.

    >>> import torch
    >>> class Compared(nn.Module):
    ...     def forward(self, x):
    ...         return (x > 0.5).float()
    >>> x = torch.ones(1, 2, requires_grad=True)
    >>> torch.autograd.grad(WithGradient(Compared())(x).sum(), x)
    (tensor([[0., 0.]]),)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor) -> Tensor:
        """The network's logits, `(batch, classes)`."""
        logits: Tensor = self.model(z)
        return logits + 0 * z.flatten(1)[:, :1] if z.requires_grad else logits
