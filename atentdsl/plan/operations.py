"""The plan's operations: frozen, few, and all that a defense is made of once it is lowered.

A plan has one current point z and one current gradient g per sampler; operations read and replace them in order. What a
recipe's line or the paper's line an operation stands for is kept beside it and takes no part in comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Literal

import attrs

from atentdsl.primitives import registry
from atentdsl.primitives.primitive import Primitive

Scalar = float | int | bool | str | tuple[float, ...]
Goal = Literal["train", "draw"]


@attrs.frozen
class Origin:
    """Where an operation comes from: its table in the recipe, what it does in words, and the paper's line."""

    path: tuple[str | int, ...]
    says: str
    paper: str = ""


@attrs.frozen
class Call:
    """A primitive with the numbers it is called with.

    Attributes:
        family, kind: which primitive.
        arguments: the parameters its function asks for, by name, in the function's order.
    """

    family: str
    kind: str
    arguments: tuple[tuple[str, Scalar], ...] = ()

    @property
    def primitive(self) -> Primitive:
        """The primitive."""
        return registry.primitive(self.family, self.kind)

    @property
    def function(self) -> Callable[..., Any]:
        """Its function; the identity has none and is never asked."""
        function = self.primitive.function
        assert function is not None, f"{self.family}/{self.kind} is the identity"
        return function


def _origin() -> Any:
    return attrs.field(eq=False, repr=False, kw_only=True, default=Origin((), ""))


@attrs.frozen
class Take:
    """The next batch becomes x, y; z is x."""

    origin: Origin = _origin()


@attrs.frozen
class Start:
    """z becomes the start of a chain around x; `stream` names the draws."""

    call: Call
    stream: str
    origin: Origin = _origin()


@attrs.frozen
class Evaluate:
    """The network at z: the gradient of the summed loss in z becomes g, or that of the signal is added to the weights'.

    Attributes:
        wants: `input`, or `weights`.
        loss: the per-example loss.
        mode: the network's mode.
        coefficient: c of the point, for `weights`; `LOOP` inside a `Repeat` that lists them.
    """

    wants: Literal["input", "weights"]
    loss: Call
    mode: Literal["train", "eval"]
    coefficient: Fraction | Literal["loop"] | None = None
    origin: Origin = _origin()


@attrs.frozen
class Move:
    """z becomes the kernel's proposal from z and g; the point before it is kept as `old`.

    Attributes:
        kernel: proposes.
        stream: names the kernel's draws, where it draws.
        scale: what the loss's gradient is multiplied by: beta, negative to descend.
        batch_mean: the loss's gradient is divided by the batch.
        drift: normalises; None is the identity.
        coupling: pulls towards x; None pulls nothing.
        covers: what the drift normalises: the loss's gradient, or the energy's.
        pull: whether the kernel's step size multiplies the coupling's pull (`time`), or each move adds it as it is.
    """

    kernel: Call
    stream: str
    scale: float
    batch_mean: bool
    drift: Call | None
    coupling: Call | None
    covers: Literal["loss", "energy"]
    pull: Literal["time", "move"] = "time"
    origin: Origin = _origin()


@attrs.frozen
class Project:
    """z becomes its projection, after the start or after a move."""

    call: Call
    after: Literal["start", "move"]
    origin: Origin = _origin()


@attrs.frozen
class Keep:
    """z is handed on with its coefficient; what a plan that draws does where one that trains evaluates."""

    coefficient: Fraction | Literal["loop"]
    origin: Origin = _origin()


@attrs.frozen
class Update:
    """The optimizer moves the weights.

    Attributes:
        optimizer: makes it; its function's first two arguments are the weights and the learning rate.
        rate: the learning rate's schedule, a function of the number of the epoch or step.
        over: which of the two.
    """

    optimizer: Call
    rate: Call
    over: Literal["epochs", "steps"]
    origin: Origin = _origin()


@attrs.frozen
class Frozen:
    """The body, with no weight asking for a gradient."""

    body: tuple[Operation, ...]
    origin: Origin = _origin()


@attrs.frozen
class Repeat:
    """The body, `count` times; in turn i the coefficient `loop` is `coefficients[i]`."""

    count: int
    body: tuple[Operation, ...]
    coefficients: tuple[Fraction, ...] = ()
    origin: Origin = _origin()


Operation = Take | Start | Evaluate | Move | Project | Keep | Update | Frozen | Repeat


@attrs.frozen
class Plan:
    """Operations towards a goal: `train` a step, or `draw` the points and their weights."""

    goal: Goal
    operations: tuple[Operation, ...]

    def flat(self) -> Iterator[Operation]:
        """Every operation in the order it runs, loops unrolled and regions opened."""
        return flatten(self.operations)


def flatten(operations: tuple[Operation, ...]) -> Iterator[Operation]:
    """Every operation in the order it runs, loops unrolled and regions opened."""
    for operation in operations:
        if isinstance(operation, Frozen):
            yield from flatten(operation.body)
        elif isinstance(operation, Repeat):
            for turn in range(operation.count):
                for inner in flatten(operation.body):
                    if operation.coefficients and isinstance(inner, Evaluate | Keep) and inner.coefficient == "loop":
                        yield attrs.evolve(inner, coefficient=operation.coefficients[turn])
                    else:
                        yield inner
        else:
            yield operation
