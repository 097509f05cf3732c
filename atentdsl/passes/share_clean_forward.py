"""Share clean forward: an objective that reads the clean logits several times gets them from one forward.

Legal at any dropout, since a point has one dropout mask: the forwards are the same to the last bit, and the gradient is
too but for the order in which its parts are added. A train-mode forward less updates the running statistics once less.
So no evaluation is shared that a later one of the same step, in eval mode, would notice: the gradient is the literal
plan's to rounding in every step that begins with the same weights and statistics. Whether the network has running
statistics at all no plan can know.
"""

from __future__ import annotations

import attrs

from atentdsl.plan.cost import units
from atentdsl.plan.operations import Clean, Evaluate, Operation
from atentdsl.plan.program import Plan
from atentdsl.recipe.tables import Compile

NAME = "share clean forward"


def apply(plan: Plan, settings: Compile) -> Plan:
    """The plan with one clean forward in every evaluation that made several, where nothing later notices."""
    reading = [i for i, o in enumerate(plan.operations) if isinstance(o, Evaluate | Clean) and o.mode == "eval"]
    last = max(reading, default=-1)
    return attrs.evolve(plan, operations=tuple(_shared(o, i < last) for i, o in enumerate(plan.operations)))


def why_not(plan: Plan, settings: Compile) -> str | None:
    """The reason why the pass changes nothing, or None."""
    if apply(plan, settings) != plan:
        return None
    if any(map(_makes_several, plan.operations)):
        return "a later evaluation in eval mode reads the statistics that one forward would update once less"
    return "no objective reads the clean logits twice"


def effect(before: Plan, after: Plan) -> str:
    """What the pass did."""
    count = sum(one != other for one, other in zip(before.operations, after.operations, strict=True))
    shared = f"one clean forward in {count} evaluation{'s' if count > 1 else ''}"
    return f"{shared}, {units(before) - units(after)} units less; running statistics are updated once less"


def _makes_several(operation: Operation) -> bool:
    return isinstance(operation, Evaluate) and isinstance(operation.clean, int) and operation.clean > 1


def _shared(operation: Operation, noticed: bool) -> Operation:
    """The operation with one clean forward; as it is where a forward less in train mode would be noticed later."""
    if not isinstance(operation, Evaluate) or not _makes_several(operation):
        return operation
    return operation if noticed and operation.mode == "train" else attrs.evolve(operation, clean=1)
