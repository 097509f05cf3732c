"""What every averaging has: what its weights weigh, and how restarts are brought together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded
from atentdsl.primitives.slots import PositiveOrSchedule


class Average(Kinded):
    """What a table `[sampler.averaging]` takes, whatever its kind.

    With `of = "displacement"`, for the space of the weights alone, the signal is 1/2 gain sum_k c_k ||w - w'^k||^2 with
    w' held constant, and its gradient gain (w - mu): Entropy-SGD, where gain is gamma in Jagatap et al., Alg. 3 line
    11, and 1 in the reference code. Over restarts, `mean` divides the weights by their number; `worst` keeps for each
    example the chain whose last point has the highest target loss, the earliest of equals.
    """

    of: Literal["gradient", "displacement"] = Field("gradient", description="what is averaged at the points")
    gain: PositiveOrSchedule = Field(1.0, description="factor of the displacement's gradient")
    over_restarts: Literal["mean", "worst"] = Field("mean", description="what restarts hand on")
