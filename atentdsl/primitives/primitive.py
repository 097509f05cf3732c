"""What a primitive is made of, and the base of every table of a recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal

import attrs
from pydantic import BaseModel, ConfigDict, Field

Number = float
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class Part(BaseModel):
    """A table of the recipe: unknown keys, wrong types and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Kinded(Part):
    """A table whose `kind` chooses the primitive; the choice itself is made by `OneOf`."""

    kind: str = ""

    def parameters(self) -> dict[str, Any]:
        """The fields without `kind`: what the primitive's functions are called with."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}


@attrs.frozen
class Primitive:
    """One word of the vocabulary.

    Attributes:
        parameters: the pydantic model of its table.
        function: its mathematics, taken into generated modules as source; None is the identity.
        draws: the laws of its `xi` (normal) and `u` (uniform) arguments, in the order they are drawn.
        coefficients: for an averaging, `(moves, **parameters) -> list[Fraction]`, one for each point 0 … moves.
        energy: for a coupling, the function whose negative gradient `function` is.
        inside: for a projection, whether each example of a point is in the set; None where it has no set of its own.
        acceptance: for a kernel, the probability of each example's proposal; None where every proposal is taken.
        demands: for a kernel, what the chain around it must be: a sentence for each breach, as `conflicts`.
        reduces: names the simpler primitive that it equals for some parameters (a scale of literally 0), or None.
        conflicts: a sentence for each pair of parameters that cannot stand together, with the field it belongs to.
        cites: keys of `primitives.references`.
    """

    parameters: type[Part]
    function: Callable[..., Any] | None = None
    draws: tuple[Literal["normal", "uniform"], ...] = ()
    coefficients: Callable[..., Any] | None = None
    energy: Callable[..., Any] | None = None
    inside: Callable[..., Any] | None = None
    acceptance: Callable[..., Any] | None = None
    demands: Callable[[Mapping[str, Any]], Iterable[tuple[str, str, str]]] = attrs.field(default=lambda _: [])
    reduces: Callable[[Mapping[str, Any]], tuple[str, dict[str, Any]] | None] = attrs.field(default=lambda _: None)
    conflicts: Callable[[Mapping[str, Any]], list[tuple[str, str, str]]] = attrs.field(default=lambda _: [])
    cites: tuple[str, ...] = ()

    @property
    def clean(self) -> tuple[str, ...]:
        """The function's arguments that are logits at the clean inputs: those whose names begin with `clean`."""
        asked = () if self.function is None else arguments(self.function)
        return tuple(name for name in asked if name.partition("_")[0] == "clean")

    @property
    def bounded(self) -> bool:
        """Whether the function reads `worst`, logits that interval bounds give."""
        return self.function is not None and "worst" in arguments(self.function)


@cache
def arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names that a primitive's function asks for, in its order; looked up once."""
    return tuple(inspect.signature(function).parameters)
