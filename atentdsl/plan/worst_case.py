"""The interpreter's own interval bounds: the network is run on pairs of a least and a largest value for each unit.

Torch's functions ask such a pair what to do with it. Nothing here is shared with what a compiled step calls, which
follows the network beforehand and keeps centres and radii:

    W x + b        from  W+ low + W- high + b  to  W+ high + W- low + b,     W+ and W- the parts above and below 0
    of each unit   from the lesser to the greater of f(low) and f(high), where f goes one way
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from atentdsl.primitives.lazy import torch


class Between:
    """What a unit can be, from `low` to `high`, as torch's functions take it.

    Attributes:
        low, high: `(batch, ...)` both.
        made_by: the input, the weights and the bias of the linear layer that made it; None where another function did.
    """

    def __init__(self, low: Any, high: Any, made_by: tuple[Between, Any, Any] | None = None) -> None:
        self.low, self.high, self.made_by = low, high, made_by

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The function at a pair, which is its first argument."""
        box, *rest = args
        named = kwargs or {}
        if function in (torch.nn.functional.linear, torch.conv2d):
            return box._weighed(function, *rest, **named)
        return box._each_end(lambda end: function(end, *rest, **named))

    def __sub__(self, other: Any) -> Between:
        return self._each_end(lambda end: end - other)

    def __truediv__(self, other: Any) -> Between:
        return self._each_end(lambda end: end / other)

    def __add__(self, other: Between) -> Between:
        return Between(self.low + other.low, self.high + other.high)

    def flatten(self, *dims: int) -> Between:
        """As a tensor's."""
        return self._each_end(lambda end: end.flatten(*dims))

    def dim(self) -> int:
        """As a tensor's."""
        return int(self.low.dim())

    @property
    def shape(self) -> Any:
        """As a tensor's."""
        return self.low.shape

    def _each_end(self, function: Callable[[Any], Any]) -> Between:
        one, other = function(self.low), function(self.high)
        return Between(torch.minimum(one, other), torch.maximum(one, other))

    def _weighed(self, function: Any, weight: Any, bias: Any = None, *rest: Any, **named: Any) -> Between:
        above, below = _parts(weight)
        low = function(self.low, above, bias, *rest, **named) + function(self.high, below, None, *rest, **named)
        high = function(self.high, above, bias, *rest, **named) + function(self.low, below, None, *rest, **named)
        linear = function is torch.nn.functional.linear
        return Between(low, high, (self, weight, bias) if linear else None)


def _parts(weight: Any) -> tuple[Any, Any]:
    """The parts above and below 0; at 0 itself both have half the gradient, as its magnitude has none."""
    return (weight + weight.abs()) / 2, (weight - weight.abs()) / 2


def worst_logits(model: Any, x: Any, y: Any, radius: float) -> Any:
    """The most that each logit can lead that of the label by, `(batch, classes)`; 0 for the label itself.

    Over all inputs within the radius of x in l-infinity and in [0, 1], by bounds of the network in the mode it is in.
    Where a linear layer is the last, its rows are subtracted before they are bounded.

    Args:
        model: maps `(batch, *input)` to logits `(batch, classes)`; in eval mode.
        x: inputs, `(batch, *input)`.
        y: labels, `(batch,)`.
        radius: in units of inputs in [0, 1].
    """
    out = model(Between((x - radius).clamp(0, 1), (x + radius).clamp(0, 1)))
    rows = []
    for n, label in enumerate(y.tolist()):
        if out.made_by is None:
            row = out.high[n] - out.low[n, label]
            row = torch.stack([torch.zeros_like(lead) if j == label else lead for j, lead in enumerate(row)])
        else:
            box, weight, bias = out.made_by
            above, below = _parts(weight - weight[label])
            row = above @ box.high[n] + below @ box.low[n]
            row = row if bias is None else row + (bias - bias[label])
        rows.append(row)
    return torch.stack(rows)
