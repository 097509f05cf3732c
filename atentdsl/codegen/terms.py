"""The terms of a generated module's statements: calls of primitives' functions, and constants by their places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from atentdsl.codegen.constants import Constants
from atentdsl.codegen.literals import file_name
from atentdsl.plan.values import Call, Origin, Scheduled
from atentdsl.recipe import Recipe
from atentdsl.source import KeyPath

LONGEST_NAME = 23  # of a file in a comment: with a line below 10,000, the widest comment has 120 characters
# How a constant is called: what precedes the parameter's name, by the family of the primitive.
PREFIX = {"starts": "START_", "objectives": "OBJECTIVE_", "targets": "TARGET_"}


class Terms:
    """Writes calls and constants, and remembers what they need.

    Attributes:
        constants: what has a name.
        functions: the primitives' functions that are called.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.constants = Constants()
        self.functions: list[Callable[..., Any]] = []
        self._recipe = recipe

    def function(self, function: Callable[..., Any]) -> str:
        """The function's name, once it is known to be needed."""
        self.functions.append(function)
        return function.__name__

    def call(self, call: Call, origin: Origin, index: str | None = None, **tensors: str) -> str:
        """The text of a call: tensors by their names, numbers by their constants.

        Args:
            call: what is called.
            origin: where the recipe says its numbers.
            index: the number of the move, for numbers that change over moves.
            tensors: the variable of each tensor that the function may ask for.
        """
        name = self.function(call.function)
        prefix = f"{call.kind.upper()}_" if call.family == "projections" else PREFIX.get(call.family, "")
        numbers = dict(call.arguments)
        arguments = [
            self.number(f"{prefix}{asked.upper()}", numbers[asked], (*origin.path, asked), index)
            if asked in numbers
            else tensors[asked]
            for asked in call.asks
        ]
        return f"{name}({', '.join(arguments)})"

    def number(self, wanted: str, value: Any, path: KeyPath, index: str | None, clock: str = "rng.") -> str:
        """A number as a term: its constant's name, or a schedule's call.

        Args:
            wanted: what to call the constant.
            value: the number, or how it changes.
            path: where the recipe says it.
            index: the number of the move, counted from 1.
            clock: what stands before `epoch` and `step`.
        """
        if not isinstance(value, Scheduled):
            return self.name(wanted, value, path)
        counted = {"epochs": f"{clock}epoch", "steps": f"{clock}step", "moves": index or ""}[value.over]
        numbers = dict(value.call.arguments)
        arguments = [self.name(f"{wanted}_{name.upper()}", number, (*path, name)) for name, number in numbers.items()]
        return f"{self.function(value.call.function)}({', '.join([counted, *arguments])})"

    def name(self, wanted: str, value: Any, path: KeyPath) -> str:
        """The name of a constant, with the recipe's line beside it."""
        return self.constants.name(wanted, value, self.place(path))

    def place(self, path: Sequence[str | int]) -> str:
        """`file:line`, where the recipe says this; `default` where it does not."""
        places = self._recipe.places
        span = places.get(tuple(path))
        alone = tuple(path[-1:]) == ("value",)
        if span is None and alone and not any(place[:-1] == tuple(path[:-1]) for place in places):
            span = places.get(tuple(path[:-1]))  # a number that stands for the table
        if span is None:
            return "default"
        if span.file.startswith("--set "):
            return "--set"
        return f"{file_name(span.file, LONGEST_NAME)}:{span.line}"


def drawn(call: Call, stream: str, like: str) -> dict[str, str]:
    """What the call's primitive draws: `xi` or `u` from the stream, in the shape of the variable `like`."""
    names = {"normal": "xi", "uniform": "u"}
    return {names[law]: f'rng.{law}("{stream}", {like})' for law in call.primitive.draws}
