"""A margin search as statements: `low` and `high` are each example's bracket on its `ray`, `chosen` its c."""

from __future__ import annotations

from atentdsl.codegen.names import Names
from atentdsl.codegen.terms import Terms
from atentdsl.plan.margins import Climb, Middle, Narrow, Ray, Remember, Search, Settle, Within, radii_of
from atentdsl.primitives.samplers.margin_search import (
    NORMS,
    at_margin,
    bracket,
    first_radius,
    halved,
    middle,
    next_radius,
    ray_through,
)

BATCH = "batch"


class Searched:
    """Writes the operations of margin searches.

    Args:
        terms: constants, and the functions that are called.
        names: the step's variables.
    """

    def __init__(self, terms: Terms, names: Names) -> None:
        self._terms, self._names = terms, names

    def statements(self, operation: Search) -> tuple[list[str], set[str]]:
        """The statements of an operation, and what they need from `atentdsl.runtime`."""
        name, function, number = operation.sampler, self._terms.function, self._terms.name
        z, x = self._names.of(name), self._names.of(operation.anchor)
        radius, ray, low, high, chosen = (self._names.own(w, name) for w in ("radius", "ray", "low", "high", "chosen"))
        table = operation.origin.path[:2]
        runtime: set[str] = set()
        match operation:
            case Within(norm=norm, initial=initial):
                least = number("INITIAL_RADIUS", initial, (*table, "initial_radius"))
                first = f"{function(first_radius)}({x}, {least})"
                if operation.remembers:
                    runtime.add("remembered")
                    first = f'remembered(state, "{radii_of(name)}", {BATCH}, {first}, rng)'
                lines = [f"{radius} = {first}"]
                if not operation.drawn:
                    return [*lines, f"{z} = {x}"], runtime
                draws = ", ".join(f'rng.{law}("{operation.stream}", {x})' for law in NORMS[norm].draws)
                lines.append(f"{z} = {function(NORMS[norm].start)}({x}, {draws}, {radius})")
            case Climb(norm=norm, step=step, moves=moves):
                share = f"{number('STEP', step, (*table, 'step'))} / {number('MOVES', moves, (*table, 'moves'))}"
                lines = [f"{z} = {function(NORMS[norm].climb)}({z}, {x}, g, {radius}, {share})"]
            case Ray(norm=norm, largest=largest):
                bound = number("MAX_RADIUS", largest, (*table, "max_radius"))
                lines = [
                    f"length = {function(NORMS[norm].length)}({z} - {x})",
                    f"{ray} = {function(ray_through)}({z}, {x}, length)",
                    f"{low}, {high} = {function(bracket)}(length, losses, {bound})",
                ]
            case Middle():
                lines = [f"{z} = {function(middle)}({x}, {ray}, {low}, {high})"]
            case Narrow():
                lines = [f"{low}, {high} = {function(halved)}({low}, {high}, losses)"]
            case Settle(largest=largest):
                bound = number("MAX_RADIUS", largest, (*table, "max_radius"))
                lines = [f"{z}, {chosen} = {function(at_margin)}({x}, {ray}, {high}, losses, {bound})"]
            case Remember(initial=initial):
                runtime.add("remember")
                least = number("INITIAL_RADIUS", initial, (*table, "initial_radius"))
                lines = [
                    f"{radius} = {function(next_radius)}({radius}, {high}, losses, {least})",
                    f'remember(state, "{radii_of(name)}", {BATCH}, {radius})',
                ]
        return lines, runtime

    def weighing(self, register: str) -> str:
        """The variable of each example's c at what a search has settled."""
        return self._names.own("chosen", register)
