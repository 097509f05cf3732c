"""Lowering: a checked recipe becomes the literal plan, which defines it.

Samplers nest, the outermost first. Around data: for each move Evaluate the input's gradient at z^k, Move, Project; each
point that carries weight goes on to the next sampler, and after the last one to Evaluate the weights' gradient. Around
weights: all points handed on so far are evaluated at w'^k, later samplers drawn afresh, for the target's gradient; then
Move, Project, Load; each w'^k that carries weight goes on likewise, or hands on its displacement. Update ends it. A
point of coefficient 0 is not evaluated. A scale of literally 0 draws nothing. Where moves are accepted or rejected the
points go on when the chain is over, so that its density stands still. A margin search hands on one point. The noise of
a smoothing is drawn after each Take, or before each Evaluate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import takewhile
from typing import Any, Literal

import attrs

from atentdsl.plan.calls import bound, call, coefficients, number, over_moves, schedule
from atentdsl.plan.handed import ONE, Points, ends_in_its_point
from atentdsl.plan.metropolis import proposal_of, propose_and_accept, tests
from atentdsl.plan.operations import (
    Anchor,
    Carry,
    Clear,
    Displace,
    Evaluate,
    Gather,
    Hold,
    Keep,
    Load,
    Mode,
    Momentum,
    Move,
    Operation,
    Project,
    PutAside,
    Recall,
    Restore,
    Start,
    Take,
    Update,
    Worst,
    X,
)
from atentdsl.plan.paper import citations
from atentdsl.plan.program import Goal, Plan
from atentdsl.plan.search import search, searches
from atentdsl.plan.smoothing import Smoothing, without_unread_noise
from atentdsl.plan.values import Call, Origin
from atentdsl.plan.verify import verify
from atentdsl.primitives.outer import Outer
from atentdsl.recipe import Recipe

HANDED = "a point handed on"


def lower(recipe: Recipe, goal: Goal = "train") -> Plan:
    """The literal plan of a recipe.

    Args:
        recipe: a checked recipe.
        goal: `train` for an outer step; `draw` for the points and weights alone that its last sampler hands on, or the
            first one that hands on its displacement.
    """
    return verify(Plan(goal, tuple(without_unread_noise(_Lowering(recipe, goal).operations))))


# What is done with a point that is handed on: its coefficient and its register.
Emit = Callable[[Fraction, str], None]


class _Lowering:
    """Writes the plan's operations in order."""

    def __init__(self, recipe: Recipe, goal: Goal) -> None:
        optimizer: Any = recipe.optimizer
        self.operations: list[Operation] = []
        self._goal, self._epochs = goal, optimizer.epochs
        self._samplers: list[Any] = list(recipe.samplers)
        self._smoothing = Smoothing(recipe.smoothing, self._lengths(None))
        objective: Any = recipe.objective
        self._objective = call("objectives", objective, self._lengths(None))
        self._clean = Fraction(str(objective.clean))
        self._radius: Any = getattr(objective, "radius", None)
        self._papers = [citations(sampler) for sampler in self._samplers] or [citations(None)]
        self._aside = 0  # how many targets' gradients are being gathered
        weights = [i for i, sampler in enumerate(self._samplers) if sampler.space == "weights"]
        later = goal == "train" and optimizer.restore == "after_update"
        self._kept_perturbed = weights[0] if weights and later else None
        if not self._first_move_takes(0):
            self._take(0)
        self._go_on(0, ONE, Points(X), "train")
        if goal == "train":
            self._update(optimizer)
        if self._kept_perturbed is not None:
            self._restore(self._kept_perturbed, "subtract")

    def _first_move_takes(self, i: int) -> bool:
        """Whether nothing of the step reads a batch before the sampler's first move takes its own."""
        if self._goal == "draw" or not self._samplers or self._samplers[i].batch == "same":
            return False
        return i > 0 or not coefficients(self._samplers[i])[0]

    # The samplers, one inside the other.

    def _go_on(self, i: int, c: Fraction, points: Points, mode: Mode) -> None:
        """All samplers from the i-th on, at the current weights: c times the signal is gathered."""
        if i == len(self._samplers):
            for weight, at in self._each(points):
                self._signal(i - 1, c * weight, at, mode)
            self._clean_part(c, mode)
        elif self._samplers[i].space == "weights":
            self._weights(i, c, points, mode)
        else:
            self._data(i, c, points, mode)

    def _each(self, points: Points) -> Iterator[tuple[Fraction, str]]:
        """Each point in turn, current in its register, with its weight."""
        for k, weight in enumerate(points.weights):
            if points.held:
                self._add(Recall(points.at, "points", k, origin=self._origin(points.at, HANDED)))
            yield weight, points.at

    def _data(self, i: int, c: Fraction, points: Points, mode: Mode) -> None:
        """The data samplers from the i-th to the next one in weights space, around each point that there is."""
        group = len(list(takewhile(lambda sampler: sampler.space == "data", self._samplers[i:])))
        last = self._samplers[i + group - 1].name
        collected = i + group < len(self._samplers)
        alone = len(points.weights) == 1 and all(map(ends_in_its_point, self._samplers[i : i + group]))
        weights: list[Fraction] = []

        def emit(weight: Fraction, at: str) -> None:
            if collected and not alone:
                self._add(Hold(last, "points", origin=self._origin(last, "a point is kept for the weights' sampler")))
            if collected:
                weights.append(weight)
            else:
                self._signal(i + group - 1, c * weight, at, mode)

        if collected and not alone:
            self._add(Clear(last, "points", origin=self._origin(last, "no point yet")))
        for weight, at in self._each(points):
            self._chains(i, group, weight, at, emit)
        if collected:
            self._go_on(i + group, c, Points(last, tuple(weights), held=not alone), mode)
        else:
            self._clean_part(c, mode)

    def _chains(self, i: int, group: int, c: Fraction, at: str, emit: Emit) -> None:
        """The restarts of the i-th sampler around one point of data; `group` data samplers are left, with this one."""
        sampler = self._samplers[i]
        after: Emit = emit if group == 1 else lambda weight, z: self._chains(i + 1, group - 1, weight, z, emit)
        if searches(sampler):
            for operation in search(sampler, i, at, remembers=self._goal == "train"):
                self._add(operation)
            emit(c, sampler.name)  # it stands alone
            return
        weights = coefficients(sampler)
        handed = tuple(weight for weight in weights if weight)
        waits = tests(sampler) and any(weights[:-1]) and not self._only_kept(i, group)
        if sampler.averaging.over_restarts == "mean" or sampler.restarts == 1:
            for _ in range(sampler.restarts):
                if waits:
                    self._add(Clear(sampler.name, "points", origin=self._origin(sampler.name, "a chain's points")))
                for k in self._chain(i, at):
                    if weights[k] and waits:
                        self._add(Hold(sampler.name, "points", origin=self._origin(sampler.name, "a point is kept")))
                    elif weights[k]:
                        after(c * weights[k] / sampler.restarts, sampler.name)
                for k, weight in enumerate(handed if waits else ()):
                    self._add(Recall(sampler.name, "points", k, origin=self._origin(sampler.name, HANDED)))
                    after(c * weight / sampler.restarts, sampler.name)
            return
        self._add(Clear(sampler.name, "worst", origin=self._origin(sampler.name, "no restart yet")))
        for _ in range(sampler.restarts):
            self._add(Clear(sampler.name, "candidates", origin=self._origin(sampler.name, "a restart's points")))
            for k in self._chain(i, at):
                if weights[k]:
                    self._add(Hold(sampler.name, "candidates", origin=self._origin(sampler.name, "a point is kept")))
            loss, origin = Call("targets", sampler.target.loss), self._origin(sampler.name, "the last point's losses")
            self._add(Evaluate("loss", loss, sampler.mode, sampler.name, origin=origin))
            self._add(Worst(sampler.name, origin=self._origin(sampler.name, "the worst restart of each example")))
        for k, weight in enumerate(handed):
            self._add(Recall(sampler.name, "worst", k, origin=self._origin(sampler.name, HANDED)))
            after(c * weight, sampler.name)

    def _only_kept(self, i: int, group: int) -> bool:
        """Whether nothing is evaluated at the sampler's points before its chain is over, whatever is done with them."""
        return group == 1 and (i + 1 < len(self._samplers) or self._drawing)

    def _chain(self, i: int, at: str) -> Iterator[int]:
        """One chain around a point of data: the number of each point when it is the current one."""
        sampler, paper = self._samplers[i], self._papers[i]
        self._start(i, at)
        yield 0
        loss = Call("targets", sampler.target.loss)
        origin = Origin(("sampler", i, "target"), "the loss's gradient in the point", paper.gradient)
        if tests(sampler):
            yield from self._tested_moves(i, at, loss)
        else:
            for k in range(sampler.moves):
                self._add(Evaluate("input", loss, sampler.mode, sampler.name, origin=origin))
                self._move(i, k, at)
                yield k + 1
        self._carry(i, at)

    def _tested_moves(self, i: int, at: str, loss: Call) -> Iterator[int]:
        """The moves of a chain that accepts or rejects them."""
        sampler = self._samplers[i]
        proposal, path = proposal_of(sampler.name), ("sampler", i, "target")
        here, there = "the loss and its gradient in the point", "the same at the proposal"
        self._add(Evaluate("density", loss, sampler.mode, sampler.name, origin=Origin(path, here)))
        for k in range(sampler.moves):
            propose, accept = propose_and_accept(sampler, i, k, at, self._lengths(i))
            self._add(propose)
            self._add(Evaluate("density", loss, sampler.mode, proposal, origin=Origin(path, there)))
            self._add(accept)
            yield k + 1

    def _weights(self, i: int, c: Fraction, points: Points, mode: Mode) -> None:
        """The i-th sampler, of weights: its restarts, and what each w'^k that carries weight hands on."""
        sampler, paper = self._samplers[i], self._papers[i]
        name, averaging = sampler.name, sampler.averaging
        weights, displaced = coefficients(sampler), averaging.of == "displacement"
        anchor = f"{name}.anchor"
        self._add(Anchor(name, origin=Origin(("sampler", i), "the weights are kept", paper.start)))

        def hand_on(k: int) -> None:
            weight = c * weights[k] / sampler.restarts
            if not weight:
                return
            if self._drawing and (i + 1 == len(self._samplers) or displaced):
                self._add(Keep(name, weight, origin=self._origin(name, "hand the weights on")))
            elif displaced:
                origin = Origin(("sampler", i, "averaging"), "the displacement of the weights", paper.average)
                self._add(Displace(name, weight, number(averaging.gain, self._lengths(i)), origin=origin))
            else:
                self._go_on(i + 1, weight, points, mode)

        for restart in range(sampler.restarts):
            if restart:
                self._restore(i)
            self._start(i, anchor)
            hand_on(0)
            for k in range(sampler.moves):
                if sampler.batch == "fresh" and self._goal == "train" and (k or restart or self._first_move_takes(i)):
                    self._take(i)
                self._target(i, points)
                self._move(i, k, anchor)
                self._add(Load(name, origin=self._origin(name, "the network takes the weights")))
                hand_on(k + 1)
            self._carry(i, anchor)
        if self._kept_perturbed != i:
            self._restore(i)

    def _target(self, i: int, points: Points) -> None:
        """g becomes the gradient in the weights of the i-th sampler's target, at the current weights."""
        sampler = self._samplers[i]
        origin = Origin(("sampler", i, "target"), "the target's gradient in the weights", self._papers[i].gradient)
        self._add(PutAside(sampler.name, origin=origin))
        self._aside += 1
        if sampler.target.loss == "signal":
            self._go_on(i + 1, ONE, points, sampler.mode)
        else:
            for weight, at in self._each(points):
                self._hand_on(i, weight, at, Call("targets", sampler.target.loss), sampler.mode)
        self._aside -= 1
        says = "the gradients of before are taken back"
        self._add(Gather(sampler.name, origin=attrs.evolve(origin, says=says)))

    # The parts of a chain.

    def _start(self, i: int, anchor: str) -> None:
        sampler = self._samplers[i]
        start = call("starts", sampler.start, self._lengths(i))
        moved = start.primitive.function is not None
        drawn = start if moved and not (start.kind == "carry" and self._goal == "draw") else None  # nothing came before
        momentum = sampler.kernel is not None and sampler.kernel.momentum is not None and sampler.moves > 0
        origin = Origin(("sampler", i, "start"), f"start: {start.kind}", self._papers[i].start)
        stream = f"{sampler.name}.start" if drawn is not None else ""
        self._add(Start(sampler.name, anchor, sampler.space, drawn, stream, momentum, origin=origin))
        if moved:
            if getattr(sampler.start, "projected", False):
                self._project(i, "start", anchor)
            if sampler.space == "weights":
                self._add(Load(sampler.name, origin=self._origin(sampler.name, "the network takes the weights")))

    def _move(self, i: int, k: int, anchor: str) -> None:
        """One move and the projections after it."""
        sampler = self._samplers[i]
        kernel, target, momentum = sampler.kernel, sampler.target, sampler.kernel.momentum
        drift = Call("drifts", kernel.drift)
        coupling = call("couplings", target.coupling, self._lengths(i))
        scale = number(target.beta, self._lengths(i))
        mu = number(momentum.mu, self._lengths(i)) if momentum else 0.0
        made = Move(
            sampler=sampler.name,
            anchor=anchor,
            space=sampler.space,
            kernel=call("kernels", kernel, self._lengths(i)),
            stream=f"{sampler.name}.noise",
            scale=scale,
            descend=target.direction == "descend",
            batch_mean=target.reduction == "batch_mean",
            drift=drift if drift.primitive.function is not None else None,
            coupling=coupling if coupling.primitive.function is not None else None,
            covers=kernel.covers,
            pull=getattr(target.coupling, "per", "time"),
            momentum=Momentum(mu, momentum.nesterov, momentum.normalise) if momentum else None,
            origin=Origin(("sampler", i, "kernel"), f"move: {kernel.kind}", self._papers[i].move),
        )
        indexed = over_moves(made.kernel, made.coupling, scale, mu)
        self._add(attrs.evolve(made, index=k if indexed else None))
        self._project(i, "last" if k == sampler.moves - 1 else "every", anchor, k)

    def _project(self, i: int, moment: str, anchor: str, k: int = 0) -> None:
        """The projections after the start, after any move, or after the last one, which meets them all."""
        sampler = self._samplers[i]
        for j, projection in enumerate(sampler.projection):
            if moment == "every" and projection.when != "every":
                continue
            projected = call("projections", projection, self._lengths(i))
            if moment == "start" and "old" in projected.asks:
                continue
            origin = Origin(("sampler", i, "projection", j), f"project: {projection.kind}", self._papers[i].project)
            after: Literal["start", "move"] = "start" if moment == "start" else "move"
            index = k if over_moves(projected) else None
            self._add(Project(sampler.name, anchor, sampler.space, projected, after, index, origin=origin))

    def _signal(self, i: int, c: Fraction, at: str, mode: Mode) -> None:
        """A point's part of the signal, beside which the clean part has its share; or the point, kept."""
        if self._drawing:
            paper = self._papers[max(i, 0)].average
            self._add(Keep(at, c, self._chosen(i), origin=Origin(self._averaging(i), "hand the point on", paper)))
        else:
            self._hand_on(i, c * (1 - self._clean), at, self._objective, mode)

    def _clean_part(self, c: Fraction, mode: Mode) -> None:
        """The signal's share of cross entropy at the clean inputs: after all points, so that none of them moves."""
        if self._clean and not self._drawing:
            origin = Origin(("objective", "clean"), "the clean part's gradient in the weights")
            self._add(Evaluate("weights", Call("objectives", "cross_entropy"), mode, X, c * self._clean, origin=origin))

    @property
    def _drawing(self) -> bool:
        """Whether the points themselves are asked for here."""
        return self._goal == "draw" and not self._aside

    def _hand_on(self, i: int, c: Fraction, at: str, loss: Call, mode: Mode) -> None:
        """The point is evaluated for the gradient in the weights."""
        says, paper = "the signal's gradient in the weights", self._papers[max(i, 0)].average
        origin = Origin(self._averaging(i), says, paper)
        radius = number(self._radius, self._lengths(None)) if loss.bounded else None
        self._add(Evaluate("weights", loss, mode, at, c, chosen=self._chosen(i), radius=radius, origin=origin))

    def _chosen(self, i: int) -> bool:
        """Whether the i-th sampler chooses the examples whose points are handed on."""
        return i >= 0 and searches(self._samplers[i])

    def _averaging(self, i: int) -> tuple[str | int, ...]:
        """Where the recipe says with which weight the i-th sampler hands its points on; the objective for none."""
        return ("sampler", i, "averaging") if i >= 0 else ("objective",)

    # Before and after the samplers.

    def _take(self, i: int) -> None:
        self._add(Take(origin=Origin(("data",), "the next batch", self._papers[i].batch)))

    def _carry(self, i: int, anchor: str) -> None:
        """What a start carries on to the next step: the displacement at its chain's end."""
        sampler = self._samplers[i]
        if sampler.start.kind == "carry" and self._goal == "train":
            origin = Origin(("sampler", i, "start"), "the displacement is kept for the next step")
            self._add(Carry(sampler.name, anchor, origin=origin))

    def _update(self, optimizer: Any) -> None:
        rate = schedule(optimizer.lr, self._lengths(None))
        own = {name: value for name, value in optimizer.parameters().items() if name not in Outer.model_fields}
        made = bound("optimizers", optimizer.kind, own, self._lengths(None))
        clip = number(optimizer.clip, self._lengths(None))
        self._add(Update(made, rate, clip, origin=Origin(("optimizer",), "update", self._papers[-1].update)))

    def _restore(self, i: int, how: Literal["anchor", "subtract"] = "anchor") -> None:
        says = "the weights are those of before again" if how == "anchor" else "the perturbation is taken away"
        self._add(Restore(self._samplers[i].name, how, origin=Origin(("sampler", i), says)))

    def _lengths(self, i: int | None) -> dict[str, int]:
        own = {} if i is None else {"moves": self._samplers[i].moves}
        return {"epochs": self._epochs, **own}

    def _origin(self, name: str, says: str) -> Origin:
        i = next(i for i, sampler in enumerate(self._samplers) if sampler.name == name)
        return Origin(("sampler", i), says)

    def _add(self, operation: Operation) -> None:
        signal = isinstance(operation, Evaluate) and operation.asks_weights and not self._aside
        self.operations += self._smoothing.around(operation, signal)
