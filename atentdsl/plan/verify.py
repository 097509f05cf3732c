"""The plan's rules, checked after lowering and after every pass: a plan that breaks one is a fault of the compiler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from atentdsl.plan.margins import PHASES, Climb, Middle, Search, Settle, Within, judged_at
from atentdsl.plan.metropolis import Accept, Propose, chain_of, proposal_of
from atentdsl.plan.operations import (
    Anchor,
    Between,
    Bounds,
    Carry,
    Clean,
    Clear,
    Displace,
    Evaluate,
    Frozen,
    Gather,
    Hold,
    Keep,
    Load,
    Move,
    Noise,
    Operation,
    Place,
    Project,
    PutAside,
    Recall,
    Repeat,
    Restore,
    Start,
    Take,
    Update,
    Worst,
    X,
)
from atentdsl.plan.program import Plan


class PlanError(Exception):
    """A plan breaks a rule: a fault of lowering or of a pass, never of a recipe."""


def verify(plan: Plan) -> Plan:
    """The plan itself, if it keeps every rule.

    Raises:
        PlanError: it reads what is not there yet (a batch, a gradient at the point, an anchor, a kept point, clean
            logits of this batch at these weights, the batch's smoothing noise), leaves what it put aside or weights
            that it perturbed, hands nothing on, updates twice or never, evaluates weights where they are frozen, is
            placed twice or late, or has a loop whose coefficients or indices do not match its turns.
    """
    _structure(plan.operations, frozen=False, coefficients=False, indices=False)
    flat = list(plan.flat())
    walk = _Walk(plan)
    for operation in flat:
        walk.step(operation)
    walk.end()
    updates = [i for i, o in enumerate(flat) if isinstance(o, Update)]
    _rule(len(updates) == (1 if plan.goal == "train" else 0), "a plan that trains updates once, and no other does")
    after = flat[updates[0] + 1 :] if updates else []
    _rule(all(isinstance(o, Restore) for o in after), "an update ends a plan, but for what restores the weights")
    _rule(not any(isinstance(o, Place) for o in flat[1:]), "a plan is placed once, before anything else")
    return plan


_OF_WEIGHTS = Load | Restore | Anchor | Displace | PutAside | Gather | Update


class _Walk:
    """What is there at each moment of an execution."""

    def __init__(self, plan: Plan) -> None:
        self.goal = plan.goal
        self.registers: set[str] = set()  # points that can be read
        self.fresh = ""  # the sampler whose current point g belongs to
        self.moved: set[str] = set()  # samplers whose point has moved since it started
        self.waiting: set[str] = set()  # samplers whose weights the network has not taken yet
        self.perturbed: list[str] = []  # samplers whose anchor is not restored, innermost last
        self.displaced: set[str] = set()  # those of them whose anchor is not what the network has
        self.aside: list[str] = []  # samplers whose target's gradient is being gathered
        self.shelves: dict[tuple[str, str], int] = defaultdict(int)  # how many points are on each shelf
        self.losses = ""  # the sampler whose current point the losses belong to
        self.chosen: set[str] = set()  # samplers whose worst restart so far is known
        self.bounded: dict[str, str] = {}  # samplers that have bounds, and the anchor they are around
        self.clean: Clean | None = None  # how the clean logits were kept, while they hold
        self.noise = 0  # how many draws of the smoothing's noise there are for this batch
        self.dense: set[str] = set()  # registers at whose point the density is known: a sampler's, its proposal's
        self.searched: dict[str, str] = {}  # by sampler, how far its margin search has come
        self.handed = 0
        self.updated = False

    def step(self, operation: Operation) -> None:
        name = getattr(operation, "sampler", "")
        rules: dict[type, Callable[[Any, str], None]] = {
            Take: self._take, Anchor: self._anchor, Start: self._start, Load: self._load,
            Noise: self._noise, Clean: self._clean, Evaluate: self._evaluate,
            PutAside: self._put_aside, Gather: self._gather, Move: self._move, Project: self._project,
            Bounds: self._bounds, Between: self._between, Propose: self._propose, Accept: self._accept,
            Displace: self._displace, Clear: self._clear, Hold: self._hold, Worst: self._worst, Recall: self._recall,
            **dict.fromkeys(PHASES, self._search),
            Keep: self._keep, Carry: self._carry, Update: self._update, Restore: self._restore, Place: self._place,
        }  # fmt: skip
        rules[type(operation)](operation, name)

    def end(self) -> None:
        _rule(not self.perturbed, "weights that were perturbed are restored")
        _rule(not self.aside, "what was put aside is taken back")
        _rule(
            not any(register.endswith(proposal_of("")) for register in self.registers),
            "a proposal is taken or rejected before anything else becomes of the chain",
        )
        _rule(self.handed > 0, "a plan hands on at least one point")

    def _there(self, register: str) -> None:
        _rule(register in self.registers, "nothing is read before it is there")

    def _take(self, operation: Take, name: str) -> None:
        self.registers.add(X)
        self._forget(X)
        self._forget_all()  # they belonged to the batch before, as did the noise and the searches
        self.noise = 0
        self.searched.clear()

    def _anchor(self, operation: Anchor, name: str) -> None:
        _rule(name not in self.perturbed, "a sampler keeps one anchor")
        self.registers.add(f"{name}.anchor")
        self.perturbed.append(name)

    def _start(self, operation: Start, name: str) -> None:
        self._there(operation.anchor)
        self.registers.add(name)
        self._forget(name)
        self.moved.discard(name)
        if operation.space == "weights":
            _rule(name not in self.displaced, "a chain of weights starts from its anchor")
            if name not in self.perturbed:
                self.perturbed.append(name)  # restored before each restart
            if operation.call is not None:
                self.waiting.add(name)  # a chain that starts at its anchor starts at what the network has

    def _load(self, operation: Load, name: str) -> None:
        self._there(name)
        self.waiting.discard(name)
        self._forget_all()  # they were at other weights
        self.displaced |= set(self.perturbed)

    def _noise(self, operation: Noise, name: str) -> None:
        self._there(X)
        _rule(operation.draws >= 1, "noise is drawn once at least")
        self.noise = operation.draws
        self.clean = None  # they were made with the noise before

    def _smoothed(self, operation: Evaluate | Clean) -> None:
        drawn = operation.smoothed is None or operation.smoothed.draws == self.noise
        _rule(drawn, "the smoothing's noise is drawn for the batch before the network is evaluated under it")

    def _clean(self, operation: Clean, name: str) -> None:
        self._there(X)
        self._smoothed(operation)
        _rule(not self.waiting, "the network takes the weights before it is evaluated at them")
        self.clean = operation

    def _evaluate(self, operation: Evaluate, name: str) -> None:
        self._there(operation.at)
        _rule(not self.waiting, "the network takes the weights before it is evaluated at them")
        self._smoothed(operation)
        if operation.loss.clean:
            self._there(X)
        self._chosen(operation)
        if operation.clean == "kept":
            wanted = Clean(operation.mode, operation.smoothed)
            _rule(self.clean == wanted, "clean logits are kept in this mode, at these weights and statistics")
        if operation.mode == "train":
            self.clean = None  # the running statistics are others now
            self.dense.clear()
        if operation.asks_input:
            self.fresh = operation.at
        if operation.wants == "density":
            _rule(operation.mode == "eval", "a density belongs to one example, and the network is in eval mode")
            sampler = chain_of(operation.at)
            self.dense = {*self.dense & {sampler, proposal_of(sampler)}, operation.at}
        elif operation.wants == "loss":
            self.losses = operation.at
        elif operation.asks_weights and not self.aside:
            _rule(operation.mode == "train", "the signal's gradient is taken in train mode")
            _rule(self.goal == "train", "points are kept to draw, evaluated to train")
            self.handed += 1

    def _put_aside(self, operation: PutAside, name: str) -> None:
        self.aside.append(name)

    def _gather(self, operation: Gather, name: str) -> None:
        _rule(self.aside[-1:] == [name], "what was put aside is taken back")
        self.aside.pop()
        self.fresh = name

    def _move(self, operation: Move, name: str) -> None:
        self._there(name)
        self._there(operation.anchor)
        _rule(name == self.fresh, "a move needs the gradient at its own point")
        self._leave(name, operation.space)
        self.moved.add(name)

    def _project(self, operation: Project, name: str) -> None:
        self._there(name)
        _rule((name in self.moved) == (operation.after == "move"), "a projection says what it follows: start or move")
        self._leave(name, operation.space)

    def _bounds(self, operation: Bounds, name: str) -> None:
        self._there(operation.anchor)
        self.bounded[name] = operation.anchor

    def _between(self, operation: Between, name: str) -> None:
        self._there(name)
        _rule(name in self.bounded, "bounds are there before a point is brought between them")
        _rule((name in self.moved) == (operation.after == "move"), "a projection says what it follows: start or move")
        self._leave(name, "data")

    def _place(self, operation: Place, name: str) -> None:
        _rule(self.goal == "train", "a step is placed, and not what is drawn")

    def _propose(self, operation: Propose, name: str) -> None:
        self._there(name)
        self._there(operation.anchor)
        _rule(name in self.dense, "a proposal needs the density at its own point")
        _rule(
            proposal_of(name) not in self.registers,
            "a proposal is taken or rejected before anything else becomes of the chain",
        )
        self.registers.add(proposal_of(name))
        self.dense.discard(proposal_of(name))

    def _accept(self, operation: Accept, name: str) -> None:
        self._there(name)
        self._there(operation.anchor)
        _rule(self.dense == {name, proposal_of(name)}, "a proposal is accepted by the densities at both points")
        self.registers.discard(proposal_of(name))
        self._forget(name)
        self.dense = {name}
        self.moved.add(name)

    def _leave(self, name: str, space: str) -> None:
        self._forget(name)
        if space == "weights":
            self.waiting.add(name)

    def _forget(self, name: str) -> None:
        """The register holds another point: neither gradient nor losses are at it, and no bounds around it."""
        self.bounded = {sampler: anchor for sampler, anchor in self.bounded.items() if anchor != name}
        self.fresh = "" if self.fresh == name else self.fresh
        self.losses = "" if self.losses == name else self.losses
        self.dense -= {name}

    def _forget_all(self) -> None:
        self.fresh = self.losses = ""
        self.clean = None
        self.dense.clear()

    def _search(self, operation: Search, name: str) -> None:
        before, after = PHASES[type(operation)]
        self._there(operation.anchor)
        _rule(before in {"", self.searched.get(name)}, "a search goes from its ball to its ray, which it then halves")
        if isinstance(operation, Climb):
            _rule(name == self.fresh, "a move needs the gradient at its own point")
        judged = judged_at(operation)
        _rule(judged in {None, self.losses}, "a search is led by the losses at the point that it asks about")
        self.searched[name] = after
        if isinstance(operation, Within | Climb | Middle | Settle):
            self.registers.add(name)
            self._forget(name)

    def _chosen(self, operation: Evaluate | Keep) -> None:
        settled = not operation.chosen or self.searched.get(operation.at) == "settled"
        _rule(settled, "examples are chosen where a search has settled")

    def _displace(self, operation: Displace, name: str) -> None:
        self._there(name)
        _rule(name in self.perturbed, "a displacement has an anchor")
        _rule(bool(self.aside) or self.goal == "train", "points are kept to draw, evaluated to train")
        self.handed += not self.aside

    def _clear(self, operation: Clear, name: str) -> None:
        self.shelves[name, operation.shelf] = 0
        self.chosen -= {name} if operation.shelf == "worst" else set()

    def _hold(self, operation: Hold, name: str) -> None:
        self._there(name)
        self.shelves[name, operation.shelf] += 1

    def _worst(self, operation: Worst, name: str) -> None:
        _rule(name == self.losses, "the worst restart is chosen by losses at the last point")
        candidates, worst = self.shelves[name, "candidates"], self.shelves[name, "worst"]
        _rule(name not in self.chosen or worst == candidates, "every restart hands on as many points")
        self.chosen.add(name)
        self.shelves[name, "worst"] = candidates

    def _recall(self, operation: Recall, name: str) -> None:
        held = self.shelves[name, operation.shelf]
        _rule(isinstance(operation.index, int) and 0 <= operation.index < held, "a point is kept before it is recalled")
        self.registers.add(name)
        self._forget(name)

    def _keep(self, operation: Keep, name: str) -> None:
        self._there(operation.at)
        self._chosen(operation)
        _rule(self.goal == "draw" and not self.aside, "points are kept to draw, evaluated to train")
        self.handed += 1

    def _carry(self, operation: Carry, name: str) -> None:
        self._there(name)
        self._there(operation.anchor)

    def _update(self, operation: Update, name: str) -> None:
        _rule(not self.aside, "what was put aside is taken back")
        self.updated = True

    def _restore(self, operation: Restore, name: str) -> None:
        _rule(self.perturbed[-1:] == [name], "perturbed weights are restored, the innermost first")
        _rule((operation.how == "subtract") == self.updated, "an update keeps its weights, and loses the perturbation")
        self.waiting.discard(name)
        self._forget_all()
        self.perturbed.pop()
        self.displaced -= {name} if operation.how == "anchor" else set()


def _structure(operations: tuple[Operation, ...], frozen: bool, coefficients: bool, indices: bool) -> None:
    for operation in operations:
        if isinstance(operation, Frozen):
            _rule(not frozen, "a frozen region holds no other")
            _structure(operation.body, True, coefficients, indices)
        elif isinstance(operation, Repeat):
            listed = bool(operation.coefficients)
            _rule(operation.count >= 2, "a loop runs at least twice")
            _rule(len(operation.coefficients) in {0, operation.count}, "a loop has a coefficient for each turn")
            for coefficient in operation.coefficients:
                _coefficient(coefficient, coefficients)
            _structure(operation.body, frozen, coefficients or listed, indices or operation.first is not None)
        else:
            _one(operation, frozen, coefficients, indices)


def _one(operation: Operation, frozen: bool, coefficients: bool, indices: bool) -> None:
    coefficient = getattr(operation, "coefficient", None)
    if isinstance(operation, Evaluate):
        weights = operation.asks_weights
        _rule(not (weights and frozen), "frozen weights have no gradient")
        _rule(weights == (coefficient is not None), "weight evaluations, and they alone, have a coefficient")
        bounded = operation.radius is not None
        _rule(bounded == operation.loss.bounded, "losses of interval bounds, and they alone, have a radius")
        _rule(not bounded or operation.wants == "weights", "interval bounds are asked for the weights' gradient alone")
        _rule(not (bounded and operation.smoothed), "interval bounds are of the network without smoothing noise")
        _rule(_brings_its_clean_logits(operation), "an evaluation has the clean logits that its loss asks for")
    _rule(not (frozen and isinstance(operation, _OF_WEIGHTS)), "frozen weights do not move")
    _coefficient(coefficient, coefficients)
    if getattr(operation, "index", None) == "loop":
        _rule(indices, "a loop's index stands inside a loop that counts")


def _brings_its_clean_logits(evaluation: Evaluate) -> bool:
    """By as many forwards as the loss reads them, or fewer but one; kept ones are constants."""
    reads = len(evaluation.loss.clean)
    if evaluation.clean == "kept":
        return reads > 0 and evaluation.loss.holds_clean
    return min(reads, 1) <= evaluation.clean <= reads


def _coefficient(coefficient: Fraction | str | None, looped: bool) -> None:
    if coefficient == "loop":
        _rule(looped, "a loop's coefficient stands inside a loop that lists them")
    elif coefficient is not None:
        _rule(coefficient != 0, "a point of coefficient 0 is not handed on")


def _rule(holds: bool, rule: str) -> None:
    if not holds:
        raise PlanError(rule)
