"""Roll: equal consecutive operations become a loop. Always legal; preserves every bit.

Operations that differ in their coefficient alone count as equal: the loop then runs over the coefficients. A turn
begins with the gradient in the point, so that a loop reads as one move after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import attrs

from atentdsl.plan.operations import Evaluate, Frozen, Keep, Operation, Plan, Repeat

NAME = "roll"
LONGEST_BODY = 32  # operations; one move's are at most a handful


def apply(plan: Plan) -> Plan:
    """The plan with its repetitions as loops."""
    return attrs.evolve(plan, operations=tuple(_rolled(plan.operations)))


def why_not(plan: Plan) -> str | None:
    """The reason why the pass changes nothing, or None."""
    return None if apply(plan) != plan else "no operations repeat"


def effect(before: Plan, after: Plan) -> str:
    """What the pass did."""
    return f"{_written(before.operations)} operations are written as {_written(after.operations)}"


def _written(operations: Sequence[Operation]) -> int:
    return sum(1 + _written(getattr(operation, "body", ())) for operation in operations)


def _rolled(operations: Sequence[Operation]) -> list[Operation]:
    shapes = _numbered([_shape(operation) for operation in operations])
    result: list[Operation] = []
    i = 0
    while i < len(operations):
        length, count = _repetition(shapes, i) if _begins_a_turn(operations[i]) else (1, 1)
        loop = _loop(operations[i : i + length * count], length, count) if count > 1 else None
        result.append(loop or _inside(operations[i]))
        i += length * count if loop else 1
    return result


def _begins_a_turn(operation: Operation) -> bool:
    return isinstance(operation, Frozen) or (isinstance(operation, Evaluate) and operation.wants == "input")


def _numbered(shapes: Sequence[Operation]) -> list[int]:
    """A number for each shape, equal where the shapes are: numbers compare faster."""
    numbers: dict[Operation, int] = {}
    return [numbers.setdefault(shape, len(numbers)) for shape in shapes]


def _repetition(shapes: Sequence[int], i: int) -> tuple[int, int]:
    """The body's length and its number of turns that cover most of what follows; the shorter body where equal."""
    best = (1, 1)
    for length in range(1, min(LONGEST_BODY, (len(shapes) - i) // 2) + 1):
        count = 1
        while shapes[i : i + length] == shapes[i + length * count : i + length * (count + 1)]:
            count += 1
        if count > 1 and length * count > best[0] * best[1]:
            best = (length, count)
    return best


def _loop(operations: Sequence[Operation], length: int, count: int) -> Repeat | None:
    """The loop, or None where a turn has several coefficients that change: one list cannot say them."""
    turns = [operations[turn * length : (turn + 1) * length] for turn in range(count)]
    listed = [[c for operation in turn for c in _coefficients(operation)] for turn in turns]
    if all(turn == listed[0] for turn in listed):
        return Repeat(count, tuple(_rolled(turns[0])), origin=operations[0].origin)
    if any(len(turn) != 1 for turn in listed):
        return None
    body = _rolled([_shape(operation) for operation in turns[0]])
    return Repeat(count, tuple(body), tuple(turn[0] for turn in listed), origin=operations[0].origin)


def _inside(operation: Operation) -> Operation:
    if isinstance(operation, Frozen | Repeat):
        return attrs.evolve(operation, body=tuple(_rolled(operation.body)))
    return operation


def _shape(operation: Operation) -> Operation:
    """The operation with its coefficient taken out, to compare by."""
    if isinstance(operation, Evaluate | Keep) and isinstance(operation.coefficient, Fraction):
        return attrs.evolve(operation, coefficient="loop")
    if isinstance(operation, Frozen):
        return attrs.evolve(operation, body=tuple(_shape(inner) for inner in operation.body))
    return operation


def _coefficients(operation: Operation) -> list[Fraction]:
    if isinstance(operation, Evaluate | Keep) and isinstance(operation.coefficient, Fraction):
        return [operation.coefficient]
    if isinstance(operation, Frozen):
        return [c for inner in operation.body for c in _coefficients(inner)]
    return []
