"""What operations hold: calls of primitives, numbers that change, and where in the recipe an operation comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from atentdsl.primitives import registry
from atentdsl.primitives.primitive import Primitive, arguments

Role = Literal["function", "energy", "inside", "acceptance"]
"""Which of a primitive's functions is called: `atentdsl.primitives.primitive.Primitive` says what they are."""


@attrs.frozen
class Origin:
    """Where an operation comes from: its table in the recipe, what it does in words, and the paper's line."""

    path: tuple[str | int, ...]
    says: str
    paper: str = ""

    def beside(self, *keys: str | int) -> Origin:
        """Another part of the same sampler's table."""
        return attrs.evolve(self, path=(*self.path[:2], *keys))


@attrs.frozen
class Call:
    """A primitive with the numbers it is called with.

    Attributes:
        family, kind: which primitive.
        arguments: the parameters its function asks for, by name, in the function's order.
        role: which of the primitive's functions.
    """

    family: str
    kind: str
    arguments: tuple[tuple[str, Scalar], ...] = ()
    role: Role = "function"

    @property
    def primitive(self) -> Primitive:
        """The primitive."""
        return registry.primitive(self.family, self.kind)

    @property
    def function(self) -> Callable[..., Any]:
        """Its function of that role; the identity has none and is never asked."""
        function: Callable[..., Any] | None = getattr(self.primitive, self.role)
        assert function is not None, f"{self.family}/{self.kind} has no {self.role}"
        return function

    @property
    def asks(self) -> tuple[str, ...]:
        """The names of its function's arguments, in their order."""
        return arguments(self.function)

    def as_its(self, role: Role) -> Call:
        """The same primitive's function of another role, with the numbers that it asks for."""
        other = attrs.evolve(self, role=role)
        return attrs.evolve(other, arguments=tuple((name, n) for name, n in self.arguments if name in other.asks))

    @property
    def clean(self) -> tuple[str, ...]:
        """For a loss: the arguments that are logits of the clean inputs, each a forward of its own in the literal plan.

        A chain's target holds them constant; an objective is differentiated in them too.
        """
        return self.primitive.clean

    @property
    def bounded(self) -> bool:
        """For a loss: whether it reads the worst logits that interval bounds give."""
        return self.primitive.bounded

    @property
    def holds_clean(self) -> bool:
        """Whether the clean logits are constants of the loss."""
        return self.family == "targets"


@attrs.frozen
class Scheduled:
    """A number that changes: a schedule as a function of the epoch, the outer step or the move, each counted from 1."""

    call: Call
    over: Literal["epochs", "steps", "moves"]


@attrs.frozen
class Smoothed:
    """The network smoothed: at the point's copies, each with its noise, and what is averaged over them.

        probabilities   the loss of  log((1/m) sum_i softmax f(z + sigma xi_i))  as logits
        losses          (1/m) sum_i of the loss of  f(z + sigma xi_i)

    Attributes:
        draws: m, how many copies of each example there are.
        average: `probabilities` or `losses`.
    """

    draws: int
    average: Literal["probabilities", "losses"]


Scalar = float | int | bool | str | tuple[float, ...] | Scheduled


def origin() -> Any:
    """An operation's field of that name."""
    return attrs.field(eq=False, repr=False, kw_only=True, default=Origin((), ""))
