"""Hoist clean branch: a target's clean logits p(x) are computed once for the chain, and each move reads them.

Legal where they are constants, as in every target, and would come out the same again: same weights, same batch, same
noise of a smoothing, in eval or frozen mode (a point has one dropout mask), and no evaluation in train mode in between,
for that would move the running statistics which eval mode reads. Preserves every bit. In train mode each forward of x
counts in the running statistics, so none is left out there.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import attrs

from atentdsl.plan.metropolis import chain_of
from atentdsl.plan.operations import Clean, Evaluate, Load, Noise, Operation, PutAside, Restore, Start, Take
from atentdsl.plan.program import Plan
from atentdsl.plan.values import Origin
from atentdsl.recipe.tables import Compile

NAME = "hoist clean branch"
_OTHER_LOGITS = Take | Noise | Load | Restore | PutAside


def apply(plan: Plan, settings: Compile) -> Plan:
    """The plan with clean logits kept wherever two evaluations or more of a chain read the same ones."""
    chains = _chains(plan)
    first = {chain[0] for chain in chains}
    reading = {i for chain in chains for i in chain}
    result: list[Operation] = []
    for i, operation in enumerate(plan.operations):
        evaluation = _reads(operation) if i in reading else None
        if evaluation is not None and i in first:
            origin = Origin(evaluation.origin.path, "the clean logits, once for the chain")
            result.append(Clean(evaluation.mode, evaluation.smoothed, origin=origin))
        result.append(operation if evaluation is None else attrs.evolve(evaluation, clean="kept"))
    return attrs.evolve(plan, operations=tuple(result))


def why_not(plan: Plan, settings: Compile) -> str | None:
    """The reason why the pass changes nothing, or None."""
    if _chains(plan):
        return None
    reading = [evaluation for evaluation in map(_reads, plan.operations) if evaluation is not None]
    if not reading:
        return "no target reads the clean logits"
    if all(evaluation.mode == "train" for evaluation in reading):
        return "the chain runs in train mode, where each clean forward updates the running statistics"
    if any(isinstance(a, Noise) and _reads(b) for a, b in pairwise(plan.operations)):
        return "each evaluation draws smoothing noise of its own, and its clean logits are made with it"
    return "no two evaluations of a chain read the same clean logits"


def effect(before: Plan, after: Plan) -> str:
    """What the pass did."""
    made, kept = _forwards(before), _forwards(after)
    return f"the clean logits that targets read come from {kept} forward{'s' if kept > 1 else ''} instead of {made}"


def _forwards(plan: Plan) -> int:
    return sum(isinstance(operation, Clean) or _reads(operation) is not None for operation in plan.operations)


def _chains(plan: Plan) -> list[list[int]]:
    """The evaluations, by number, that may read the same kept logits; two or more in each group."""
    groups: list[list[int]] = []
    current: dict[str, list[int]] = defaultdict(list)
    modes: set[str] = set()
    for i, operation in enumerate(plan.operations):
        if isinstance(operation, Start):
            groups.append(current.pop(operation.sampler, []))
        reading = _reads(operation)
        if isinstance(operation, _OTHER_LOGITS) or (isinstance(operation, Evaluate) and operation.mode == "train"):
            groups += current.values()
            current.clear()
        elif reading is not None:
            if any(mode != reading.mode for mode in modes):  # one set of logits is kept
                groups += current.values()
                current.clear()
            modes = {reading.mode}
            current[chain_of(reading.at)].append(i)
    return [group for group in [*groups, *current.values()] if len(group) > 1]


def _reads(operation: Operation) -> Evaluate | None:
    """The operation, if it makes clean logits that are constants of its loss."""
    if not isinstance(operation, Evaluate) or operation.clean in {0, "kept"}:
        return None
    return operation if operation.loss.holds_clean else None
