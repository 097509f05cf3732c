"""A chain of moves from a start: z^0, z^1 … z^K, each handed on with its weight.

    for k = 0 … K-1:   z^(k+1) = project(propose(z^k, grad E(z^k)))         (Jagatap et al., Alg. 1 and 2, lines 4-11)

The anchor is the augmented batch x. Points are held constant when the weights move. In `eval` mode the network's batch
statistics stay as they are while the chain runs; in `train` mode its evaluations update them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from atentdsl.primitives.density import Target
from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import OneOf


class Parameters(Kinded):
    """The table `[[sampler]]` with kind `chain`."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)] = Field("data", description="its name")
    space: Literal["data"] = Field("data", description="the variable that is perturbed")
    moves: Annotated[int, Field(ge=0, le=10_000)] = Field(description="K, how many moves follow the start")
    mode: Literal["train", "eval"] = Field("eval", description="the network's mode while the chain runs")
    target: Target = Field(default_factory=lambda: Target(), description="the density it draws from")
    start: Annotated[Kinded, OneOf("starts", "zero")] = Field(
        default_factory=lambda: Kinded(kind="zero"), description="where it begins"
    )
    kernel: Annotated[Kinded, OneOf("kernels", "gradient")] | None = Field(None, description="how a move proposes")
    projection: list[Annotated[Kinded, OneOf("projections")]] = Field(
        default_factory=list, description="the sets a point is brought back to, in order"
    )
    averaging: Annotated[Kinded, OneOf("averaging", "last")] = Field(
        default_factory=lambda: Kinded(kind="last"), description="which weights the points carry"
    )


def conflicts(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A chain that moves needs a kernel, and a burn-in shorter than itself."""
    found = []
    moves, averaging = parameters["moves"], parameters["averaging"]
    if moves and parameters["kernel"] is None:
        found.append(
            ("moves", "a chain that moves needs a kernel", "add a `[sampler.kernel]` table with a `step_size`")
        )
    kernel, coupling = parameters["kernel"], parameters["target"].coupling
    if getattr(kernel, "covers", "loss") == "energy" and getattr(coupling, "per", "time") == "move":
        message = "a pull per move stands outside the drift, and this drift covers the energy, pull included"
        found.append(("target.coupling", message, 'set `covers = "loss"`, or `per = "time"`'))
    burn_in = getattr(averaging, "burn_in", 0)
    if burn_in and burn_in >= moves:
        mend = f"set `burn_in` below {moves}" if moves else "drop `burn_in`: without moves there is only the start"
        found.append(("averaging.burn_in", f"a burn-in of {burn_in} leaves none of {moves} points", mend))
    return found


PRIMITIVE = Primitive(Parameters, conflicts=conflicts, cites=("jagatap2021atent",))
