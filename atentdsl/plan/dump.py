"""A plan as text: one operation a line, loops and regions indented."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from atentdsl.plan.operations import (
    Call,
    Evaluate,
    Frozen,
    Keep,
    Move,
    Operation,
    Plan,
    Project,
    Repeat,
    Start,
    Take,
    Update,
)


def dump(plan: Plan, limit: int | None = None) -> str:
    """The plan's text; of more than `limit` lines the middle is left out and counted."""
    lines = list(_lines(plan.operations, ""))
    if limit is not None and len(lines) > limit:
        head = limit // 2
        left = len(lines) - 2 * head
        lines = [*lines[:head], f"… {left} more …", *lines[-head:]]
    return "\n".join(lines)


def _lines(operations: tuple[Operation, ...], indent: str) -> Iterator[str]:
    for operation in operations:
        yield indent + _line(operation)
        if isinstance(operation, Frozen | Repeat):
            yield from _lines(operation.body, indent + "    ")


def _line(operation: Operation) -> str:
    match operation:
        case Take():
            return "take      x, y"
        case Start(call=call, stream=stream):
            return f"start     z = {_call(call)}  from {stream}"
        case Evaluate(wants="input", loss=loss, mode=mode):
            return f"evaluate  g = input gradient of {loss.kind}, {mode} mode"
        case Evaluate(loss=loss, mode=mode, coefficient=c):
            return f"evaluate  weight gradient of {_number(c)} * {loss.kind}, {mode} mode"
        case Move():
            return f"move      {_move(operation)}"
        case Project(call=call):
            return f"project   z = {_call(call)}"
        case Keep(coefficient=c):
            return f"keep      z with weight {_number(c)}"
        case Update():
            return "update    w"
        case Frozen():
            return "frozen    weights ask for no gradient:"
        case Repeat(count=count, coefficients=coefficients):
            listed = f" with c in {', '.join(map(_number, coefficients))}" if coefficients else ""
            return f"repeat    {count} times{listed}:"


def _move(move: Move) -> str:
    gradient = "g" if move.scale == 1 else f"{move.scale:g} g"
    gradient = f"{gradient} / n" if move.batch_mean else gradient
    pull = f" + {_call(move.coupling)}" if move.coupling else ""
    inner = gradient + pull if move.covers == "energy" else gradient
    drift = f"{move.drift.kind}({inner})" if move.drift else inner
    drift += pull if move.covers == "loss" and move.pull == "time" else ""
    moved = _call(move.kernel) + (pull if move.pull == "move" else "")
    return f"z = {moved}  along {drift}" + (f", noise from {move.stream}" if draws(move.kernel) else "")


def draws(call: Call) -> bool:
    """Whether the call consumes random numbers."""
    return bool(call.primitive.draws)


def _call(call: Call) -> str:
    return f"{call.kind}({', '.join(f'{name}={value}' for name, value in call.arguments)})"


def _number(c: Fraction | str | None) -> str:
    return f"{float(c):g}" if isinstance(c, Fraction) else "c"
