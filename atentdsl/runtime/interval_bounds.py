"""Interval bounds: what a network's logits can be while its input moves in a box (Gowal et al., 2018).

Each unit has a centre mu and a radius r, and goes through the layers as

    linear maps          mu' = W mu + b,  r' = |W| r          (convolutions, average pooling, batch norm in eval mode)
    increasing maps      f(mu - r) and f(mu + r) are the ends          (ReLU and its like, max pooling)
    sums                 mu' = mu_1 + mu_2,  r' = r_1 + r_2          (residual blocks)

which costs two forwards. The bounds are of the network in eval mode, whatever mode it is in, and change nothing of it.
They hold in exact arithmetic, and are computed in the type of the weights and inputs: float32 in training, also where a
step's passes run in bfloat16, which rounds more coarsely than what is bounded.

A network is followed once (`following`), and each part of it looked up in the tables of `enclosures`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

from atentdsl.runtime.enclosures import MODULES, Enclosure
from atentdsl.runtime.following import Followed, follow
from atentdsl.runtime.precision import Prepared

__all__ = ["bounds", "require_bounds", "worst_logits"]


_FOLLOWED: WeakKeyDictionary[nn.Module, Followed] = WeakKeyDictionary()


def require_bounds(model: nn.Module) -> None:
    """Asks for a network that bounds can go through.

    Raises:
        BoundsUnknown: they cannot; names the part of it, and what is supported.

    >>> require_bounds(nn.Sequential(nn.Linear(2, 2), nn.GELU()))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    atentdsl.runtime.errors.BoundsUnknown: interval bounds cannot go through layer `1` (GELU): no rule is known for it
    they go through linear layers, convolutions, ReLU, ...
    """
    _followed(model)


def bounds(model: nn.Module, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """A lower and an upper bound of each logit over all inputs from low to high, `(batch, classes)` both.

    Args:
        model: maps `(batch, *input)` to logits `(batch, classes)`; in eval mode, whatever mode it is in.
        low, high: the least and the largest coordinates, `(batch, *input)`.

    Raises:
        BoundsUnknown: as for `require_bounds`.

    >>> model = nn.Linear(2, 1, bias=False).requires_grad_(False)
    >>> _ = model.weight.copy_(torch.tensor([[1.0, -2.0]]))
    >>> bounds(model, torch.zeros(1, 2), torch.ones(1, 2))
    (tensor([[-2.]]), tensor([[1.]]))
    """
    box, layer = _before_the_last(model, low, high)
    box = box if layer is None else MODULES[nn.Linear](layer, box)
    return box.low, box.high


def worst_logits(model: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """Upper bounds of each logit less that of the label, over the ball around x, `(batch, classes)`; the label's is 0.

    Where all the others are below 0, no point of the ball is in another class. As logits they are as bad as the ball
    can make them, up to a number for each example that is the same for all classes. A linear last layer is bounded in
    the differences W_j - W_y, which is tighter than in each logit by itself.

    Args:
        model: as for `bounds`.
        x: inputs, `(batch, *input)`.
        y: labels, `(batch,)`.
        radius: of the l-infinity ball around x, cut by the box [0, 1].

    Raises:
        BoundsUnknown: as for `require_bounds`.

    >>> worst_logits(nn.Identity(), torch.tensor([[0.25, 1.0]]), torch.tensor([1]), radius=0.5)
    tensor([[0.2500, 0.0000]])
    """
    box, layer = _before_the_last(model, (x - radius).clamp(0, 1), (x + radius).clamp(0, 1))
    if layer is not None:
        return _differences(layer, box, y)
    label = y[:, None]
    return (box.high - box.low.gather(1, label)).scatter(1, label, 0.0)


def _differences(layer: nn.Linear, box: Enclosure, y: Tensor) -> Tensor:
    """The upper bounds of (W_j - W_y) h + b_j - b_y over the h in the box."""
    weight = layer.weight - layer.weight[y][:, None]  # (batch, classes, units)
    found = (weight @ box.centre[:, :, None] + weight.abs() @ box.radius[:, :, None])[:, :, 0]
    return found if layer.bias is None else found + layer.bias - layer.bias[y][:, None]


def _before_the_last(model: nn.Module, low: Tensor, high: Tensor) -> tuple[Enclosure, nn.Linear | None]:
    """The box that goes into the linear last layer, and the layer; or the box of the logits and None."""
    own = model.network if isinstance(model, Prepared) else model  # not what runs its passes in another number format
    followed = _followed(own)
    values: dict[fx.Node, Any] = {followed.input: Enclosure.between(low, high)}
    with _not_rounded(low):
        for step in followed.steps:
            given = fx.node.map_arg((step.node.args, step.node.kwargs), values.__getitem__)
            values[step.node] = step.apply(own, *given[0], **given[1])
            for dead in step.dead:
                del values[dead]
    layer: Any = None if followed.last is None else own.get_submodule(followed.last)
    return values[followed.output], layer


@contextmanager
def _not_rounded(x: Tensor) -> Iterator[None]:
    """Within the block convolutions on a GPU multiply float32 numbers as they are, not cut to ten bits (TF32)."""
    if not x.is_cuda:
        yield
        return
    now = torch.backends.cudnn
    with now.flags(now.enabled, now.benchmark, now.benchmark_limit, now.deterministic, allow_tf32=False):
        yield


def _followed(model: nn.Module) -> Followed:
    """The network's operations, found out once."""
    if model not in _FOLLOWED:
        _FOLLOWED[model] = follow(model)
    return _FOLLOWED[model]
