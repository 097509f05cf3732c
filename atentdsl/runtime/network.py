"""The network passes that a generated step asks for: gradients in the input, gradients in the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from atentdsl.runtime.streams import Streams

Loss = Callable[[Tensor, Tensor], Tensor]
Mode = Literal["train", "eval"]


def input_gradient(model: nn.Module, z: Tensor, y: Tensor, loss: Loss, rng: Streams, mode: Mode) -> Tensor:
    """The gradient of the summed loss in the input, `(batch, *input)`: one forward, one activation backward.

    Args:
        model: maps z to logits `(batch, classes)`.
        z: the points, `(batch, *input)`.
        y: the labels, `(batch,)`.
        loss: logits and labels to a loss per example.
        rng: gives a point one dropout mask.
        mode: the network's mode.
    """
    point = z.detach().requires_grad_()
    (g,) = torch.autograd.grad(_losses(model, z, point, y, loss, rng, mode).sum(), point)
    return g


def weight_gradient(model: nn.Module, z: Tensor, y: Tensor, loss: Loss, rng: Streams, weight: float) -> Tensor:
    """Adds the gradient of weight * (sum of losses) to the weights' gradients, in train mode, z held constant.

    Returns:
        weight * (sum of losses), detached, still on the device.
    """
    signal = weight * _losses(model, z, z.detach(), y, loss, rng, "train").sum()
    signal.backward()  # type: ignore[no-untyped-call]
    return signal.detach()


@contextmanager
def weights_frozen(model: nn.Module) -> Iterator[None]:
    """Within the block no weight asks for a gradient, so autograd saves nothing for one."""
    asking = [p for p in model.parameters() if p.requires_grad]
    for p in asking:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in asking:
            p.requires_grad_(True)


def _losses(model: nn.Module, z: Tensor, point: Tensor, y: Tensor, loss: Loss, rng: Streams, mode: Mode) -> Tensor:
    model.train(mode == "train")
    if mode == "train":  # eval mode draws no mask
        rng.same_masks(z)
    return loss(model(point), y)
