"""Roll: equal consecutive operations become a loop. Always legal; preserves every bit.

Operations that differ in one coefficient alone, or in their index by one a turn, count as equal: the loop then runs
over the coefficients, and counts. A turn begins with the gradient in the point, or with what a chain, a target or a
bisection begins with, so that a loop reads as one move after another. Inner loops are found first; what repeats around
them next.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import attrs

from atentdsl.plan.margins import Middle
from atentdsl.plan.metropolis import Propose
from atentdsl.plan.operations import (
    Clear,
    Evaluate,
    Frozen,
    Noise,
    Operation,
    PutAside,
    Recall,
    Repeat,
    Start,
    Take,
)
from atentdsl.plan.program import Plan
from atentdsl.recipe.tables import Compile

NAME = "roll"
LONGEST_BODY = 32  # operations; one move's are at most a handful


def apply(plan: Plan, settings: Compile) -> Plan:
    """The plan with its repetitions as loops."""
    operations = list(plan.operations)
    while (rolled := _rolled(operations)) != operations:
        operations = rolled
    return attrs.evolve(plan, operations=tuple(operations))


def why_not(plan: Plan, settings: Compile) -> str | None:
    """The reason why the pass changes nothing, or None."""
    return None if apply(plan, settings) != plan else "no operations repeat"


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
        length, count = _repetition(shapes, i) if _begins_a_turn(operations, i) else (1, 1)
        loop = _loop(operations[i : i + length * count], length, count) if count > 1 else None
        result.append(loop or _inside(operations[i]))
        i += length * count if loop else 1
    return result


def _begins_a_turn(operations: Sequence[Operation], i: int) -> bool:
    operation = operations[i]
    if isinstance(operation, Noise) and i + 1 < len(operations):
        operation = operations[i + 1]  # drawn for this evaluation
        return isinstance(operation, Evaluate) and operation.asks_input
    if isinstance(operation, Evaluate):
        return operation.asks_input
    return isinstance(operation, Frozen | Middle | Propose | PutAside | Recall | Start | Take | Clear)


def _numbered(shapes: Sequence[Operation]) -> list[int]:
    """A number for each shape, equal where the shapes are: numbers compare faster."""
    numbers: dict[Operation, int] = {}
    return [numbers.setdefault(shape, len(numbers)) for shape in shapes]


def _repetition(shapes: Sequence[int], i: int) -> tuple[int, int]:
    """The body's length and its number of turns that cover most of what follows; the shorter body where equal."""
    best = (1, 1)
    for length in range(1, min(LONGEST_BODY, (len(shapes) - i) // 2) + 1):
        if shapes[i] != shapes[i + length]:
            continue
        count = 1
        while shapes[i : i + length] == shapes[i + length * count : i + length * (count + 1)]:
            count += 1
        if count > 1 and length * count > best[0] * best[1]:
            best = (length, count)
    return best


def _loop(operations: Sequence[Operation], length: int, count: int) -> Repeat | None:
    """The loop, or None where more than one coefficient changes, or an index otherwise than by one a turn."""
    turns = [operations[turn * length : (turn + 1) * length] for turn in range(count)]
    coefficients = [[value for operation in turn for value in _values(operation, "coefficient")] for turn in turns]
    indices = [[value for operation in turn for value in _values(operation, "index")] for turn in turns]
    listed = _changing(coefficients)
    counted = _changing(indices)
    if len(listed) > 1 or (listed and _open(turns[0], "coefficient")) or (counted and _open(turns[0], "index")):
        return None
    first: int | None = indices[0][counted[0]] if counted else None
    if first is not None and any(turn[p] != first + number for number, turn in enumerate(indices) for p in counted):
        return None
    body = list(turns[0])
    body = _with_loop(body, "coefficient", listed)
    body = _with_loop(body, "index", counted)
    over = tuple(turn[listed[0]] for turn in coefficients) if listed else ()
    return Repeat(count, tuple(_rolled(body)), over, first, origin=operations[0].origin)


def _changing(turns: Sequence[Sequence[Any]]) -> list[int]:
    """The places whose value is not the same in every turn."""
    return [
        place for place, values in enumerate(zip(*turns, strict=True)) if any(value != values[0] for value in values)
    ]


def _with_loop(operations: list[Operation], name: str, places: Sequence[int]) -> list[Operation]:
    """The operations with the loop's value at these places, counted over all that have such a value."""
    seen = 0
    result: list[Operation] = []
    for operation in operations:
        if isinstance(operation, Frozen):
            inside = len([value for inner in operation.body for value in _values(inner, name)])
            own = [place - seen for place in places if seen <= place < seen + inside]
            result.append(attrs.evolve(operation, body=tuple(_with_loop(list(operation.body), name, own))))
            seen += inside
        elif _values(operation, name):
            bound: dict[str, Any] = {name: "loop"} if seen in places else {}
            result.append(attrs.evolve(operation, **bound))
            seen += 1
        else:
            result.append(operation)
    return result


def _inside(operation: Operation) -> Operation:
    if isinstance(operation, Frozen | Repeat):
        return attrs.evolve(operation, body=tuple(_rolled(operation.body)))
    return operation


def _shape(operation: Operation) -> Operation:
    """The operation with its coefficient and its index taken out, to compare by."""
    if isinstance(operation, Frozen):
        return attrs.evolve(operation, body=tuple(_shape(inner) for inner in operation.body))
    stand_ins = {"coefficient": Fraction(0), "index": -1}  # not `loop`, which belongs to a loop around
    taken: dict[str, Any] = {name: value for name, value in stand_ins.items() if _values(operation, name)}
    return attrs.evolve(operation, **taken) if taken else operation


def _values(operation: Operation, name: str) -> list[Any]:
    """The operation's numbers of that name, those of a frozen region's body included; not a loop's own."""
    if isinstance(operation, Frozen):
        return [value for inner in operation.body for value in _values(inner, name)]
    value = getattr(operation, name, None)
    return [value] if isinstance(value, Fraction | int) else []


def _open(operations: Sequence[Operation], name: str) -> bool:
    """Whether a value in there belongs to a loop around it: this loop must not take it for its own."""
    for operation in operations:
        if isinstance(operation, Repeat):
            own = operation.coefficients if name == "coefficient" else operation.first is not None
            if not own and _open(operation.body, name):
                return True
        elif isinstance(operation, Frozen):
            if _open(operation.body, name):
                return True
        elif getattr(operation, name, None) == "loop":
            return True
    return False
