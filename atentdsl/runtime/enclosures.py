"""Boxes that hold whatever values a network's units can have, and what each kind of layer makes of one.

A box is a centre and a radius a unit. The tables say which layers and functions a box can go through; each rule takes
the layer, where there is one, and the box, and gives the smallest box around all values that it can have in eval mode,
each unit by itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional

from atentdsl.runtime.normalise import Normalise

__all__ = ["CONSTANT_FACTOR", "FUNCTIONS", "METHODS", "MODULES", "SHAPES", "Enclosure", "fault"]


@attrs.frozen(eq=False)
class Enclosure:
    """All values within `radius` of `centre`, unit by unit, `(batch, ...)` both.

    >>> box = Enclosure(torch.tensor([[1.0]]), torch.tensor([[0.5]]))
    >>> box.low, box.high
    (tensor([[0.5000]]), tensor([[1.5000]]))
    """

    centre: Tensor
    radius: Tensor

    @property
    def low(self) -> Tensor:
        """The least values."""
        return self.centre - self.radius

    @property
    def high(self) -> Tensor:
        """The largest values."""
        return self.centre + self.radius

    @classmethod
    def between(cls, low: Tensor, high: Tensor) -> Enclosure:
        """The box with these ends."""
        return cls((low + high) / 2, (high - low) / 2)


Layer = Callable[[Any, Enclosure], Enclosure]


def _linear(layer: nn.Linear, box: Enclosure) -> Enclosure:
    """W mu + b, |W| r."""
    return Enclosure(
        functional.linear(box.centre, layer.weight, layer.bias), functional.linear(box.radius, layer.weight.abs())
    )


def _convolution(layer: nn.Conv2d, box: Enclosure) -> Enclosure:
    """The same; padding is linear too, and no smaller where it repeats."""
    centre = layer._conv_forward(box.centre, layer.weight, layer.bias)
    return Enclosure(centre, layer._conv_forward(box.radius, layer.weight.abs(), None))


def _batch_norm(layer: nn.BatchNorm2d, box: Enclosure) -> Enclosure:
    """By its running statistics: a gain and a shift for each channel; the gain may be negative."""
    mean, var, weight = layer.running_mean, layer.running_var, layer.weight
    assert var is not None, "asked for by `fault`"
    centre = functional.batch_norm(box.centre, mean, var, weight, layer.bias, training=False, eps=layer.eps)
    gain = (var + layer.eps).rsqrt() if weight is None else weight.abs() * (var + layer.eps).rsqrt()
    return Enclosure(centre, box.radius * gain.view(-1, *[1] * (centre.dim() - 2)))


def _normalise(layer: Normalise, box: Enclosure) -> Enclosure:
    """Deviations are above zero."""
    return Enclosure(layer(box.centre), box.radius / layer.std.view(-1, *[1] * (box.radius.dim() - 2)))


def _on_both(layer: Any, box: Enclosure) -> Enclosure:
    """Linear, without a constant, and of no negative weight: averages and other shapes."""
    return Enclosure(layer(box.centre), layer(box.radius))


def _increasing(layer: Any, box: Enclosure) -> Enclosure:
    """The ends go to the ends."""
    return Enclosure.between(layer(box.low), layer(box.high))


def _as_it_is(layer: Any, box: Enclosure) -> Enclosure:
    """In eval mode it does nothing."""
    return box


MODULES: Mapping[type[nn.Module], Layer] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Tanh, nn.Sigmoid), _increasing),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool2d), _increasing),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool2d), _on_both),
    **dict.fromkeys((nn.Flatten, nn.Unflatten), _on_both),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), _as_it_is),
    Normalise: _normalise,
}
"""The layers that a box can go through, by their very class: another one's forward may do anything."""


def fault(layer: nn.Module) -> str:
    """Why a box cannot go through a layer of one of these classes as it is; empty where it can."""
    if layer._forward_hooks or layer._forward_pre_hooks:
        return "it has hooks, which can change what goes through it"
    if getattr(layer, "return_indices", False):
        return "it returns indices beside its values"
    if isinstance(layer, nn.LeakyReLU) and layer.negative_slope < 0:
        return "it is not increasing"
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None:
        return "it keeps no running statistics, and so couples the examples of a batch in eval mode too"
    return ""


def _sum(one: Any, other: Any) -> Enclosure:
    """Of two boxes, or of a box and a constant."""
    if not isinstance(one, Enclosure):
        return Enclosure(one + other.centre, other.radius)
    if not isinstance(other, Enclosure):
        return Enclosure(one.centre + other, one.radius)
    return Enclosure(one.centre + other.centre, one.radius + other.radius)


def _difference(one: Any, other: Any) -> Enclosure:
    """The same, of a difference: radii add."""
    turned = Enclosure(-other.centre, other.radius) if isinstance(other, Enclosure) else -other
    return _sum(one, turned)


def _product(one: Any, other: Any) -> Enclosure:
    """Of a box and a constant, which may be negative."""
    box, factor = (one, other) if isinstance(one, Enclosure) else (other, one)
    return Enclosure(box.centre * factor, box.radius * abs(factor))


def _quotient(box: Enclosure, divisor: Any) -> Enclosure:
    """By a constant, which may be negative."""
    return Enclosure(box.centre / divisor, box.radius / abs(divisor))


def _relu(box: Enclosure, inplace: bool = False) -> Enclosure:
    return _increasing(torch.relu, box)


def _flatten(box: Enclosure, start_dim: int = 0, end_dim: int = -1) -> Enclosure:
    return _on_both(lambda tensor: tensor.flatten(start_dim, end_dim), box)


def _reshape(box: Enclosure, *shape: Any) -> Enclosure:
    return _on_both(lambda tensor: tensor.reshape(*shape), box)


FUNCTIONS: Mapping[Any, Callable[..., Enclosure]] = {
    **dict.fromkeys((operator.add, torch.add), _sum),
    **dict.fromkeys((operator.sub, torch.sub), _difference),
    **dict.fromkeys((operator.mul, torch.mul), _product),
    **dict.fromkeys((operator.truediv, torch.div), _quotient),
    **dict.fromkeys((torch.relu, functional.relu), _relu),
    torch.flatten: _flatten,
}
"""The functions that a box can go through; of plain numbers and tensors, which no box is in, any function may be."""

CONSTANT_FACTOR = frozenset({operator.mul, torch.mul, operator.truediv, torch.div})
"""Those of them that take one box, and a divisor that is none."""

METHODS: Mapping[str, Callable[..., Enclosure]] = {
    "add": _sum,
    "relu": _relu,
    "flatten": _flatten,
    "view": _reshape,
    "reshape": _reshape,
}
"""The methods of tensors that a box can go through."""

SHAPES = frozenset({"size", "dim", "shape"})
"""What is asked of a tensor's shape, and is the same for every value in the box."""
