"""What a plan costs, in units: a forward 1, an activation backward 1, weight gradients 1."""

from __future__ import annotations

from atentdsl.plan.operations import Evaluate, Plan

FORWARD = ACTIVATION_BACKWARD = WEIGHT_GRADIENTS = 1
UNITS = {
    "loss": FORWARD,
    "input": FORWARD + ACTIVATION_BACKWARD,
    "density": FORWARD + ACTIVATION_BACKWARD,
    "weights": FORWARD + ACTIVATION_BACKWARD + WEIGHT_GRADIENTS,
}


def units(plan: Plan) -> int:
    """Network passes of one step: an input evaluation 2, a weight evaluation 3, losses alone 1.

    Autograd is asked for the input's gradient alone, so an input evaluation costs 2 whether or not weights are frozen.
    """
    return sum(UNITS[operation.wants] for operation in plan.flat() if isinstance(operation, Evaluate))


def units_as_usually_written(plan: Plan) -> int:
    """The same with `loss.backward()` at every gradient, which computes weight gradients that nobody reads."""
    evaluations = [operation.wants for operation in plan.flat() if isinstance(operation, Evaluate)]
    return sum(UNITS["loss" if wants == "loss" else "weights"] for wants in evaluations)
