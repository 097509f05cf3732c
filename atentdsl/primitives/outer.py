"""What every outer optimizer has: how long it trains, its learning rate, and where it updates perturbed weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded
from atentdsl.primitives.slots import OneOf


class Outer(Kinded):
    """What a table `[optimizer]` takes, whatever its kind.

    `restore` matters where a sampler perturbs the weights by v: `before_update` takes v away and updates at w;
    `after_update` updates at w + v and then takes v away, as the published code of adversarial weight perturbation
    does. Under weight decay the two differ by -lr * decay * v.

    `on_divergence = "rollback"` makes the epoch again in which the loss or a weight was no finite number, from where it
    began, with half the learning rate, which stays halved; the fourth time training ends.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)] = Field(description="passes over the training set")
    lr: Annotated[Kinded, OneOf("schedules", "constant", number="value")] = Field(description="learning rate η")
    restore: Literal["before_update", "after_update"] = Field(
        "before_update", description="when a perturbation of the weights is taken away"
    )
    on_divergence: Literal["stop", "rollback"] = Field(
        "stop",
        description="where a number is not finite: end, or go back to the epoch's begin with half the learning rate, "
        "three times at most",
    )
