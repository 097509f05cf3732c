"""What a plan costs, in units: a forward 1, an activation backward 1, weight gradients 1."""

from __future__ import annotations

from typing import Any

from atentdsl.plan.operations import Clean, Evaluate
from atentdsl.plan.program import Plan
from atentdsl.recipe import Recipe

FORWARD = ACTIVATION_BACKWARD = WEIGHT_GRADIENTS = 1
BOUNDS = 2  # passes
UNITS = {
    "loss": FORWARD,
    "input": FORWARD + ACTIVATION_BACKWARD,
    "density": FORWARD + ACTIVATION_BACKWARD,
    "weights": FORWARD + ACTIVATION_BACKWARD + WEIGHT_GRADIENTS,
    "both": FORWARD + ACTIVATION_BACKWARD + WEIGHT_GRADIENTS,
}


def units(plan: Plan) -> int:
    """Network passes of one step: an input evaluation 2, a weight evaluation 3, both at one point 3, losses alone 1.

    Autograd is asked for the input's gradient alone, so an input evaluation costs 2 whether or not weights are frozen.
    Each clean forward costs 1 where its logits are constants, and 3 where an objective is differentiated in them.
    Interval bounds are two passes, of centres and of radii, each of them as much as the evaluation that reads them.
    Where the network is smoothed everything is multiplied by the number of copies.
    """
    evaluations = [operation for operation in plan.flat() if isinstance(operation, Evaluate)]
    return sum(_passes(operation) * UNITS[operation.wants] for operation in evaluations) + _clean(plan)


def units_as_usually_written(plan: Plan) -> int:
    """The same with `loss.backward()` at every gradient, which computes weight gradients that nobody reads."""
    evaluations = [operation for operation in plan.flat() if isinstance(operation, Evaluate)]
    return sum(_passes(o) * UNITS["loss" if o.wants == "loss" else "weights"] for o in evaluations) + _clean(plan)


def beside_the_steps(recipe: Recipe) -> str:
    """What a recipe's training costs beside its steps, in words; empty where the steps are all."""
    optimizer: Any = recipe.optimizer
    average = optimizer.weight_averaging
    return "" if average is None else f"Beside the steps, weight averaging ({average.kind}): {average.costs}."


def _clean(plan: Plan) -> int:
    """What the plan's clean forwards cost."""
    kept = sum(_copies(operation) * FORWARD for operation in plan.flat() if isinstance(operation, Clean))
    made = [o for o in plan.flat() if isinstance(o, Evaluate) and isinstance(o.clean, int)]
    each = ((o, FORWARD if o.loss.holds_clean else UNITS[o.wants]) for o in made)
    return kept + sum(_copies(o) * int(o.clean) * cost for o, cost in each)


def _passes(operation: Evaluate) -> int:
    """How often the network is gone through at each example's point."""
    return _copies(operation) + (BOUNDS if operation.radius is not None else 0)


def _copies(operation: Evaluate | Clean) -> int:
    """How many times the network sees each example there."""
    return 1 if operation.smoothed is None else operation.smoothed.draws
