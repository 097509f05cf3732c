"""Merge evaluations: a weight evaluation and an input evaluation at the same point become one forward and one backward.

    units at the point: 3 instead of 5

Legal where the two ask for the gradient of the same loss, at the same weights, in the same mode. Preserves every bit of
points and gradients: the summed loss is differentiated, and only weight gradients are multiplied by c / n. In train
mode batch norm's running statistics are updated once less at each merged point; where a later evaluation of the step
reads them, in eval mode, the two are left apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import attrs

from atentdsl.plan.cost import units
from atentdsl.plan.operations import Evaluate, Operation
from atentdsl.plan.program import Plan, flatten
from atentdsl.plan.values import Call
from atentdsl.recipe.tables import Compile

NAME = "merge evaluations"


def apply(plan: Plan, settings: Compile) -> Plan:
    """The plan with every two such evaluations as one."""
    legal = {place for place, reason in _pairs(plan.operations) if not reason}
    result: list[Operation] = []
    for place, operation in enumerate(plan.operations):
        if place - 1 in legal:
            result[-1] = _merged(plan.operations[place - 1], operation)
        else:
            result.append(operation)
    return attrs.evolve(plan, operations=tuple(result))


def why_not(plan: Plan, settings: Compile) -> str | None:
    """The reason why the pass changes nothing, or None."""
    reasons = [reason for _, reason in _pairs(plan.operations)]
    if "" in reasons:
        return None
    return reasons[0] if reasons else "no point is asked for both its gradients, one after the other"


def effect(before: Plan, after: Plan) -> str:
    """What the pass did."""
    count = sum(isinstance(o, Evaluate) and o.wants == "both" for o in after.flat())
    points = "point is" if count == 1 else "points are"
    return f"{count} {points} evaluated once for both gradients; {units(before)} units, now {units(after)}"


def _pairs(operations: tuple[Operation, ...]) -> Iterator[tuple[int, str]]:
    """Where two neighbours ask for both gradients of one point, and why they are left apart; empty where they are not.

    Neighbours alone: whatever stands between two evaluations moves the point, the weights or the batch.
    """
    last_in_eval = max((i for i, operation in enumerate(operations) if _in_eval(operation)), default=-1)
    for i, (one, other) in enumerate(pairwise(operations)):
        if not (isinstance(one, Evaluate) and isinstance(other, Evaluate) and one.at == other.at):
            continue
        if {one.wants, other.wants} != {"input", "weights"}:
            continue
        if not _same(one.loss, other.loss):
            yield (
                i,
                f"the chain climbs {_named(one, other, 'input')}, the weights descend {_named(one, other, 'weights')}",
            )
        elif one.loss.clean:
            yield i, f"{one.loss.kind} reads clean logits beside the point's"
        elif one.mode != other.mode:
            yield (
                i,
                f"the chain runs in {_mode(one, other, 'input')} mode, the signal's gradient is taken in train mode",
            )
        elif one.mode == "train" and last_in_eval > i + 1:
            yield i, "a later evaluation in eval mode reads running statistics, which one evaluation less would change"
        else:
            yield i, ""


def _in_eval(operation: Operation) -> bool:
    return any(isinstance(o, Evaluate) and o.mode == "eval" for o in flatten((operation,)))


def _same(one: Call, other: Call) -> bool:
    """Whether two losses are the same function: a target and an objective may go by one name or two."""
    return one.function is other.function and one.arguments == other.arguments


def _merged(one: Operation, other: Operation) -> Evaluate:
    assert isinstance(one, Evaluate), "a pair is of evaluations"
    assert isinstance(other, Evaluate), "a pair is of evaluations"
    of_input, of_weights = (one, other) if one.wants == "input" else (other, one)
    origin = attrs.evolve(of_input.origin, says="the gradients in point and weights")
    return attrs.evolve(of_input, wants="both", coefficient=of_weights.coefficient, origin=origin)


def _named(one: Evaluate, other: Evaluate, wants: str) -> str:
    return (one if one.wants == wants else other).loss.kind


def _mode(one: Evaluate, other: Evaluate, wants: str) -> str:
    return (one if one.wants == wants else other).mode
