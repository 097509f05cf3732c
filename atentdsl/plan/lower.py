"""Lowering: a checked recipe becomes the literal plan, which defines it.

For each move: Evaluate the input's gradient at z^k, Move, Project, Evaluate the weights' gradient at z^(k+1) with its
coefficient; then Update. A point of coefficient 0 is not evaluated. A scale of literally 0 draws nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from atentdsl.plan.operations import (
    Call,
    Evaluate,
    Goal,
    Keep,
    Move,
    Operation,
    Origin,
    Plan,
    Project,
    Start,
    Take,
    Update,
)
from atentdsl.plan.paper import Citations, citations
from atentdsl.plan.verify import verify
from atentdsl.primitives import registry
from atentdsl.primitives.primitive import Kinded
from atentdsl.recipe import Recipe

# Arguments of primitives' functions that are bound to values of the step, never to parameters of the same name.
TENSORS = frozenset({"z", "old", "anchor", "g", "drift", "xi", "u", "logits", "y", "t", "parameters", "lr"})


def lower(recipe: Recipe, goal: Goal = "train") -> Plan:
    """The literal plan of a recipe.

    Args:
        recipe: a checked recipe.
        goal: `train` for an outer step; `draw` for the sampler's points and weights alone.
    """
    sampler: Any = recipe.samplers[0] if recipe.samplers else None
    paper = citations(sampler)
    operations: list[Operation] = [Take(origin=Origin(("data",), "the next batch", paper.batch))]
    objective = call("objectives", recipe.objective)
    if sampler is None:
        operations.append(_hand_on(goal, Fraction(1), objective, ("objective",), paper, 0))
    else:
        operations += _chain(sampler, objective, goal, paper)
    if goal == "train":
        operations.append(_update(recipe.optimizer, paper))
    return verify(Plan(goal, tuple(operations)))


def call(family: str, part: Kinded) -> Call:
    """A part of the recipe as a call: reduced to the simplest primitive it equals, its arguments bound by name."""
    return _call(family, part.kind, part.parameters())


def _call(family: str, kind: str, parameters: Mapping[str, Any]) -> Call:
    primitive = registry.primitive(family, kind)
    simpler = primitive.reduces(parameters)
    if simpler is not None:
        return _call(family, *simpler)
    if primitive.function is None:
        return Call(family, kind)
    asked = inspect.signature(primitive.function).parameters
    numbers = [name for name in asked if name in parameters and name not in TENSORS]
    bound = tuple((name, _scalar(parameters[name])) for name in numbers)
    return Call(family, kind, bound)


def _scalar(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _asks(project: Project) -> set[str]:
    return set(inspect.signature(project.call.function).parameters)


def _update(optimizer: Any, paper: Citations) -> Update:
    numbers = optimizer.lr.parameters()
    if numbers.get("length", 1) is None:
        numbers["length"] = optimizer.epochs  # a schedule over epochs ends with training, where nothing else is said
    origin = Origin(("optimizer",), "update", paper.update)
    rest = {name: value for name, value in optimizer.parameters().items() if name != "lr"}
    rate = _call("schedules", optimizer.lr.kind, numbers)
    return Update(_call("optimizers", optimizer.kind, rest), rate, optimizer.lr.over, origin=origin)


def _chain(sampler: Any, objective: Call, goal: Goal, paper: Citations) -> list[Operation]:
    name = sampler.name
    weights = _coefficients(sampler)
    start = call("starts", sampler.start)
    operations: list[Operation] = []
    if start.primitive.function is not None:
        origin = Origin(("sampler", 0, "start"), f"start: {start.kind}", paper.start)
        operations.append(Start(start, f"{name}.start", origin=origin))
        if getattr(sampler.start, "projected", False):
            operations += [p for p in _projections(sampler, "start", paper) if "old" not in _asks(p)]
    if weights[0]:
        operations.append(_hand_on(goal, weights[0], objective, ("sampler", 0, "averaging"), paper, 0))
    for k in range(sampler.moves):
        target = sampler.target
        says = "the loss's gradient in the point"
        operations.append(
            Evaluate(
                "input",
                Call("targets", target.loss),
                sampler.mode,
                origin=Origin(("sampler", 0, "target"), says, paper.gradient),
            )
        )
        operations.append(_move(sampler, f"{name}.noise", paper))
        operations += _projections(sampler, "last" if k == sampler.moves - 1 else "every", paper)
        if weights[k + 1]:
            operations.append(_hand_on(goal, weights[k + 1], objective, ("sampler", 0, "averaging"), paper, k + 1))
    return operations


def _coefficients(sampler: Any) -> list[Fraction]:
    averaging = sampler.averaging
    function = registry.primitive("averaging", averaging.kind).coefficients
    assert function is not None, f"averaging/{averaging.kind} gives no coefficients"
    weights: list[Fraction] = function(sampler.moves, **averaging.parameters())
    return weights


def _move(sampler: Any, stream: str, paper: Citations) -> Move:
    kernel, target = sampler.kernel, sampler.target
    drift = Call("drifts", kernel.drift)
    coupling = call("couplings", target.coupling)
    return Move(
        kernel=call("kernels", kernel),
        stream=stream,
        scale=target.beta if target.direction == "ascend" else -target.beta,
        batch_mean=target.reduction == "batch_mean",
        drift=drift if drift.primitive.function is not None else None,
        coupling=coupling if coupling.primitive.function is not None else None,
        covers=kernel.covers,
        pull=getattr(target.coupling, "per", "time"),
        origin=Origin(("sampler", 0, "kernel"), f"move: {kernel.kind}", paper.move),
    )


def _projections(sampler: Any, moment: str, paper: Citations) -> list[Project]:
    """The projections after the start, after any move, or after the last one, which meets them all."""
    return [
        Project(
            call("projections", projection),
            "start" if moment == "start" else "move",
            origin=Origin(("sampler", 0, "projection", i), f"project: {projection.kind}", paper.project),
        )
        for i, projection in enumerate(sampler.projection)
        if moment != "every" or projection.when == "every"
    ]


def _hand_on(
    goal: Goal, coefficient: Fraction, objective: Call, path: tuple[str | int, ...], paper: Citations, k: int
) -> Evaluate | Keep:
    if goal == "draw":
        return Keep(coefficient, origin=Origin(path, "hand the point on", paper.average))
    says = "the signal's gradient in the weights"
    return Evaluate("weights", objective, "train", coefficient, origin=Origin(path, says, paper.average))
