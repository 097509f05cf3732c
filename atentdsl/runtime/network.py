"""The network passes that a generated step asks for: gradients in the input, gradients in the weights, losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from atentdsl.runtime.points import Density
from atentdsl.runtime.streams import Streams

Loss = Callable[[Tensor, Tensor], Tensor]
Mode = Literal["train", "eval", "frozen"]


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


def density(model: nn.Module, z: Tensor, y: Tensor, loss: Loss, rng: Streams, mode: Mode) -> Density:
    """The loss of each example at z and the gradient of their sum in z: one forward, one activation backward."""
    point = z.detach().requires_grad_()
    losses = _losses(model, z, point, y, loss, rng, mode)
    (g,) = torch.autograd.grad(losses.sum(), point)
    return Density(losses.detach(), g)


def weight_gradient(
    model: nn.Module, z: Tensor, y: Tensor, loss: Loss, rng: Streams, weight: float, mode: Mode = "train"
) -> Tensor:
    """Adds the gradient of weight * (sum of losses) to the weights' gradients, z held constant.

    Returns:
        weight * (sum of losses), detached, still on the device.
    """
    signal = weight * _losses(model, z, z.detach(), y, loss, rng, mode).sum()
    signal.backward()  # type: ignore[no-untyped-call]
    return signal.detach()


def example_losses(model: nn.Module, z: Tensor, y: Tensor, loss: Loss, rng: Streams, mode: Mode) -> Tensor:
    """The loss of each example at z, `(batch,)`, without a gradient: one forward."""
    with torch.no_grad():
        return _losses(model, z, z, y, loss, rng, mode)


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
    model.train(mode != "eval")
    if mode == "eval":  # draws no mask
        return loss(model(point), y)
    with rng.same_masks(z), _buffers_apart(model, mode == "frozen"):
        return loss(model(point), y)


@contextmanager
def _buffers_apart(model: nn.Module, apart: bool) -> Iterator[None]:
    """Within the block, if asked for, the network writes its running statistics to copies that nobody keeps.

    Copies, and not the old values written back: autograd would take the buffers that it has saved for changed ones.
    """
    own = [(part._buffers, dict(part._buffers)) for part in model.modules() if part._buffers] if apart else []
    for place, buffers in own:
        place.update({name: None if buffer is None else buffer.clone() for name, buffer in buffers.items()})
    try:
        yield
    finally:
        for place, buffers in own:
            place.update(buffers)
