"""The passes, in the order they run. Nothing is optimised that is not listed here."""

from __future__ import annotations

from types import ModuleType

import attrs

from atentdsl.passes import freeze_weights, hoist_clean_branch, roll, share_clean_forward
from atentdsl.plan import Plan, verify

PIPELINE: tuple[ModuleType, ...] = (hoist_clean_branch, share_clean_forward, freeze_weights, roll)


@attrs.frozen
class Stage:
    """The plan after one pass.

    Attributes:
        name: the pass.
        plan: what it left.
        effect: what the pass did, or why it does not apply.
    """

    name: str
    plan: Plan
    effect: str = ""


def stages(plan: Plan) -> tuple[Stage, ...]:
    """The literal plan, then the plan after each pass, every one verified."""
    found = [Stage("literal", plan)]
    for step in PIPELINE:
        reason = step.why_not(plan)
        before, plan = plan, plan if reason else verify(step.apply(plan))
        found.append(Stage(step.NAME, plan, reason or step.effect(before, plan)))
    return tuple(found)


def optimised(plan: Plan) -> Plan:
    """The plan after every pass."""
    return stages(plan)[-1].plan
