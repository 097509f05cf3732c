"""A plan's operations as Python statements, each block under a comment that names the recipe's and the paper's line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from atentdsl.codegen.constants import Constants
from atentdsl.codegen.literals import file_name
from atentdsl.plan.operations import (
    Call,
    Evaluate,
    Frozen,
    Keep,
    Move,
    Operation,
    Origin,
    Plan,
    Project,
    Repeat,
    Start,
    Take,
    Update,
)
from atentdsl.recipe import Recipe

INDENT = "    "
LONGEST_NAME = 23  # of a file in a comment: with a line below 10,000, the widest comment has 120 characters
# How a constant is called: what precedes the parameter's name, by the family of the primitive.
PREFIX = {"starts": "START_", "objectives": "OBJECTIVE_", "targets": "TARGET_", "schedules": "LR_"}


class Statements:
    """Writes the body of one step.

    Attributes:
        lines: the statements so far, indented by one level.
        constants: what they refer to.
        functions: the primitives' functions they call.
        runtime: the names they need from `atentdsl.runtime`.
    """

    def __init__(self, recipe: Recipe, plan: Plan) -> None:
        self.lines: list[str] = []
        self.constants = Constants()
        self.functions: list[Callable[..., Any]] = []
        self.runtime: set[str] = set()
        self._recipe, self._goal = recipe, plan.goal
        moved = any(isinstance(o, Start | Move) for o in plan.flat())
        self._point = "z" if moved else "x"
        self._followed = _moves_whose_old_point_is_read(plan)
        if moved and not any(isinstance(o, Start) for o in plan.flat()):
            self._write(1, "z = x")
        self._block(plan.operations, 1)

    def call(self, call: Call, origin: Origin, **tensors: str) -> str:
        """The text of a call: tensors by their names, numbers by their constants."""
        function = call.function
        self.functions.append(function)
        numbers = dict(call.arguments)
        arguments = []
        for name in inspect.signature(function).parameters:
            if name in numbers:
                arguments.append(self._constant(call, name, numbers[name], origin))
            else:
                arguments.append(tensors[name])
        return f"{function.__name__}({', '.join(arguments)})"

    def comment(self, origin: Origin, depth: int = 1) -> str:
        """What a block does, the recipe's line and table that ask for it, and the paper's line."""
        table = ".".join(str(key) for key in origin.path if isinstance(key, str))
        says = f"{INDENT * depth}# {origin.says}"
        return f"{says:<52} {f'{self.place(origin.path)} [{table}]':<46} {origin.paper}".rstrip()

    def place(self, path: Sequence[str | int], key: str | None = None) -> str:
        """`file:line`, where the recipe says this; `default` where it does not."""
        span = self._recipe.places.get((*path, key) if key else tuple(path))
        if span is None:
            return "default"
        if span.file.startswith("--set "):
            return "--set"
        return f"{file_name(span.file, LONGEST_NAME)}:{span.line}"

    def _constant(self, call: Call, name: str, value: Any, origin: Origin) -> str:
        prefix = f"{call.kind.upper()}_" if call.family == "projections" else PREFIX.get(call.family, "")
        path: tuple[str | int, ...] = origin.path
        if call.family == "couplings":
            path = ("sampler", 0, "target", "coupling")
        if call.family == "schedules":
            path = (*origin.path, "lr")
            if not any(place[:-1] == path for place in self._recipe.places):
                return self.constants.name(f"{prefix}{name.upper()}", value, self.place(path))  # a number alone
        return self.constants.name(f"{prefix}{name.upper()}", value, self.place(path, name))

    def _block(self, operations: Sequence[Operation], depth: int) -> None:
        for operation in operations:
            if depth == 1 and self.lines and isinstance(operation, Repeat | Frozen):
                self.lines.append("")
            match operation:
                case Take() | Update():
                    pass  # the template's first and last lines
                case Start(call=call, stream=stream):
                    self._comment(depth, operation.origin)
                    drawn = self._draw(call, stream, "x")
                    self._write(depth, f"z = {self.call(call, operation.origin, anchor='x', **drawn)}")
                case Evaluate():
                    self._evaluate(operation, depth)
                case Move():
                    self._move(operation, depth)
                case Project(call=call):
                    self._comment(depth, operation.origin)
                    self._write(depth, f"z = {self.call(call, operation.origin, z='z', old='old', anchor='x')}")
                case Keep(coefficient=c):
                    self._comment(depth, operation.origin)
                    self._write(depth, f"points.append(({self._point}, {self._coefficient(c)}))")
                case Frozen(body=body):
                    self.runtime.add("weights_frozen")
                    self._write(depth, "with weights_frozen(model):")
                    self._block(body, depth + 1)
                case Repeat(count=count, body=body, coefficients=coefficients):
                    self._loop(count, body, coefficients, depth)

    def _loop(self, count: int, body: Sequence[Operation], coefficients: Sequence[Fraction], depth: int) -> None:
        if coefficients:
            values = tuple(float(c) for c in coefficients)
            name = self.constants.name("COEFFICIENTS", values, self.place(("sampler", 0, "averaging")))
            self._write(depth, f"for c in {name}:")
        else:
            turns = self.constants.name("TURNS", count, self.place(("sampler", 0, "moves")))
            self._write(depth, f"for _ in range({turns}):")
        self._block(body, depth + 1)

    def _evaluate(self, operation: Evaluate, depth: int) -> None:
        self._comment(depth, operation.origin)
        loss = operation.loss.function
        self.functions.append(loss)
        if operation.wants == "input":
            self.runtime.add("input_gradient")
            arguments = f'model, {self._point}, y, {loss.__name__}, rng, mode="{operation.mode}"'
            self._write(depth, f"g = input_gradient({arguments})")
            return
        self.runtime.add("weight_gradient")
        weight = f"{self._coefficient(operation.coefficient)} / n"
        arguments = f"model, {self._point}, y, {loss.__name__}, rng, weight={weight}"
        self._write(depth, f"signal += weight_gradient({arguments})")

    def _move(self, move: Move, depth: int) -> None:
        self._comment(depth, move.origin)
        drift = "g"
        if move.scale != 1:
            path = ("sampler", 0, "target")
            drift = f"{self.constants.name('BETA', move.scale, self.place(path, 'beta'))} * {drift}"
        if move.batch_mean:
            drift = f"{drift} / n"
        pull = f" + {self.call(move.coupling, move.origin, z='z', anchor='x')}" if move.coupling else ""
        if move.covers == "energy" and move.pull == "time":
            drift += pull
        if move.drift:
            drift = self.call(move.drift, move.origin, g=drift)
        if move.covers == "loss" and move.pull == "time":
            drift += pull
        if id(move) in self._followed:
            self._write(depth, "old = z")
        if drift != "g":
            self._write(depth, f"drift = {drift}")
        drawn = self._draw(move.kernel, move.stream, "z")
        tensors = {"z": "z", "drift": "g" if drift == "g" else "drift", **drawn}
        proposal = self.call(move.kernel, move.origin, **tensors)
        self._write(depth, f"z = {proposal}{pull if move.pull == 'move' else ''}")

    def _draw(self, call: Call, stream: str, like: str) -> dict[str, str]:
        names = {"normal": "xi", "uniform": "u"}
        return {names[law]: f'rng.{law}("{stream}", {like})' for law in call.primitive.draws}

    def _coefficient(self, c: Fraction | str | None) -> str:
        if not isinstance(c, Fraction):
            return "c"
        if c == 1:
            return "1.0"
        return self.constants.name("COEFFICIENT", float(c), self.place(("sampler", 0, "averaging")))

    def _comment(self, depth: int, origin: Origin) -> None:
        self.lines.append(self.comment(origin, depth))

    def _write(self, depth: int, text: str) -> None:
        self.lines.append(f"{INDENT * depth}{text}")


def _moves_whose_old_point_is_read(plan: Plan) -> set[int]:
    """The moves, by identity, after which a projection reads the point before the move."""
    found: set[int] = set()
    last: Move | None = None
    for operation in plan.flat():
        if isinstance(operation, Move):
            last = operation
        elif isinstance(operation, Project) and "old" in _asked(operation.call) and last is not None:
            found.add(id(last))
    return found


def _asked(call: Call) -> set[str]:
    return set(inspect.signature(call.function).parameters)
