"""The target density of a sampler, p(z) proportional to exp E(z) with E(z) = beta * L(z) - coupling(z, anchor).

Per example (Jagatap et al., Eq. 3 and 4). `direction = "descend"` turns beta's sign (Eq. 16).
`reduction = "batch_mean"` divides the loss's gradient by the batch, as Alg. 1 line 7 prints, and leaves the coupling
its size. Weights have one density, and the loss is the batch's mean.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Part
from atentdsl.primitives.slots import NameOf, OneOf, PositiveOrSchedule


class Target(Part):
    """The table `[sampler.target]`."""

    loss: Annotated[str, NameOf("targets")] = Field("cross_entropy", description="L, per example")
    direction: Literal["ascend", "descend"] | None = Field(
        None, description="towards high loss, or low; to be written for weights, ascend for data"
    )
    beta: PositiveOrSchedule = Field(1.0, description="β, inverse temperature of the loss")
    reduction: Literal["per_example", "batch_mean"] = Field("per_example", description="one density each, or β/n")
    coupling: Annotated[Kinded, OneOf("couplings", "none")] = Field(
        default_factory=lambda: Kinded(kind="none"), description="what holds the point near its anchor"
    )


class Climbed(Part):
    """The table `[sampler.target]` of a sampler that climbs a loss and samples no density."""

    loss: Annotated[str, NameOf("targets")] = Field("cross_entropy", description="L, per example")
