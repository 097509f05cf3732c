"""Place: the step runs where and how the device is fastest.

One call into `atentdsl.runtime`, which chooses number and memory formats, a fused optimizer and a captured graph when
it runs: the generated text never depends on the machine. Legal for a step that trains; what is drawn is an attack's
too, and attacks are made in float32. Preserves what the policy that is chosen states.
"""

from __future__ import annotations

import attrs

from atentdsl.plan.operations import Place
from atentdsl.plan.program import Plan
from atentdsl.plan.values import Origin
from atentdsl.recipe.tables import Compile

NAME = "place"


def apply(plan: Plan, settings: Compile) -> Plan:
    """The plan, placed."""
    if why_not(plan, settings):
        return plan
    return attrs.evolve(plan, operations=(Place(origin=Origin(("compile",), "the device's policy")), *plan.operations))


def why_not(plan: Plan, settings: Compile) -> str | None:
    """The reason why the pass changes nothing, or None."""
    if plan.goal != "train":
        return "what is drawn is drawn as it is written"
    return "it is placed" if any(isinstance(o, Place) for o in plan.operations) else None


def effect(before: Plan, after: Plan) -> str:
    """What the pass did."""
    return "number and memory formats, the optimizer's kernels and graph capture are chosen when it runs"
