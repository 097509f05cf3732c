"""Fold projections: an l-infinity ball, then the box, become one clamp between bounds that are computed once a chain.

    clip(clip(z, x - r, x + r), 0, 1) = clamp(z, clamp(x - r, 0, 1), clamp(x + r, 0, 1))

Legal where the box directly follows the ball whenever that is met, with a radius that stays the same over the moves.
Preserves every bit, for every x, in the box or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import attrs

from atentdsl.plan.calls import over_moves
from atentdsl.plan.operations import Between, Bounds, Frozen, Operation, Project, Repeat, Start
from atentdsl.plan.program import Plan
from atentdsl.recipe.tables import Compile

NAME = "fold projections"
BALL, BOX = "linf_ball", "box"


def apply(plan: Plan, settings: Compile) -> Plan:
    """The plan with every ball that a box follows folded into a clamp, and their bounds where each chain starts."""
    return attrs.evolve(plan, operations=_folded(plan.operations, _folding(plan)))


def why_not(plan: Plan, settings: Compile) -> str | None:
    """The reason why the pass changes nothing, or None."""
    if _folding(plan):
        return None
    kinds = {o.call.kind for o in plan.flat() if isinstance(o, Project)}
    if {BALL, BOX} <= kinds:
        return "no box directly follows an l-infinity ball, with a radius that stays the same over the moves"
    return "there is no l-infinity ball with a box after it"


def effect(before: Plan, after: Plan) -> str:
    """What the pass did."""
    count = sum(isinstance(o, Between) for o in after.flat())
    return f"{count} time{'s' if count > 1 else ''} a ball and a box are one clamp"


def _folding(plan: Plan) -> dict[str, Project]:
    """By sampler the ball that a box follows wherever it stands; of several such balls the first."""
    found: dict[str, Project] = {}
    for operation in plan.flat():
        if not isinstance(operation, Project) or operation.call.kind != BALL or operation.space != "data":
            continue
        if operation.sampler in found or over_moves(operation.call):
            continue
        if _always_before_a_box(plan, operation):
            found[operation.sampler] = operation
    return found


def _always_before_a_box(plan: Plan, ball: Project) -> bool:
    flat = list(plan.flat())
    followers = [
        b for a, b in pairwise(flat) if isinstance(a, Project) and (a.sampler, a.call) == (ball.sampler, ball.call)
    ]
    return all(isinstance(o, Project) and o.sampler == ball.sampler and o.call.kind == BOX for o in followers)


def _folded(operations: tuple[Operation, ...], balls: Mapping[str, Project]) -> tuple[Operation, ...]:
    result: list[Operation] = []
    folded = False
    for operation in operations:
        ball = balls.get(getattr(operation, "sampler", ""))
        if folded:
            folded = False  # the box, which is folded in
        elif ball is not None and isinstance(operation, Project) and operation.call == ball.call:
            origin = attrs.evolve(operation.origin, says="project: linf_ball, then box")
            result.append(Between(operation.sampler, operation.after, origin=origin))
            folded = True
        elif isinstance(operation, Frozen | Repeat):
            result.append(attrs.evolve(operation, body=_folded(operation.body, balls)))
        else:
            result.append(operation)
            if ball is not None and isinstance(operation, Start):
                result.append(_bounds(ball, operation.anchor))
    return tuple(result)


def _bounds(ball: Project, anchor: str) -> Bounds:
    radius = dict(ball.call.arguments)["radius"]
    assert not isinstance(radius, str | bool | tuple), "a radius is a number"
    return Bounds(ball.sampler, anchor, radius, origin=attrs.evolve(ball.origin, says="bounds of linf_ball and box"))
