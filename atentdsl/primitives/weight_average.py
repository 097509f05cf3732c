"""What every average of the weights has: when it begins, what enters it, and what it costs beside the steps."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded


class WeightAverage(Kinded):
    """What a table `[optimizer.weight_averaging]` takes, whatever its kind.

    From the epoch on where it exists, the network with averaged weights is what is measured on held-out images,
    selected and kept; the optimizer, and every sampler, go on from the weights themselves.

    Attributes:
        every: after what the weights enter it.
        statistics: whether running statistics are averaged beside them, or estimated anew before it is measured.
        costs: beside the steps.
    """

    every: ClassVar[Literal["step", "epoch"]]
    statistics: ClassVar[Literal["averaged", "estimated"]]
    costs: ClassVar[str]

    from_epoch: Annotated[int, Field(ge=1, le=100_000)] = Field(1, description="the first epoch whose weights enter it")
