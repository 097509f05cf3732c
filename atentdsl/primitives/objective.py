"""What every outer loss has: the share of the signal that is plain cross entropy at the clean inputs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from atentdsl.primitives.primitive import Kinded


class Objective(Kinded):
    """What a table `[objective]` takes, whatever its kind.

        signal = (1 - clean) * (the objective at the points)  +  clean * mean over the batch of -log softmax(f(x))[y]

    The clean part enters once wherever the signal is gathered, whatever the points' number and weights: once a step,
    and once more at each point of a sampler of weights that hands on or climbs the signal. It is cross entropy under
    every kind, which TRADES, whose own includes it, then has twice. MMA adds 1/3 of it. (Ding et al., 2020)
    """

    clean: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the signal that is cross entropy at the clean inputs"
    )
