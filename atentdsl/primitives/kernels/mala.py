"""Metropolis-adjusted Langevin algorithm: a Langevin proposal, accepted or rejected for each example alone.

    z* = z + step_size * grad E(z) + sqrt(2 * step_size) * noise * xi,  T = noise^2             (Jagatap et al., Eq. 8)
    accepted with probability  min(1, exp((E(z*) - E(z)) / T) * q(z | z*) / q(z* | z)),
    q(b | a) = N(b; a + step_size * grad E(a), 2 * step_size * T I)                           (Roberts and Tweedie 1996)

A move that is rejected stays where it was. The chain's stationary law is p^(1/T) exactly, p proportional to exp E, at
any step_size: `langevin` has it only as step_size goes to 0. The projections are not applied to proposals, they name
the support: one outside is rejected (brought back, it would pile up on the boundary and the law would be another).
Shapes: z, proposal `(batch, *input)`; probability `(batch,)`. Units: inputs in [0, 1].

Needs mode `eval`, a loss `per_example`, and a coupling or a bounded support: else there is no density to draw from.
Write `precision = "float32"` in `[compile]`: differences of losses are divided by T, and so is bfloat16's rounding.

>>> import torch
>>> z, proposal = torch.zeros(2, 1), torch.tensor([[1.0], [1.0]])
>>> acceptance(z, proposal, z, z, gain=torch.tensor([0.5, -1.0]), step_size=0.5, noise=1.0)
tensor([1.0000, 0.3679])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from atentdsl.primitives import registry
from atentdsl.primitives.kernel import Kernel
from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.slots import PositiveOrSchedule
from atentdsl.primitives.tensors import langevin_step

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kernel):
    """The table `[sampler.kernel]` with kind `mala`."""

    covers: Literal["loss", "energy"] = Field("energy", description="what the drift covers: the energy")
    noise: PositiveOrSchedule = Field(description="ε, scale of the injected noise; its square is the temperature")


def acceptance(
    z: Tensor, proposal: Tensor, drift: Tensor, back: Tensor, gain: Tensor, step_size: float, noise: float
) -> Tensor:
    """The probability with which each example's proposal is taken, `(batch,)`.

    The squares in log q(z | z*) - log q(z* | z) are multiplied out, so that large ones need not cancel and one division
    by the temperature is left: at temperature 0 it is whether the bracket is above 0.

    Args:
        z, proposal: where the move begins, and where it would end.
        drift, back: the energy's gradients there.
        gain: E(proposal) - E(z), `(batch,)`.
        step_size, noise: the proposal's.
    """
    moved = (proposal - z).flatten(1)
    there, here = back.flatten(1), drift.flatten(1)
    along = (moved * (here + there)).sum(dim=1) / 2
    steeper = step_size / 4 * (there.square() - here.square()).sum(dim=1)
    return ((gain - along - steeper) / noise**2).exp().clamp(max=1)


def conflicts(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What the proposal's density is not written for."""
    found = []
    if parameters["drift"] != "raw":
        message = f"`mala` proposes along the energy's gradient as it is, and not along its `{parameters['drift']}`"
        found.append(("drift", message, 'write `drift = "raw"`, or take the kernel `langevin`'))
    if parameters["covers"] != "energy":
        message = "`mala` proposes along the gradient of the whole energy"
        found.append(("covers", message, 'write `covers = "energy"`, or drop it'))
    if parameters["momentum"] is not None:
        message = "with momentum a proposal depends on the moves before it, and `mala` weighs it by its own two ends"
        found.append(("momentum", message, "drop `momentum`, or take the kernel `langevin`"))
    return found


def demands(chain: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What keeps a chain from having a density for each example, whose support its projections name."""
    target, coupling = chain["target"], chain["target"].coupling
    if chain["space"] == "weights":
        message = "`mala` accepts or rejects each example's point, and weights have one for the batch"
        yield "space", message, 'write `space = "data"`, or take the kernel `langevin`'
    if chain["mode"] != "eval":
        message = f"in `{chain['mode']}` mode examples share batch statistics or dropout draws, and none has a density"
        yield "mode", message, 'write `mode = "eval"`, or take the kernel `langevin`'
    if target.reduction != "per_example":
        message = "`mala` accepts or rejects each example by a density of its own"
        yield "target.reduction", message, 'write `reduction = "per_example"`'
    if getattr(coupling, "per", "time") != "time":
        message = "a pull per move is no gradient of a density"
        yield "target.coupling", message, 'set `per = "time"`, and `gamma` to the pull divided by the step size'
    if not chain["projection"] and getattr(coupling, "gamma", 0) == 0:
        message = "neither a coupling nor a projection bounds this chain, and its density has no finite mass"
        mend = 'add `coupling = { kind = "l2", gamma = 1.0 }` to `[sampler.target]`, or a projection, a ball or the box'
        yield "kernel.kind", message, mend
    yield from _support(chain)


def _support(chain: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The projections name a set that stands still, and the start lies in it."""
    for j, projection in enumerate(chain["projection"]):
        radius = getattr(projection, "radius", None)
        if registry.primitive("projections", projection.kind).inside is None:
            message = f"under `mala` the projections name the support, and `{projection.kind}` bounds a move, not a set"
            yield f"projection.{j}.kind", message, "take a ball or the box, or the kernel `langevin`"
        elif projection.when != "every":
            message = "under `mala` the projections name the support, which holds at every move"
            yield f"projection.{j}.when", message, 'write `when = "every"`, or drop it'
        elif getattr(radius, "over", "") == "moves":
            message = "under `mala` the projections name the support, and this one changes within a chain"
            yield f"projection.{j}.radius", message, 'write a number, or `over = "epochs"`'
    start = chain["start"]
    if chain["projection"] and start.kind != "zero" and not start.projected:
        message = "under `mala` the projections name the support, and this start may lie outside of it"
        yield "start", message, "set `projected = true` in `[sampler.start]`"


PRIMITIVE = Primitive(
    Parameters,
    langevin_step,
    draws=("normal",),
    acceptance=acceptance,
    conflicts=conflicts,
    demands=demands,
    cites=("roberts1996langevin", "jagatap2021atent"),
)
