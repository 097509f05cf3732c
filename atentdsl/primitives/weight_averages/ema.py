"""Exponential moving average of the weights, over steps.

    a_1 = w_1,   a_t = decay a_(t-1) + (1 - decay) w_t              (Tarvainen, Valpola, 2017; Gowal et al., 2020)

t counts outer steps from the first one of epoch `from_epoch` on, and w_t are the weights after it. Buffers of floats,
a batch norm's running statistics above all, are averaged likewise; others are the network's own. A decay of 0 follows
the weights. Not the averaging of a sampler, which weighs the points of one step: training never moves along this one.
Costs no network pass: after each step one pass over the weights' memory, and one more copy of the weights.

>>> [ema_share(t, decay=0.75) for t in (1, 2, 3)]
[1.0, 0.25, 0.25]
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.weight_average import WeightAverage


class Parameters(WeightAverage):
    """The table `[optimizer.weight_averaging]` with kind `ema`."""

    every: ClassVar = "step"
    statistics: ClassVar = "averaged"
    costs: ClassVar = "after each step one pass over the weights' memory, no network pass; one more copy of the weights"

    decay: Annotated[float, Field(ge=0, lt=1)] = Field(description="share of the average that each step keeps")


def ema_share(t: int, decay: float) -> float:
    """The share that the weights have in their average, being the t-th that enter it."""
    return 1.0 if t == 1 else 1.0 - decay


PRIMITIVE = Primitive(Parameters, ema_share, cites=("tarvainen2017mean", "gowal2020uncovering"))
