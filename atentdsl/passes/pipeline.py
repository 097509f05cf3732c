"""The passes, in the order they run. Nothing is optimised that is not listed here."""

from __future__ import annotations

from types import ModuleType

import attrs

from atentdsl.passes import (
    drop_negligible,
    fold_projections,
    freeze_weights,
    hoist_clean_branch,
    merge_evaluations,
    place,
    roll,
    share_clean_forward,
)
from atentdsl.plan import Plan, verify
from atentdsl.recipe.tables import Compile

PIPELINE: tuple[ModuleType, ...] = (
    merge_evaluations,
    drop_negligible,
    hoist_clean_branch,
    share_clean_forward,
    freeze_weights,
    fold_projections,
    roll,
    place,
)


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


def stages(plan: Plan, settings: Compile) -> tuple[Stage, ...]:
    """The literal plan, then the plan after each pass, every one verified."""
    found = [Stage("literal", plan)]
    for step in PIPELINE:
        reason = step.why_not(plan, settings) if getattr(settings, switch(step)) else f"off: {switch(step)} = false"
        before, plan = plan, plan if reason else verify(step.apply(plan, settings))
        found.append(Stage(step.NAME, plan, reason or step.effect(before, plan)))
    return tuple(found)


def optimised(plan: Plan, settings: Compile) -> Plan:
    """The plan after every pass."""
    return stages(plan, settings)[-1].plan


def switch(step: ModuleType) -> str:
    """The key of `[compile]` that switches the pass off: its file's name."""
    return step.__name__.rpartition(".")[2]
