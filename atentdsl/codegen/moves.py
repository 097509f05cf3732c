"""A move that is taken as it is proposed, as statements: the direction, the pull, and the kernel's step along them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atentdsl.codegen.names import Names
from atentdsl.codegen.terms import Terms, drawn
from atentdsl.plan.operations import Move, Operation, Project, Start
from atentdsl.plan.values import Origin
from atentdsl.primitives.kernel import accumulated, look_ahead
from atentdsl.primitives.tensors import unit_l1


class Moves:
    """Writes moves.

    Args:
        terms: constants, and the functions that are called.
        names: the step's variables.
        operations: the step's, in their order, those of a loop once.
    """

    def __init__(self, terms: Terms, names: Names, operations: Sequence[Operation]) -> None:
        self._terms, self._names = terms, names
        self._followed = _moves_whose_old_point_is_read(operations)
        self._momentum = {o.sampler for o in operations if isinstance(o, Start) and o.momentum}

    def move(self, move: Move, index: str | None) -> list[str]:
        """The statements of a move; `index` is its number, counted from 1, as a term."""
        z, anchor = self._names.of(move.sampler), self._names.of(move.anchor)
        target = (*move.origin.path[:2], "target")
        lines: list[str] = []
        g = "g"
        if move.scale != 1:
            g = f"{self._terms.number('BETA', move.scale, (*target, 'beta'), index)} * g"
        g = f"-{g}" if move.descend else g
        g = f"{g} / n" if move.batch_mean else g
        if move.momentum:
            g = self._with_momentum(move, g, index, lines)
        origin = Origin((*target, "coupling"), "")
        if "(" in g:
            lines.append(f"g = {g}")
            g = "g"
        pull = ""
        if move.coupling:
            pull = self._terms.call(move.coupling, origin, index, z=z, anchor=anchor)
            if "(" in pull.removesuffix(")").partition("(")[2]:  # a number of its own changes
                lines.append(f"pull = {pull}")
                pull = "pull"
            pull = f" + {pull}"
        drift = g + (pull if move.covers == "energy" and move.pull == "time" else "")
        if move.drift:
            drift = self._terms.call(move.drift, move.origin, g=drift, z=z, anchor=anchor, shapes="shapes")
        drift += pull if move.covers == "loss" and move.pull == "time" else ""
        if id(move) in self._followed:
            lines.append(f"old = {z}")
        if not drift.isidentifier():
            lines.append(f"drift = {drift}")
            drift = "drift"
        tensors = {"z": z, "drift": drift, **drawn(move.kernel, move.stream, z)}
        proposal = self._terms.call(move.kernel, move.origin, index, **tensors)
        return [*lines, f"{z} = {proposal}{pull if move.pull == 'move' else ''}"]

    def _with_momentum(self, move: Move, g: str, index: str | None, lines: list[str]) -> str:
        """The direction after the momentum; the statements that it takes join the lines."""
        assert move.momentum is not None, "asked for by the caller"
        momentum, velocity = move.momentum, self.velocity(move.sampler)
        mu = self._terms.number("MU", momentum.mu, (*move.origin.path, "momentum", "mu"), index)
        if momentum.normalise == "l1":
            g = f"{self._terms.function(unit_l1)}({g})"
        if momentum.nesterov and g != "g":
            lines.append(f"g = {g}")
            g = "g"
        lines.append(f"{velocity} = {self._terms.function(accumulated)}({velocity}, {g}, {mu})")
        return f"{self._terms.function(look_ahead)}(g, {velocity}, {mu})" if momentum.nesterov else velocity

    def velocity(self, sampler: str) -> str:
        """The momentum's variable: with the sampler's name where several have one, of whatever space."""
        return "velocity" if self._momentum == {sampler} else f"velocity_{sampler}"


def _moves_whose_old_point_is_read(operations: Iterable[Operation]) -> set[int]:
    """The moves, by identity, after which a projection reads the point before the move."""
    found: set[int] = set()
    last: Move | None = None
    for operation in operations:
        if isinstance(operation, Move):
            last = operation
        elif isinstance(operation, Project) and "old" in operation.call.asks and last is not None:
            found.add(id(last))
    return found
