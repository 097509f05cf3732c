"""Freeze weights: where only points of data move, no weight asks for a gradient.

Autograd then records no graph for the weights and saves no activation for their gradients. Always legal; preserves
every bit. Merges neighbouring operations into as few regions as there are gaps between what the weights take part in.
"""

from __future__ import annotations

import attrs

from atentdsl.plan.cost import units, units_as_usually_written
from atentdsl.plan.margins import Climb
from atentdsl.plan.metropolis import Accept, Propose
from atentdsl.plan.operations import Between, Bounds, Evaluate, Frozen, Hold, Move, Noise, Operation, Project
from atentdsl.plan.program import Plan
from atentdsl.recipe.tables import Compile

NAME = "freeze weights"


def apply(plan: Plan, settings: Compile) -> Plan:
    """The plan with each run of moves inside a frozen region."""
    result: list[Operation] = []
    run: list[Operation] = []
    for operation in plan.operations:
        kept = isinstance(operation, Hold) and bool(run) and isinstance(run[-1], Accept)  # between two moves
        if kept or _of_data(operation):
            run.append(operation)
        else:
            result += [*_region(run), operation]
            run = []
    return attrs.evolve(plan, operations=(*result, *_region(run)))


def why_not(plan: Plan, settings: Compile) -> str | None:
    """The reason why the pass changes nothing, or None."""
    if any(_asks_the_input(o) for o in plan.flat()):
        return None
    return "no evaluation asks for an input's gradient alone"


def effect(before: Plan, after: Plan) -> str:
    """What the pass did."""
    count = sum(_asks_the_input(o) for o in after.flat())
    asked = f"{count} evaluation{'s ask' if count > 1 else ' asks'}"
    written = units_as_usually_written(before)
    return f"{asked} for no weight gradient; as usually written {written} units, now {units(after)}"


def _of_data(operation: Operation) -> bool:
    moves = isinstance(operation, Move | Project) and operation.space == "data"
    passive = Bounds | Between | Noise | Propose | Accept | Climb
    return moves or isinstance(operation, passive) or _asks_the_input(operation)


def _asks_the_input(operation: Operation) -> bool:
    return isinstance(operation, Evaluate) and operation.wants in {"input", "density"}


def _region(run: list[Operation]) -> list[Operation]:
    """The run with everything from its first evaluation on inside a region, with the noise that is drawn for it.

    Noise at its end is drawn for what comes after.
    """
    first = next((i for i, operation in enumerate(run) if isinstance(operation, Evaluate)), None)
    if first is None:
        return run
    first -= first > 0 and isinstance(run[first - 1], Noise)
    end = len(run)
    while isinstance(run[end - 1], Noise):
        end -= 1
    return [*run[:first], Frozen(tuple(run[first:end]), origin=run[first].origin), *run[end:]]
