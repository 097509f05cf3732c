"""Drop negligible: weight evaluations whose coefficients together are below a tolerance are not made.

    dropped: the smallest c, as many as  sum of dropped c < tolerance * sum of all c  allows

Every averaging is linear in the points' gradients, so the signal's gradient changes by at most tolerance * (sum of c) *
(the largest norm of a dropped point's gradient). The coefficients are rationals and so is the comparison: 0.1^3 would
be a tie with 1e-3 in floats. The signal is one sum, and each target in the weights one more.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import attrs

from atentdsl.plan.cost import units
from atentdsl.plan.operations import Evaluate, Gather, Operation, PutAside, Recall
from atentdsl.plan.program import Plan
from atentdsl.recipe.tables import Compile

NAME = "drop negligible"


def apply(plan: Plan, settings: Compile) -> Plan:
    """The plan without the evaluations that may be dropped; what was dropped before counts towards the tolerance."""
    tolerance, gone = Fraction(str(settings.tolerance)), dict(enumerate(plan.neglected))
    dropped: set[int] = set()
    for group, weights in _groups(plan.operations).items():
        left_out = gone.get(group, Fraction(0))
        allowed = tolerance * (left_out + sum(weights.values()))
        for place in sorted(weights, key=lambda place: weights[place]):
            if left_out + weights[place] >= allowed:
                break
            left_out += weights[place]
            dropped.add(place)
        gone[group] = left_out
    if not dropped:
        return plan
    neglected = tuple(gone.get(group, Fraction(0)) for group in range(max(gone) + 1))
    return attrs.evolve(plan, operations=tuple(_without(plan.operations, dropped)), neglected=neglected)


def why_not(plan: Plan, settings: Compile) -> str | None:
    """The reason why the pass changes nothing, or None."""
    if apply(plan, settings) != plan:
        return None
    if not any(_groups(plan.operations).values()):
        return "no weight gradient is evaluated at a point"
    return f"no coefficient is below {settings.tolerance:g} of their sum"


def effect(before: Plan, after: Plan) -> str:
    """What the pass did."""
    count = sum(_asks(o) for o in before.flat()) - sum(_asks(o) for o in after.flat())
    largest = max(after.neglected)
    says = f"{count} weight evaluation{'s are' if count > 1 else ' is'} not made"
    return f"{says}, of coefficients that sum to {float(largest):.3g}; {units(before)} units, now {units(after)}"


def _asks(operation: Operation) -> bool:
    return isinstance(operation, Evaluate) and operation.asks_weights


def _groups(operations: tuple[Operation, ...]) -> dict[int, dict[int, Fraction]]:
    """The places of the weight evaluations with their coefficients, by what they are summed for: 0 is the signal."""
    found: dict[int, dict[int, Fraction]] = {0: {}}
    open_: list[int] = [0]
    for place, operation in enumerate(operations):
        if isinstance(operation, PutAside):
            open_.append(len(found))
            found[open_[-1]] = {}
        elif isinstance(operation, Gather):
            open_.pop()
        elif isinstance(operation, Evaluate) and isinstance(operation.coefficient, Fraction):
            found[open_[-1]][place] = operation.coefficient
    return found


def _without(operations: tuple[Operation, ...], dropped: set[int]) -> Iterator[Operation]:
    """The operations without the weights' side of those; nor is a point recalled that the next recall replaces."""
    for place, operation in enumerate(operations):
        following = operations[place + 2] if place + 2 < len(operations) else None
        recalled_for_it = isinstance(operation, Recall) and place + 1 in dropped and isinstance(following, Recall)
        if place in dropped and isinstance(operation, Evaluate):
            if operation.asks_input:
                yield attrs.evolve(operation, wants="input", coefficient=None)
        elif not recalled_for_it:
            yield operation
