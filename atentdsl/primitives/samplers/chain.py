"""A chain of moves from a start: z^0, z^1 … z^K, each handed on with its weight.

    for k = 0 … K-1:   z^(k+1) = project(propose(z^k, grad E(z^k)))         (Jagatap et al., Alg. 1 and 2, lines 4-11)

The anchor is the sampler's variable when it starts: the augmented batch x, or the weights w (Alg. 3, where z is w').
Points are held constant when the weights move. Weights are one row, `(1, weights)`, with one density for the batch.

In `eval` mode the network's batch statistics stay as they are while the chain runs; in `train` mode its evaluations
update them; `frozen` computes as in train mode and leaves the running statistics untouched. With `batch = "fresh"` each
move of the weights takes a new batch, and later samplers start from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from atentdsl.primitives import registry
from atentdsl.primitives.average import Average
from atentdsl.primitives.density import Target
from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.slots import OneOf


class Parameters(Kinded):
    """The table `[[sampler]]` with kind `chain`."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)] = Field(
        "data", description="its name; its space where not given"
    )
    space: Literal["data", "weights"] = Field("data", description="the variable that is perturbed")
    moves: Annotated[int, Field(ge=0, le=10_000)] = Field(description="K, how many moves follow the start")
    restarts: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="how many chains are run, one after another")
    mode: Literal["train", "eval", "frozen"] = Field("eval", description="the network's mode while the chain runs")
    batch: Literal["same", "fresh"] = Field("same", description="for weights: one batch, or a new one for each move")
    target: Target = Field(default_factory=lambda: Target(), description="the density it draws from")
    start: Annotated[Kinded, OneOf("starts", "zero")] = Field(
        default_factory=lambda: Kinded(kind="zero"), description="where it begins"
    )
    kernel: Annotated[Kinded, OneOf("kernels", "gradient")] | None = Field(None, description="how a move proposes")
    projection: list[Annotated[Kinded, OneOf("projections")]] = Field(
        default_factory=list, description="the sets a point is brought back to, in order"
    )
    averaging: Annotated[Kinded, OneOf("averaging", "last")] = Field(
        default_factory=lambda: Average(kind="last"), description="which weights the points carry"
    )

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_space(cls, table: Any) -> Any:
        unnamed = isinstance(table, dict) and "name" not in table and isinstance(table.get("space"), str)
        return {"name": table["space"], **table} if unnamed else table


def conflicts(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What a chain cannot be: a sentence for each, with the field it belongs to and the mend."""
    own = _of_weights if parameters["space"] == "weights" else _of_data
    return [*_of_any(parameters), *own(parameters)]


def _of_any(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """A chain that moves needs a kernel, and a burn-in shorter than itself."""
    moves, averaging = parameters["moves"], parameters["averaging"]
    kernel, coupling = parameters["kernel"], parameters["target"].coupling
    if moves and kernel is None:
        yield "moves", "a chain that moves needs a kernel", "add a `[sampler.kernel]` table with a `step_size`"
    proposes = registry.primitive("kernels", kernel.kind) if kernel is not None else None
    if proposes is not None:
        yield from proposes.demands(parameters)
    tested = proposes is not None and proposes.acceptance is not None  # it demands more of the pull
    if getattr(kernel, "covers", "loss") == "energy" and not tested and getattr(coupling, "per", "time") == "move":
        message = "a pull per move stands outside the drift, and this drift covers the energy, pull included"
        yield "target.coupling", message, 'set `covers = "loss"`, or `per = "time"`'
    burn_in = getattr(averaging, "burn_in", 0)
    if burn_in and burn_in >= moves:
        mend = f"set `burn_in` below {moves}" if moves else "drop `burn_in`: without moves there is only the start"
        yield "averaging.burn_in", f"a burn-in of {burn_in} leaves none of {moves} points", mend
    if averaging.of == "gradient" and averaging.gain != 1:
        message = "`gain` belongs to the displacement of weights, and this averages a gradient"
        yield "averaging.gain", message, "drop `gain`"


def _of_data(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What belongs to the weights alone."""
    if parameters["target"].loss == "signal":
        message = "`signal` is a loss for weights: an example climbs a loss of its own"
        yield "target.loss", message, 'name the loss, for example "cross_entropy", or set `space = "weights"`'
    if parameters["batch"] == "fresh":
        yield "batch", "a perturbation of data belongs to its batch", 'drop `batch`, or set `space = "weights"`'
    if getattr(parameters["kernel"], "drift", "raw") == "layer":
        message = "the drift `layer` normalises the layers of a network, and data have none"
        yield "kernel.drift", message, 'for each example\'s gradient at length one write `drift = "l2"`'
    if parameters["averaging"].of == "displacement":
        message = "a displacement of data is no gradient in the weights"
        yield "averaging.of", message, 'drop `of`, or set `space = "weights"`'


def _of_weights(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What weights must say, and what belongs to data alone."""
    target, averaging = parameters["target"], parameters["averaging"]
    if target.direction is None and parameters["moves"]:
        message = "weights can be drawn towards low loss or high, and nothing says which"
        yield "target", message, 'write `direction = "descend"` (Entropy-SGD) or "ascend" (AWP) in `[sampler.target]`'
    if target.reduction == "batch_mean":
        message = "weights have one density for the batch, whose loss is the batch's mean already"
        yield "target.reduction", message, "drop `reduction`"
    if getattr(parameters["kernel"], "drift", "raw") == "sparse":
        message = "the drift `sparse` moves coordinates within the box of inputs, and weights have none"
        yield "kernel.drift", message, 'for the direction of the whole gradient write `drift = "l2"`'
    for i, projection in enumerate(parameters["projection"]):
        if projection.kind == "box":
            message = "the box is the range of inputs, and weights have none"
            yield f"projection.{i}", message, "drop it, or take a ball"
    if averaging.over_restarts == "worst":
        message = "`worst` chooses for each example, and weights have one chain for the batch"
        yield "averaging.over_restarts", message, 'write `over_restarts = "mean"`'


PRIMITIVE = Primitive(Parameters, conflicts=conflicts, cites=("jagatap2021atent", "chaudhari2017entropysgd"))
