"""Which points on a plan's shelves are ever read, and the plan without the others."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from atentdsl.plan.operations import Clear, Hold, Operation, Recall, Worst


def without_unread(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """The operations without points that are held and never recalled; the others keep their order on the shelf.

    Of restarts whose worst is chosen, a point stands for the one of its number in each of them. The operations are in
    the order they run, with no loop among them.
    """
    shelves: dict[tuple[str, str], list[list[int]]] = {}  # of each shelf, the places where each of its points was held
    read: set[int] = set()
    recalled: dict[int, tuple[list[list[int]], int]] = {}  # by the recall's place
    for place, operation in enumerate(operations):
        match operation:
            case Clear(sampler=name, shelf=shelf):
                shelves[name, shelf] = []
            case Hold(sampler=name, shelf=shelf):
                shelves.setdefault((name, shelf), []).append([place])
            case Worst(sampler=name):
                worst = shelves.get((name, "worst")) or [[] for _ in shelves[name, "candidates"]]
                held = zip(worst, shelves[name, "candidates"], strict=True)
                shelves[name, "worst"] = [[*before, *own] for before, own in held]
            case Recall(sampler=name, shelf=shelf, index=int(index)):
                recalled[place] = shelves[name, shelf], index
                read.update(shelves[name, shelf][index])
    result: list[Operation] = []
    for place, operation in enumerate(operations):
        if isinstance(operation, Recall):
            shelf_, index = recalled[place]
            left = sum(not read.isdisjoint(places) for places in shelf_[:index])
            result.append(attrs.evolve(operation, index=left))
        elif not isinstance(operation, Hold) or place in read:
            result.append(operation)
    return tuple(result)
