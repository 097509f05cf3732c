"""What a plan costs, in units: a forward 1, an activation backward 1, weight gradients 1."""

from __future__ import annotations

from atentdsl.plan.operations import Evaluate, Plan

FORWARD = ACTIVATION_BACKWARD = WEIGHT_GRADIENTS = 1


def units(plan: Plan) -> int:
    """Network passes of one step: an input evaluation 2, a weight evaluation 3.

    Autograd is asked for the input's gradient alone, so an input evaluation costs 2 whether or not weights are frozen.
    """
    return sum(
        FORWARD + ACTIVATION_BACKWARD + (WEIGHT_GRADIENTS if operation.wants == "weights" else 0)
        for operation in plan.flat()
        if isinstance(operation, Evaluate)
    )


def units_as_usually_written(plan: Plan) -> int:
    """The same with `loss.backward()` at every evaluation, which computes weight gradients that nobody reads."""
    evaluations = sum(isinstance(operation, Evaluate) for operation in plan.flat())
    return evaluations * (FORWARD + ACTIVATION_BACKWARD + WEIGHT_GRADIENTS)
