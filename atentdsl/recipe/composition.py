"""What samplers and other tables cannot be together, each of them right by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from atentdsl.primitives.primitive import Kinded
from atentdsl.primitives.registry import primitive
from atentdsl.recipe.merging import Written
from atentdsl.source import Diagnostic, KeyPath

MOST_EVALUATIONS = 50_000
"""Of the network in a step: samplers inside one another multiply, and every evaluation is written into the plan."""


def compositions(whole: Written, tables: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """What is inconsistent between the validated tables of a recipe."""
    samplers = tables.get("sampler", [])
    yield from _names(whole, samplers)
    yield from _searched_beside_others(whole, samplers)
    yield from _fresh(whole, samplers, tables.get("data"))
    yield from _carried(whole, samplers)
    yield from _outside_the_box(whole, samplers)
    yield from _tested_under_noise(whole, samplers, tables.get("smoothing"))
    yield from _never_drawn(whole, samplers)
    yield from _beside_the_clean_inputs(whole, samplers, tables.get("objective"))
    yield from _clean_part(whole, samplers, tables.get("objective"))
    yield from _beside_interval_bounds(whole, samplers, tables.get("objective"), tables.get("smoothing"))
    yield from _too_many(whole, samplers)
    if "optimizer" in tables:
        yield from _restored(whole, samplers, tables["optimizer"])
        yield from _averaged(whole, tables["optimizer"])
    if "compile" in tables:
        yield from _placed(whole, tables["compile"])


def over_moves(whole: Written, path: KeyPath, part: Any) -> Iterator[Diagnostic]:
    """A schedule over moves where nothing moves: only a sampler's target, kernel and projections change by the move."""
    inside = path[:1] == ("sampler",) and len(path) > 3 and path[2] in {"target", "kernel", "projection"}
    if isinstance(part, Kinded) and getattr(part, "over", "") == "moves" and not inside:
        place = whole.walk_to((*path, "over")).at()
        mend = 'write `over = "epochs"`' + (' or `over = "steps"`' if getattr(part, "length", 1) else "")
        yield Diagnostic("inconsistent", f"`{path[-1]}` does not change from move to move", place, help=mend)


def _names(whole: Written, samplers: Sequence[Any]) -> Iterator[Diagnostic]:
    first: dict[str, int] = {}
    for i, sampler in enumerate(samplers):
        if sampler.name in first:
            context = whole.walk_to(("sampler", first[sampler.name])).key(), "the first one"
            place = whole.walk_to(("sampler", i, "name")).key()
            message = f"two samplers are called `{sampler.name}`"
            mend = "give each a `name` of its own; without one it is its space"
            yield Diagnostic("inconsistent", message, place, "", context, mend)
        first.setdefault(sampler.name, i)


def _searched_beside_others(whole: Written, samplers: Sequence[Any]) -> Iterator[Diagnostic]:
    """A margin search remembers one radius an example, of the example itself, and chooses what is trained on."""
    for i, sampler in enumerate(samplers):
        if sampler.kind == "margin_search" and len(samplers) > 1:
            message = "a margin search chooses for each example what the weights are trained on, and stands alone"
            mend = 'keep it as the only `[[sampler]]`, or write `kind = "chain"`'
            yield Diagnostic("inconsistent", message, whole.walk_to(("sampler", i, "kind")).at(), help=mend)


def _fresh(whole: Written, samplers: Sequence[Any], data: Any) -> Iterator[Diagnostic]:
    """New batches for each move: points that are drawn already belong to the old one."""
    for i, sampler in enumerate(samplers):
        if sampler.batch != "fresh" or sampler.space == "data":
            continue
        batch = whole.walk_to(("sampler", i, "batch"))
        if any(before.space == "data" for before in samplers[:i]):
            message = "the points of the sampler before it belong to one batch, and each move would take another"
            mend = 'write `batch = "same"`, or put this sampler first'
            yield Diagnostic("inconsistent", message, batch.key(), help=mend)
        if data is not None and data.repeat > 1:
            message = f"each batch is repeated {data.repeat} times, and each move asks for a fresh one"
            mend = 'write `batch = "same"`, or drop `repeat` in `[data]`'
            yield Diagnostic("inconsistent", message, batch.key(), help=mend)


def _carried(whole: Written, samplers: Sequence[Any]) -> Iterator[Diagnostic]:
    """A displacement is carried from the one chain of a step to the one of the next."""
    for i, sampler in enumerate(samplers):
        if sampler.start.kind != "carry" or (i == 0 and sampler.restarts == 1):
            continue
        place = whole.walk_to(("sampler", i, "start", "kind")).at()
        message = "a displacement is carried from step to step, and this chain may run more than once in a step"
        mend = "drop `restarts`, or take another start" if i == 0 else "put this sampler first, or take another start"
        yield Diagnostic("inconsistent", message, place, help=mend)


def _outside_the_box(whole: Written, samplers: Sequence[Any]) -> Iterator[Diagnostic]:
    """A chain that accepts or rejects starts inside its support: in the box only where its anchor is there."""
    for i, sampler in enumerate(samplers):
        kernel = sampler.kernel
        tested = kernel is not None and primitive("kernels", kernel.kind).acceptance is not None
        boxes = [j for j, projection in enumerate(sampler.projection) if projection.kind == "box"]
        before = [other for other in samplers[:i] if other.space == "data"]
        if tested and boxes and before and not all(map(_ends_in_the_box, before)):
            message = f"under `{kernel.kind}` the box is part of the support, and the anchor may lie outside of it"
            mend = "end the projections of each sampler before it with a `box`, its start with `projected = true`"
            place = whole.walk_to(("sampler", i, "projection", boxes[0], "kind")).key()
            yield Diagnostic("inconsistent", message, place, help=mend)


def _tested_under_noise(whole: Written, samplers: Sequence[Any], smoothing: Any) -> Iterator[Diagnostic]:
    """A chain that accepts or rejects compares two values of one density; a smoothed one is not evaluated for it."""
    tested = [
        s for s in samplers if s.kernel is not None and primitive("kernels", s.kernel.kind).acceptance is not None
    ]
    if smoothing is not None and tested:
        message = f"`{tested[0].kernel.kind}` accepts or rejects by the network's own density, and not a smoothed one"
        mend = "drop `[smoothing]`, or take the kernel `langevin`"
        yield Diagnostic("inconsistent", message, whole.walk_to(("smoothing",)).at(), help=mend)


def _ends_in_the_box(sampler: Any) -> bool:
    """Whether every point of a sampler of data lies in the box where its anchor does."""
    last = sampler.projection[-1] if sampler.projection else None
    boxed = last is not None and last.kind == "box" and last.when == "every"
    stays = sampler.start.kind == "zero" and not sampler.moves
    return stays or (boxed and getattr(sampler.start, "projected", True))


def _never_drawn(whole: Written, samplers: Sequence[Any]) -> Iterator[Diagnostic]:
    """Weights that hand on their displacement alone draw later samplers for their target, or not at all."""
    for i, sampler in enumerate(samplers[:-1]):
        drawn = sampler.averaging.of == "gradient" or (sampler.target.loss == "signal" and sampler.moves)
        if not drawn:
            message = f"`{samplers[i + 1].name}` is never drawn: what is handed on here is a displacement"
            mend = 'write `loss = "signal"` in `[sampler.target]`, and `moves` above 0'
            yield Diagnostic("inconsistent", message, whole.walk_to(("sampler", i, "averaging", "of")).key(), help=mend)


def _beside_the_clean_inputs(whole: Written, samplers: Sequence[Any], objective: Any) -> Iterator[Diagnostic]:
    """A loss that compares a point with the clean input: where they are one, it is 0 and so is its gradient."""
    moved = any(sampler.space == "data" for sampler in samplers)
    if objective is not None and not moved and primitive("objectives", objective.kind).clean:
        message = f"`{objective.kind}` compares points with the clean inputs, and no sampler of data moves any"
        mend = 'add a `[[sampler]]` of data, or write `kind = "cross_entropy"`'
        yield Diagnostic("inconsistent", message, whole.walk_to(("objective", "kind")).at(), help=mend)
    for i, sampler in enumerate(samplers):
        if not sampler.moves or sampler.kernel is None or not primitive("targets", sampler.target.loss).clean:
            continue
        loss = whole.walk_to(("sampler", i, "target", "loss"))
        before = any(other.space == "data" for other in samplers[:i])
        if sampler.space == "weights" and not before:
            message = f"`{sampler.target.loss}` has no gradient in the weights at the clean inputs themselves"
            mend = 'put a sampler of data before this one, or write `loss = "signal"`'
            yield Diagnostic("inconsistent", message, loss.at(), help=mend)
        elif sampler.space == "data" and not before and _starts_at_its_anchor(sampler):
            message = f"`{sampler.target.loss}` has no gradient at the clean input, where this chain starts"
            mend = 'start beside it: write `kind = "gaussian"` and `sd = 0.001` in `[sampler.start]`'
            yield Diagnostic("inconsistent", message, loss.at(), help=mend)


def _clean_part(whole: Written, samplers: Sequence[Any], objective: Any) -> Iterator[Diagnostic]:
    """A share of clean cross entropy beside cross entropy at points that are the clean inputs."""
    moved = any(sampler.space == "data" for sampler in samplers)
    if objective is not None and objective.clean and not moved and objective.kind == "cross_entropy":
        message = "`clean` changes nothing: no sampler of data moves the points, so the objective is this cross entropy"
        mend = "drop `clean`, or add a `[[sampler]]` of data"
        yield Diagnostic("inconsistent", message, whole.walk_to(("objective", "clean")).key(), help=mend)


def _beside_interval_bounds(
    whole: Written, samplers: Sequence[Any], objective: Any, smoothing: Any
) -> Iterator[Diagnostic]:
    """A loss of interval bounds holds for the whole ball around the input, of the network itself."""
    if objective is None or not primitive("objectives", objective.kind).bounded:
        return
    if not samplers and smoothing is None:
        return
    asking = whole.walk_to(("objective", "kind")).at(), "this objective bounds it"
    other = 'write `kind = "cross_entropy"` in `[objective]`'
    if samplers:
        message = f"`{objective.kind}` bounds the loss over a whole ball, and reads no sampler's points"
        mend = f"drop every `[[sampler]]`, or {other}"
        yield Diagnostic("inconsistent", message, whole.walk_to(("sampler", 0)).key(), "", asking, mend)
    if smoothing is not None:
        message = f"`{objective.kind}` bounds the network itself, and not one under Gaussian noise, which has no bound"
        mend = f"drop `[smoothing]`, or {other}"
        yield Diagnostic("inconsistent", message, whole.walk_to(("smoothing",)).at(), "", asking, mend)


def _starts_at_its_anchor(sampler: Any) -> bool:
    """Whether nothing takes a first point away from the anchor: no start, no noise of the kernel."""
    start, kernel = sampler.start, sampler.kernel
    simpler = primitive("starts", start.kind).reduces(start.parameters())
    still = start.kind in {"zero", "carry"} or (simpler is not None and simpler[0] == "zero")
    drawn = primitive("kernels", kernel.kind)
    return still and not (drawn.draws and drawn.reduces(kernel.parameters()) is None)


def _too_many(whole: Written, samplers: Sequence[Any]) -> Iterator[Diagnostic]:
    counts = [sampler.restarts * (2 * sampler.moves + 1) for sampler in samplers]
    if prod(counts) > MOST_EVALUATIONS:
        longest = counts.index(max(counts))
        key = "moves" if samplers[longest].moves >= samplers[longest].restarts else "restarts"
        message = f"a step would evaluate the network up to {prod(counts):,} times"
        mend = f"take fewer moves or restarts: {MOST_EVALUATIONS:,} is the most"
        yield Diagnostic("inconsistent", message, whole.walk_to(("sampler", longest, key)).key(), help=mend)


def _restored(whole: Written, samplers: Sequence[Any], optimizer: Any) -> Iterator[Diagnostic]:
    """An update at perturbed weights: there is one perturbation, and its last point is where the gradient was taken."""
    perturbing = [sampler for sampler in samplers if sampler.space == "weights"]
    if optimizer.restore != "after_update":
        return
    restore = whole.walk_to(("optimizer", "restore"))
    if len(perturbing) != 1:
        message = f"{len(perturbing) or 'no'} samplers perturb the weights, and an update after one is asked for"
        mend = "drop `restore`" if not perturbing else "keep one sampler of the weights, or drop `restore`"
        yield Diagnostic("inconsistent", message, restore.at(), help=mend)
    elif perturbing[0].averaging.of == "displacement":
        message = "a displacement is a gradient at the anchor, and the update would be made elsewhere"
        yield Diagnostic("inconsistent", message, restore.at(), help="drop `restore`, or average the gradient")


def _averaged(whole: Written, optimizer: Any) -> Iterator[Diagnostic]:
    """An average of weights that training ends before."""
    average = optimizer.weight_averaging
    if average is not None and average.from_epoch > optimizer.epochs:
        message = f"the average begins in epoch {average.from_epoch}, and training ends with epoch {optimizer.epochs}"
        place = whole.walk_to(("optimizer", "weight_averaging", "from_epoch")).at()
        yield Diagnostic("inconsistent", message, place, help=f"write `from_epoch` of {optimizer.epochs} at most")


def _placed(whole: Written, settings: Any) -> Iterator[Diagnostic]:
    """A number format that is asked for, and nothing that would choose it."""
    if settings.precision == "bfloat16" and not settings.place:
        message = "a step that is not placed runs in float32"
        place = whole.walk_to(("compile", "precision")).at()
        yield Diagnostic("inconsistent", message, place, help="drop `place = false`, or write `precision = 'float32'`")
