"""The network passes that a generated step asks for: gradients in the input, gradients in the weights, losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import Tensor, nn

from atentdsl.runtime.interval_bounds import worst_logits
from atentdsl.runtime.points import Density
from atentdsl.runtime.smoothing import Average, copies, mean_losses, mean_probabilities, tiled
from atentdsl.runtime.streams import Streams

Loss = Callable[..., Tensor]
Mode = Literal["train", "eval", "frozen"]
Noise = Sequence[Tensor]


def input_gradient(
    model: nn.Module,
    z: Tensor,
    y: Tensor,
    loss: Loss,
    rng: Streams,
    mode: Mode,
    noise: Noise = (),
    average: Average = "losses",
) -> Tensor:
    """The gradient of the summed loss in the input, `(batch, *input)`: one forward, one activation backward.

    Args:
        model: maps z to logits `(batch, classes)`.
        z: the points, `(batch, *input)`.
        y: what the loss compares the logits with: the labels, `(batch,)`, or clean logits, `(batch, classes)`, one row
            for each copy where losses are averaged.
        loss: logits and y to a loss per example.
        rng: gives a point one dropout mask.
        mode: the network's mode.
        noise: of a smoothing, each of z's shape: the network sees z with each of them, and not z; none where it is not
            smoothed.
        average: what is averaged over these copies, `probabilities` or `losses`.
    """
    point = z.detach().requires_grad_()
    (g,) = torch.autograd.grad(_losses(model, z, point, y, loss, rng, mode, noise, average).sum(), point)
    return g


def density(model: nn.Module, z: Tensor, y: Tensor, loss: Loss, rng: Streams, mode: Mode) -> Density:
    """The loss of each example at z and the gradient of their sum in z: one forward, one activation backward."""
    point = z.detach().requires_grad_()
    losses = _losses(model, z, point, y, loss, rng, mode)
    (g,) = torch.autograd.grad(losses.sum(), point)
    return Density(losses.detach(), g)


def weight_gradient(
    model: nn.Module,
    z: Tensor,
    y: Tensor,
    loss: Loss,
    rng: Streams,
    weight: float,
    mode: Mode = "train",
    clean: Tensor | None = None,
    reads: int = 1,
    forwards: int = 1,
    noise: Noise = (),
    average: Average = "losses",
    chosen: Tensor | None = None,
    radius: float | None = None,
) -> Tensor:
    """Adds the gradient of weight * (sum of losses) to the weights' gradients, z held constant.

    The sum itself is differentiated, and its gradient multiplied: so a point's gradients are the same bits whether the
    one in the input is asked for beside them or apart.

    Args:
        model, z, y, loss, rng, mode, noise, average: as for `input_gradient`.
        weight: of each example's loss.
        clean: the clean inputs, for a loss that takes logits and y, and after them the logits at these inputs; they are
            differentiated as well.
        reads: how many clean logits the loss takes.
        forwards: how many forwards they come from; the last serves all that are left.
        chosen: what each example's loss is multiplied by, `(batch,)`; nothing where not given.
        radius: of the l-infinity ball around z, for a loss that takes logits and y, and after them the worst logits
            that interval bounds of the network in eval mode give for it; they are differentiated as well.

    Raises:
        BoundsUnknown: interval bounds are asked for, and cannot go through the network.

    Returns:
        weight * (sum of losses), detached, still on the device.
    """
    inputs = () if clean is None else (clean,) * forwards
    if radius is not None:
        loss = _bounded(model, z.detach(), loss, radius)
    losses = _losses(model, z, z.detach(), y, loss, rng, mode, noise, average, inputs, reads)
    total = (losses if chosen is None else chosen * losses).sum()
    asking = [p for p in model.parameters() if p.requires_grad]
    _gather(asking, torch.autograd.grad(total, asking, allow_unused=True), weight)
    return weight * total.detach()


def gradients(
    model: nn.Module,
    z: Tensor,
    y: Tensor,
    loss: Loss,
    rng: Streams,
    weight: float,
    mode: Mode,
    noise: Noise = (),
    average: Average = "losses",
) -> tuple[Tensor, Tensor]:
    """What `input_gradient` returns and `weight_gradient` adds, of one forward and one backward.

    Returns:
        the gradient of the summed loss in the input, `(batch, *input)`, and weight * (sum of losses).
    """
    point = z.detach().requires_grad_()
    total = _losses(model, z, point, y, loss, rng, mode, noise, average).sum()
    asking = [p for p in model.parameters() if p.requires_grad]
    g, *own = torch.autograd.grad(total, [point, *asking], allow_unused=True)
    _gather(asking, own, weight)
    return g, weight * total.detach()


def example_losses(
    model: nn.Module,
    z: Tensor,
    y: Tensor,
    loss: Loss,
    rng: Streams,
    mode: Mode,
    noise: Noise = (),
    average: Average = "losses",
) -> Tensor:
    """The loss of each example at z, `(batch,)`, without a gradient: one forward."""
    with torch.no_grad():
        return _losses(model, z, z, y, loss, rng, mode, noise, average)


def clean_logits(
    model: nn.Module, x: Tensor, rng: Streams, mode: Mode, noise: Noise = (), average: Average = "losses"
) -> Tensor:
    """The logits at the clean inputs, without a gradient: one forward.

    `(batch, classes)`; of a smoothed network whose losses are averaged those of all copies, `(draws * batch, classes)`.
    """
    with torch.no_grad(), _in_mode(model, mode):
        return _logits(model, x, x, rng, mode, noise, average)


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


def _gather(asking: Sequence[nn.Parameter], own: Sequence[Tensor | None], weight: float) -> None:
    """Adds weight times their own gradients to the gradients that the weights have: one set is kept, however many."""
    first = [(p, g) for p, g in zip(asking, own, strict=True) if g is not None and p.grad is None]
    again = [(p.grad, g) for p, g in zip(asking, own, strict=True) if g is not None and p.grad is not None]
    if again:
        torch._foreach_add_([kept for kept, _ in again], [g for _, g in again], alpha=weight)
    if first:
        torch._foreach_mul_([g for _, g in first], weight)
    for p, g in first:
        p.grad = g


def _bounded(model: nn.Module, z: Tensor, loss: Loss, radius: float) -> Loss:
    """The loss of logits and y, where the worst logits are made for it when it is asked: after the logits."""
    return lambda logits, y: loss(logits, y, worst_logits(model, z, y, radius))


def _losses(
    model: nn.Module,
    z: Tensor,
    point: Tensor,
    y: Tensor,
    loss: Loss,
    rng: Streams,
    mode: Mode,
    noise: Noise = (),
    average: Average = "losses",
    inputs: tuple[Tensor, ...] = (),
    reads: int = 1,
) -> Tensor:
    with _in_mode(model, mode):
        clean = [_logits(model, x, x, rng, mode, noise, average) for x in inputs]
        clean += clean[-1:] * (reads - len(clean))
        logits = _logits(model, z, point, rng, mode, noise, average)
        if not noise or average == "probabilities":
            return loss(logits, y, *clean)
        return mean_losses(loss(logits, tiled(y, len(noise), len(logits)), *clean), len(noise))


def _logits(
    model: nn.Module, z: Tensor, point: Tensor, rng: Streams, mode: Mode, noise: Noise, average: Average
) -> Tensor:
    """The network at the point, or at its copies, under the dropout mask of z."""
    seen = copies(point, noise)
    if mode == "eval":  # draws no mask
        logits = cast(Tensor, model(seen))
    else:
        with rng.same_masks(z):
            logits = cast(Tensor, model(seen))
    return mean_probabilities(logits, len(noise)) if noise and average == "probabilities" else logits


@contextmanager
def _in_mode(model: nn.Module, mode: Mode) -> Iterator[None]:
    """Within the block the network computes in that mode."""
    model.train(mode != "eval")
    with _buffers_apart(model, mode == "frozen"):
        yield


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
