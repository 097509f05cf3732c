"""A move that is accepted or rejected, as statements: `here` is the density at z, and `there` at its proposal."""

from __future__ import annotations

from atentdsl.codegen.names import Names
from atentdsl.codegen.terms import Terms
from atentdsl.plan.metropolis import Accept, Propose, proposal_of
from atentdsl.plan.values import Scheduled

HERE, THERE = "here", "there"


class Tested:
    """Writes proposals and their tests.

    Args:
        terms: constants, and the functions that are called.
        names: the step's variables.
    """

    def __init__(self, terms: Terms, names: Names) -> None:
        self._terms, self._names = terms, names

    def propose(self, move: Propose, index: str | None) -> list[str]:
        """The statements of a proposal; `index` is the move's number, counted from 1, as a term."""
        z, proposal = self._names.of(move.sampler), self._names.of(proposal_of(move.sampler))
        tensors = {"z": z, "xi": f'rng.normal("{move.stream}", {z})'}
        scale = move.energy.scale
        lines = [f"beta = {self._beta(move, index)}"] if isinstance(scale, Scheduled) else []
        lines += self._energy(move, "drift", f"{HERE}.gradient", z, index)
        return [*lines, f"{proposal} = {self._terms.call(move.kernel, move.origin, index, drift='drift', **tensors)}"]

    def accept(self, move: Accept, index: str | None) -> list[str]:
        """The statements of a test; `drift` is what the proposal went along, and `beta` what it was multiplied by."""
        z, proposal = self._names.of(move.sampler), self._names.of(proposal_of(move.sampler))
        tensors = {name: name for name in ("drift", "back", "gain")} | {"z": z, "proposal": proposal}
        lines = self._energy(move, "back", f"{THERE}.gradient", proposal, index)
        lines += self._energy(move, "value", f"{HERE}.losses", z, index)
        lines += self._energy(move, "gain", f"{THERE}.losses", proposal, index)
        lines[-1] += " - value"
        lines += [
            f"probability = {self._terms.call(move.acceptance, move.origin, index, **tensors)}",
            f'taken = rng.uniform("{move.stream}", probability) < probability',
        ]
        anchor = self._names.of(move.anchor)
        for j, inside in enumerate(move.support):
            origin = move.origin.beside("projection", j)
            lines.append(f"taken = taken & {self._terms.call(inside, origin, index, z=proposal, anchor=anchor)}")
        return [*lines, f"{z}, {HERE} = where_taken(taken, ({proposal}, {THERE}), ({z}, {HERE}))"]

    def _energy(self, move: Propose | Accept, name: str, loss: str, point: str, index: str | None) -> list[str]:
        """Statements that give the name the energy at a point, or its gradient, out of the loss's."""
        energy, coupling = move.energy, move.energy.coupling
        if energy.scale != 1:
            loss = f"{'beta' if isinstance(energy.scale, Scheduled) else self._beta(move, index)} * {loss}"
        loss = f"-{loss}" if energy.descend else loss
        if coupling is None:
            return [f"{name} = {loss}"]
        pulls = loss.endswith("gradient")
        called, sign, held = (coupling, "+", "pull") if pulls else (coupling.as_its("energy"), "-", "held")
        origin = move.origin.beside("target", "coupling")
        text = self._terms.call(called, origin, index, z=point, anchor=self._names.of(move.anchor))
        if text.count("(") == 1:
            return [f"{name} = {loss} {sign} {text}"]
        return [f"{held} = {text}", f"{name} = {loss} {sign} {held}"]  # a number of its own changes

    def _beta(self, move: Propose | Accept, index: str | None) -> str:
        return self._terms.number("BETA", move.energy.scale, (*move.origin.beside("target").path, "beta"), index)
