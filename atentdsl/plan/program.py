"""The plan itself: operations towards a goal, in the order they run."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal

import attrs

from atentdsl.plan.operations import Frozen, Operation, Repeat

Goal = Literal["train", "draw"]


@attrs.frozen
class Plan:
    """Operations towards a goal: `train` a step, or `draw` the points and their weights.

    Attributes:
        neglected: what the coefficients of points that are not evaluated sum to: first of the signal, then of each
            target in the order their gradients are gathered; empty where none was left out.
    """

    goal: Goal
    operations: tuple[Operation, ...]
    neglected: tuple[Fraction, ...] = ()

    def flat(self) -> Iterator[Operation]:
        """Every operation in the order it runs, loops unrolled and regions opened."""
        return flatten(self.operations)


def flatten(operations: tuple[Operation, ...]) -> Iterator[Operation]:
    """Every operation in the order it runs, loops unrolled and regions opened."""
    for operation in operations:
        if isinstance(operation, Frozen):
            yield from flatten(operation.body)
        elif isinstance(operation, Repeat):
            for turn in range(operation.count):
                for inner in flatten(operation.body):
                    yield _in_turn(inner, operation, turn)
        else:
            yield operation


def _in_turn(operation: Operation, loop: Repeat, turn: int) -> Operation:
    """The operation with the coefficient and the index of a loop's turn."""
    changed: dict[str, Any] = {}
    if loop.coefficients and getattr(operation, "coefficient", None) == "loop":
        changed["coefficient"] = loop.coefficients[turn]
    if loop.first is not None and getattr(operation, "index", None) == "loop":
        changed["index"] = loop.first + turn
    return attrs.evolve(operation, **changed) if changed else operation
