"""What every kernel has: a step size, a drift, and momentum where it is asked for.

Momentum, along one chain and from zero at its start, on the loss's gradient before the drift normalises it:

    m <- mu m + N(grad L),   and the direction is m, or N(grad L) + mu m with `nesterov`

N is the identity, or magnitudes that sum to one per example (`normalise = "l1"`: Dong et al., MI-FGSM). A coupling's
pull and the noise are added after it (Entropy-SGD: Nesterov, 0.9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Part
from atentdsl.primitives.slots import NameOf, PositiveOrSchedule, ShareOrSchedule

if TYPE_CHECKING:
    from torch import Tensor


class Momentum(Part):
    """The inline table `momentum` of a kernel."""

    mu: ShareOrSchedule = Field(description="μ, share of the direction before that is kept")
    nesterov: bool = Field(False, description="look ahead along the momentum")
    normalise: Literal["none", "l1"] = Field("none", description="each gradient before it joins")


class Kernel(Kinded):
    """What a table `[sampler.kernel]` takes, whatever its kind."""

    step_size: PositiveOrSchedule = Field(description="η', in units of the input where the drift is normalised")
    drift: Annotated[str, NameOf("drifts")] = Field("raw", description="how the gradient is normalised")
    covers: Literal["loss", "energy"] = Field("loss", description="what the drift normalises")
    momentum: Momentum | None = Field(None, description="what carries over from move to move; nothing where not given")


def accumulated(velocity: Tensor, g: Tensor, mu: float) -> Tensor:
    """The momentum with one more gradient in it."""
    return mu * velocity + g


def look_ahead(g: Tensor, velocity: Tensor, mu: float) -> Tensor:
    """Nesterov's direction: the gradient, and the momentum that it is already part of."""
    return g + mu * velocity
