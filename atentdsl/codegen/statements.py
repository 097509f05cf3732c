"""A plan's operations as Python statements, each block under a comment that names the recipe's and the paper's line."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from fractions import Fraction

from atentdsl.codegen import smoothing
from atentdsl.codegen.literals import LINE
from atentdsl.codegen.margins import BATCH, Searched
from atentdsl.codegen.metropolis import HERE, THERE, Tested
from atentdsl.codegen.moves import Moves
from atentdsl.codegen.names import Names
from atentdsl.codegen.terms import PREFIX, Terms, drawn
from atentdsl.codegen.wrapping import INDENT, wrapped
from atentdsl.plan.margins import Middle, Remember, Search
from atentdsl.plan.metropolis import Accept, Propose
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
)
from atentdsl.plan.program import Plan
from atentdsl.plan.values import Call, Origin
from atentdsl.primitives.tensors import between, bounds_in_box
from atentdsl.recipe import Recipe

TAKEN = "x, y = next(batches)"


class Statements:
    """Writes the body of one step.

    Attributes:
        lines: the statements so far, indented by one level.
        terms: their constants, and the functions they call.
        runtime: the names they need from `atentdsl.runtime`.
        imports: the lines that import what else they need.
    """

    def __init__(self, recipe: Recipe, plan: Plan) -> None:
        self.lines: list[str] = []
        self.terms = Terms(recipe)
        self.runtime: set[str] = set()
        self.imports: set[str] = set()
        self._goal = plan.goal
        self._names = Names(plan)
        self._moves = Moves(self.terms, self._names, list(_as_written(plan.operations)))
        self._tested = Tested(self.terms, self._names)
        self._searched = Searched(self.terms, self._names)
        self._remembers = any(isinstance(o, Remember) for o in plan.flat())
        self._layered = {o.sampler for o in plan.flat() if isinstance(o, Move) and _is_layered(o.drift)}
        self._counts = any(
            (isinstance(o, Evaluate) and o.asks_weights) or (isinstance(o, Move) and o.batch_mean) for o in plan.flat()
        )
        self._read = {name for o in plan.flat() for name in _registers_read(o)}
        self._aside: list[str] = []
        self._coefficients: list[str] = []  # the loops' variables, innermost last
        self._indices: list[str] = []
        if plan.goal == "draw" and self._counts:
            self._write(1, "n = len(x)")
        self._block(plan.operations, 1)
        self.lines = _without_names_that_nobody_reads(self.lines)

    def comment(self, origin: Origin, depth: int = 1) -> str:
        """What a block does, the recipe's line and table that ask for it, and the paper's line."""
        table = ".".join(str(key) for key in origin.path if isinstance(key, str))
        says, place = f"{INDENT * depth}# {origin.says}", self.terms.place(origin.path)
        columns = f"{says:<52} {f'{place} [{table}]':<46} {origin.paper}".rstrip()
        shorter = (columns, f"{says}  {place} [{table}]  {origin.paper}".rstrip(), f"{says}  {place}")
        return next((text for text in shorter if len(text) <= LINE), says)

    def _block(self, operations: Sequence[Operation], depth: int) -> None:
        for operation in operations:
            if depth == 1 and self.lines and isinstance(operation, Repeat | Frozen | Anchor | Restore | Update):
                self.lines.append("")
            match operation:
                case Frozen(body=body):
                    self._call_runtime("weights_frozen")
                    self._write(depth, "with weights_frozen(model):")
                    self._block(body, depth + 1)
                case Repeat():
                    self._loop(operation, depth)
                case Take() if self._goal == "draw":
                    pass  # the batch is given
                case Place():
                    pass  # `placed`, beside the step
                case _:
                    statements = self._statements(operation)
                    if statements:
                        self.lines.append(self.comment(operation.origin, depth))
                    for line in statements:
                        self._write(depth, line)

    def _loop(self, loop: Repeat, depth: int) -> None:
        k, c = ("" if over else name for over, name in ((loop.first is None, "k"), (not loop.coefficients, "c")))
        k = f"{k}_{len(self._indices) + 1}" if k and self._indices else k
        c = f"{c}_{len(self._coefficients) + 1}" if c and self._coefficients else c
        if c:
            values = tuple(float(value) for value in loop.coefficients)
            over = self.terms.name("COEFFICIENTS", values, (*_turns(loop)[:2], "averaging"))
            over, variables = (f"enumerate({over}, start={loop.first})", f"{k}, {c}") if k else (over, c)
        else:
            turns = self.terms.name("TURNS", loop.count, _turns(loop))
            first = f"{loop.first}, {loop.first} + " if loop.first else ""
            over, variables = f"range({first}{turns})", k or "_"
        self._write(depth, f"for {variables} in {over.replace(', start=0', '')}:")
        self._coefficients += [c] if c else []
        self._indices += [k] if k else []
        self._block(loop.body, depth + 1)
        self._coefficients = self._coefficients[:-1] if c else self._coefficients
        self._indices = self._indices[:-1] if k else self._indices

    def _statements(self, operation: Operation) -> list[str]:
        name = getattr(operation, "sampler", "")
        of, own = self._names.of, self._names.own
        z, w = (of(name), of(f"{name}.anchor")) if name else ("", "")
        match operation:
            case Take():
                taken = [f"{BATCH} = next(batches)", f"x, y = {BATCH}"] if self._remembers else [TAKEN]
                return [*taken, *(["n = len(x)"] if self._counts else [])]
            case Anchor():
                self._call_runtime("weights")
                lines = [f"{w} = weights(model)"]
                if name in self._layered:
                    self._call_runtime("weight_shapes")
                    lines.append("shapes = weight_shapes(model)")
                return lines
            case Start():
                return self._start(operation)
            case Load():
                self._call_runtime("set_weights")
                return [f"set_weights(model, {z}, rng)"]
            case Noise():
                self._call_runtime("smoothing_noise")
                return [smoothing.drawn(operation, self.terms)]
            case Clean():
                return [self._clean(operation)]
            case Evaluate():
                makes = operation.loss.holds_clean and operation.clean not in {0, "kept"}
                return [*([self._clean(operation)] if makes else []), *self._evaluate(operation)]
            case PutAside():
                self._call_runtime("put_aside")
                self._aside.append(name)
                return [f"{own('aside', name)} = put_aside(model)"]
            case Gather():
                self._call_runtime("gathered")
                self._aside.pop()
                return [f"g = gathered(model, {own('aside', name)})"]
            case Move():
                return self._moves.move(operation, self._index(operation.index))
            case Project(call=call, anchor=anchor, index=index):
                tensors = {"z": z, "old": "old", "anchor": of(anchor)}
                return [f"{z} = {self._call(call, operation.origin, index, **tensors)}"]
            case Bounds(anchor=anchor, radius=radius):
                numbers = self.terms.number("LINF_BALL_RADIUS", radius, (*operation.origin.path, "radius"), None)
                low_high = f"{own('low', name)}, {own('high', name)}"
                return [f"{low_high} = {self.terms.function(bounds_in_box)}({of(anchor)}, {numbers})"]
            case Between():
                return [f"{z} = {self.terms.function(between)}({z}, {own('low', name)}, {own('high', name)})"]
            case Propose(index=index):
                return self._tested.propose(operation, self._index(index))
            case Accept(index=index):
                self._call_runtime("where_taken")
                return self._tested.accept(operation, self._index(index))
            case _ if isinstance(operation, Search):
                lines, needed = self._searched.statements(operation)
                self.runtime |= needed
                return lines
            case Displace(coefficient=c, gain=gain):
                self._call_runtime("displacement_gradient")
                path = (*operation.origin.path, "gain")
                factor = "" if gain == 1 else f"{self.terms.number('GAIN', gain, path, None)} * "
                weight = f"{factor}{self._coefficient(c, operation.origin)}"
                return [f"{self._added()}displacement_gradient(model, {w}, {z}, weight={weight})"]
            case Clear(shelf=shelf):
                return [f"{own(shelf, name)} = {'None' if shelf == 'worst' else '[]'}"]
            case Hold(shelf=shelf):
                return [f"{own(shelf, name)}.append({z})"]
            case Worst():
                self._call_runtime("worse")
                worst, candidates = own("worst", name), own("candidates", name)
                return [f"{worst} = worse({worst}, {candidates}, losses)"]
            case Recall(shelf=shelf, index=index):
                points = f"{own(shelf, name)}{'.points' if shelf == 'worst' else ''}"
                return [f"{z} = {points}[{self._indices[-1] if index == 'loop' else index}]"]
            case Keep(at=at, coefficient=c):
                times = f" * {self._searched.weighing(at)}" if operation.chosen else ""
                return [f"drawn.append(({of(at)}, {self._coefficient(c, operation.origin)}{times}))"]
            case Carry(anchor=anchor):
                return [f'state["{name}.carry"] = {z} - {of(anchor)}']
            case Update(clip=None):
                return ["optimizer.step()"]
            case Update(clip=clip):
                self._call_runtime("clip_gradient")
                limit = self.terms.number("CLIP", clip, (*operation.origin.path, "clip"), None)
                return [f"clip_gradient(model, {limit})", "optimizer.step()"]
            case Restore(how=how):
                self.runtime |= {"set_weights"} | ({"weights"} if how == "subtract" else set())
                restored = w if how == "anchor" else f"weights(model) - ({z} - {w})"
                return [f"set_weights(model, {restored}, rng)"]
        raise AssertionError(f"{type(operation).__name__} has no statement")

    def _start(self, start: Start) -> list[str]:
        z, anchor = self._names.of(start.sampler), self._names.of(start.anchor)
        lines = [f"{self._moves.velocity(start.sampler)} = 0.0"] if start.momentum else []
        if start.call is None:
            return [f"{z} = {anchor}", *lines] if start.sampler in self._read else lines
        tensors = drawn(start.call, start.stream, anchor) | {"anchor": anchor}
        if "carried" in start.call.asks:
            self._call_runtime("carried")
            tensors["carried"] = f'carried(state, "{start.sampler}.carry", {anchor})'
        return [f"{z} = {self._call(start.call, start.origin, None, **tensors)}", *lines]

    def _evaluate(self, operation: Evaluate) -> list[str]:
        compared, loss, clean = self._loss(operation)
        arguments = f"model, {self._names.of(operation.at)}, {compared}, {loss}, rng"
        told = smoothing.told(operation)
        mode = f'mode="{operation.mode}"{told}'
        if operation.wants == "input":
            self._call_runtime("input_gradient")
            return [f"g = input_gradient({arguments}, {mode})"]
        if operation.wants == "density":
            self._call_runtime("density")
            return [f"{THERE if '.' in operation.at else HERE} = density({arguments}, {mode})"]
        if operation.wants == "loss":
            self._call_runtime("example_losses")
            return [f"losses = example_losses({arguments}, {mode})"]
        weight = f"{self._coefficient(operation.coefficient, operation.origin)} / n"
        if operation.wants == "both":
            self._call_runtime("gradients")
            called = f"gradients({arguments}, weight={weight}, {mode})"
            return [f"g, _ = {called}"] if self._aside else [f"g, part = {called}", "signal += part"]
        self._call_runtime("weight_gradient")
        mode = told if operation.mode == "train" else f", {mode}"
        if operation.chosen:
            clean += f", chosen={self._searched.weighing(operation.at)}"
        if operation.radius is not None:
            mode += f", radius={self.terms.number('OBJECTIVE_RADIUS', operation.radius, ('objective', 'radius'), None)}"
        return [f"{self._added()}weight_gradient({arguments}, weight={weight}{mode}{clean})"]

    def _clean(self, operation: Evaluate | Clean) -> str:
        self._call_runtime("clean_logits")
        return f'clean = clean_logits(model, x, rng, mode="{operation.mode}"{smoothing.told(operation)})'

    def _loss(self, evaluation: Evaluate) -> tuple[str, str, str]:
        """What the loss compares the logits with, the loss with its numbers, and the clean forwards that it needs."""
        call, path = evaluation.loss, ("objective",)
        loss = self.terms.function(call.function)
        prefix = PREFIX[call.family]
        bound = [
            f"{name}={self.terms.number(f'{prefix}{name.upper()}', value, (*path, name), None)}"
            for name, value in call.arguments
        ]
        compared = "y" if "y" in call.asks else "clean"
        if call.holds_clean:
            bound += [f"{name}=clean" for name in call.clean if name != compared]
        if bound:
            self.imports.add("from functools import partial")
            loss = f"partial({loss}, {', '.join(bound)})"
        if call.holds_clean or not call.clean:
            return compared, loss, ""
        reads = f", reads={len(call.clean)}" if len(call.clean) > 1 else ""
        return compared, loss, f", clean=x{reads}" + (f", forwards={evaluation.clean}" if evaluation.clean != 1 else "")

    def _added(self) -> str:
        """Whether a gradient is the signal's, which is added up, or a target's."""
        return "" if self._aside else "signal += "

    def _call(self, call: Call, origin: Origin, index: int | str | None, **tensors: str) -> str:
        return self.terms.call(call, origin, self._index(index), **tensors)

    def _index(self, index: int | str | None) -> str | None:
        """The number of a move, counted from 1, as a term."""
        if index == "loop":
            return f"{self._indices[-1]} + 1"
        return None if index is None else str(int(index) + 1)

    def _coefficient(self, c: Fraction | str | None, origin: Origin) -> str:
        if not isinstance(c, Fraction):
            return self._coefficients[-1]
        if c == 1:
            return "1.0"
        if origin.path[:1] == ("objective",):
            wanted = "CLEAN" if origin.path[1:] else "COEFFICIENT"
            return self.terms.name(wanted, float(c), ("objective", "clean"))
        averaging = (*origin.path[:2], "averaging")
        said = self.terms.place(averaging) != "default"  # by a default it is less than 1 beside a clean part alone
        return self.terms.name("COEFFICIENT", float(c), averaging if said else ("objective", "clean"))

    def _call_runtime(self, name: str) -> None:
        self.runtime.add(name)

    def _write(self, depth: int, text: str) -> None:
        self.lines += wrapped(text, INDENT * depth)


def _without_names_that_nobody_reads(lines: list[str]) -> list[str]:
    """A batch is taken by every step, and a chain of no moves may read neither its images nor its labels."""
    tree = ast.parse("def step():\n" + "\n".join([*lines, f"{INDENT}pass"]))
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    if {"x", "y"} <= read:
        return lines
    names = ", ".join(name if name in read else "_" for name in ("x", "y"))
    taken = TAKEN.removeprefix("x, y = ") if names == "_, _" else TAKEN.replace("x, y", names)
    return [line.replace(TAKEN, taken) if line.strip() == TAKEN else line for line in lines]


def _registers_read(operation: Operation) -> set[str]:
    """The registers, samplers' points among them, that are of use to the operation."""
    if isinstance(operation, Start):
        return {operation.anchor}
    if isinstance(operation, Anchor | PutAside | Gather) or (
        isinstance(operation, Restore) and operation.how == "anchor"
    ):
        return set()
    return {getattr(operation, name) for name in ("sampler", "at", "anchor") if hasattr(operation, name)}


def _is_layered(drift: Call | None) -> bool:
    return drift is not None and "shapes" in drift.asks


def _as_written(operations: Sequence[Operation]) -> Iterator[Operation]:
    """The operations in their order, those of a loop once."""
    for operation in operations:
        if isinstance(operation, Frozen | Repeat):
            yield from _as_written(operation.body)
        else:
            yield operation


def _turns(loop: Repeat) -> tuple[str | int, ...]:
    """Where the recipe says how often a loop runs: a chain's restarts, the points of an average, or the moves."""
    first = next(_as_written(loop.body))
    if isinstance(first, Recall):
        return (*first.origin.path[:2], "averaging")
    if isinstance(first, Middle):
        return (*first.origin.path[:2], "bisections")
    sampler = next(o.origin.path[:2] for o in _as_written(loop.body) if o.origin.path[:1] == ("sampler",))
    return (*sampler, "restarts" if isinstance(first, Start | Clear) else "moves")
