"""Drop negligible: weight evaluations whose coefficients together are below a tolerance are not made.

    dropped: the smallest c, as many as  sum of dropped c < tolerance * sum of all c  allows

Legal where averaging is linear in the points' gradients, as every one is, and no later evaluation of the step, in eval
mode, reads running statistics that a dropped one would have updated. The signal's gradient changes by at most
tolerance * (sum of c) * (the largest norm of a dropped point's gradient). The coefficients are rationals and so is the
comparison: 0.1^3 would be a tie with 1e-3 in floats. The signal is one sum, and each target in the weights one more.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import attrs

from atentdsl.plan.cost import units
from atentdsl.plan.operations import Clean, Evaluate, Gather, Operation, PutAside, Recall
from atentdsl.plan.program import Plan
from atentdsl.plan.shelves import without_unread
from atentdsl.recipe.tables import Compile

NAME = "drop negligible"


def apply(plan: Plan, settings: Compile) -> Plan:
    """The plan without the evaluations that may be dropped; what was dropped before counts towards the tolerance."""
    return _dropped(plan, settings, _noticed(plan.operations))


def why_not(plan: Plan, settings: Compile) -> str | None:
    """The reason why the pass changes nothing, or None."""
    if apply(plan, settings) != plan:
        return None
    if not any(_asks(o) for o in plan.operations):
        return "no weight gradient is evaluated at a point"
    if not settings.tolerance:
        return "the tolerance is 0"
    if not plan.neglected and _dropped(plan, settings, set()) != plan:
        return "a later evaluation in eval mode reads running statistics, which one evaluation less would change"
    return f"no coefficients are together below {settings.tolerance:g} of the sum of all"


def effect(before: Plan, after: Plan) -> str:
    """What the pass did."""
    count = sum(_asks(o) for o in before.flat()) - sum(_asks(o) for o in after.flat())
    largest = max(after.neglected)
    says = f"{count} weight evaluation{'s are' if count > 1 else ' is'} not made"
    return f"{says}, of coefficients that sum to {float(largest):.3g}; {units(before)} units, now {units(after)}"


def _dropped(plan: Plan, settings: Compile, staying: set[int]) -> Plan:
    """The plan without what may be dropped, apart from the evaluations at these places."""
    tolerance, gone = Fraction(str(settings.tolerance)), dict(enumerate(plan.neglected))
    dropped: set[int] = set()
    for group, weights in _groups(plan.operations).items():
        left_out = gone.get(group, Fraction(0))
        allowed = tolerance * (left_out + sum(weights.values()))
        for place in sorted(weights, key=lambda place: weights[place]):
            if left_out + weights[place] >= allowed:
                break
            if place in staying:
                continue
            left_out += weights[place]
            dropped.add(place)
        gone[group] = left_out
    if not dropped:
        return plan
    neglected = tuple(gone.get(group, Fraction(0)) for group in range(max(gone) + 1))
    left = without_unread(tuple(_without(plan.operations, dropped)))
    return attrs.evolve(plan, operations=left, neglected=neglected)


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


def _noticed(operations: tuple[Operation, ...]) -> set[int]:
    """The places of evaluations in train mode, for the weights alone, that one in eval mode comes after.

    They update the running statistics that it reads. One that is asked for the input's gradient too stays a forward.
    """
    reading = [place for place, o in enumerate(operations) if isinstance(o, Evaluate | Clean) and o.mode == "eval"]
    last = max(reading, default=-1)
    return {
        place
        for place, o in enumerate(operations[: max(last, 0)])
        if isinstance(o, Evaluate) and o.wants == "weights" and o.mode == "train"
    }


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
