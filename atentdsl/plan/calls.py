"""From a part of the recipe to a call: reduced to the simplest primitive it equals, its numbers bound by name."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from atentdsl.plan.values import Call, Scheduled
from atentdsl.primitives import registry
from atentdsl.primitives.primitive import Kinded, arguments

# Arguments of primitives' functions that are bound to values of the step, never to parameters of the same name.
TENSORS = frozenset(
    {"z", "old", "anchor", "g", "drift", "xi", "u", "carried", "shapes", "t", "parameters", "lr"}
    | {"logits", "y", "clean", "clean_again", "worst", "proposal", "back", "gain"}
)
Lengths = Mapping[str, int]
"""How long what is counted lasts, where a schedule does not say: `epochs`, and `moves` inside a sampler."""


def bound(family: str, kind: str, parameters: Mapping[str, Any], lengths: Lengths) -> Call:
    """The primitive of that family and kind with these parameters, reduced to the simplest that it equals."""
    primitive = registry.primitive(family, kind)
    parameters = {name: number(value, lengths) if name != "lr" else value for name, value in parameters.items()}
    simpler = primitive.reduces(parameters)
    if simpler is not None:
        return bound(family, *simpler, lengths)
    if primitive.function is None:
        return Call(family, kind)
    asked = arguments(primitive.function)
    return Call(family, kind, tuple((name, parameters[name]) for name in asked if name in set(parameters) - TENSORS))


def call(family: str, part: Kinded, lengths: Lengths) -> Call:
    """A part of the recipe as a call."""
    return bound(family, part.kind, part.parameters(), lengths)


def number(value: Any, lengths: Lengths) -> Any:
    """A number as an operation holds it: itself, or how it changes; a constant schedule is its number."""
    if not isinstance(value, Kinded):
        return tuple(value) if isinstance(value, list) else value
    if value.kind == "constant":
        return value.parameters()["value"]
    return schedule(value, lengths)


def schedule(part: Kinded, lengths: Lengths) -> Scheduled:
    """A schedule's table as a function of what it counts."""
    parameters = part.parameters()
    over = parameters["over"]
    if parameters.get("length", 1) is None:
        parameters["length"] = max(1, lengths[over])  # it ends where what it counts ends
    return Scheduled(bound("schedules", part.kind, parameters, lengths), over)


def over_moves(*values: Any) -> bool:
    """Whether any of these calls and numbers changes from move to move."""
    for value in values:
        numbers = [found for _, found in value.arguments] if isinstance(value, Call) else [value]
        if any(isinstance(found, Scheduled) and found.over == "moves" for found in numbers):
            return True
    return False


def coefficients(sampler: Any) -> list[Fraction]:
    """The weights of a sampler's points 0 … moves."""
    averaging = sampler.averaging
    function = registry.primitive("averaging", averaging.kind).coefficients
    assert function is not None, f"averaging/{averaging.kind} gives no coefficients"
    asked = arguments(function)
    own = {name: value for name, value in averaging.parameters().items() if name in asked}
    weights: list[Fraction] = function(sampler.moves, **own)
    return weights
