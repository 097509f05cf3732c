"""What every outer optimizer has: how long it trains, its learning rate, and where it updates perturbed weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded
from atentdsl.primitives.slots import OneOf, PositiveOrSchedule


class Outer(Kinded):
    """What a table `[optimizer]` takes, whatever its kind.

    `restore` matters where a sampler perturbs the weights by v: `before_update` takes v away and updates at w;
    `after_update` updates at w + v and then takes v away, as the published code of adversarial weight perturbation
    does. Under weight decay the two differ by -lr * decay * v.

    `clip = C` shortens the signal's gradient over all weights before the optimizer meets it, and so before its weight
    decay and momentum: g <- g * min(1, C / ||g||), with the l2 norm. The gradients that samplers of weights move along
    are not shortened. (Pascanu et al., 2013)

    `on_divergence = "rollback"` makes the epoch again in which the loss or a weight was no finite number, from where it
    began, with half the learning rate, which stays halved; the fourth time training ends.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)] = Field(description="passes over the training set")
    lr: Annotated[Kinded, OneOf("schedules", "constant", number="value")] = Field(description="learning rate η")
    restore: Literal["before_update", "after_update"] = Field(
        "before_update", description="when a perturbation of the weights is taken away"
    )
    weight_averaging: Annotated[Kinded, OneOf("weight_averages")] | None = Field(
        None, description="an average of the weights, measured and kept in their place"
    )
    clip: PositiveOrSchedule | None = Field(
        None, description="the greatest l2 norm of the signal's gradient over all weights; no limit where not given"
    )
    on_divergence: Literal["stop", "rollback"] = Field(
        "stop",
        description="where a number is not finite: end, or go back to the epoch's begin with half the learning rate, "
        "three times at most",
    )
