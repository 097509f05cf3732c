"""Whether two executions of the same step agree: the interpreter's, a compiled module's, or one after a pass."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from atentdsl.plan import Plan, interpret
from atentdsl.plan.operations import Update
from atentdsl.plan.values import Scheduled
from atentdsl.runtime.examples import Batch
from atentdsl.runtime.streams import Streams

Batches = Sequence[tuple[Tensor, Tensor]]
MakeStreams = Callable[[int, int, torch.device], Any]


@attrs.frozen(eq=False)
class Execution:
    """What a number of steps went through and left behind.

    Attributes:
        points: by step, every point that the weights' gradient was asked for at, or that was kept.
        coefficients: by step, their weights c, of a margin search one for each example.
        gradients: by step, g at every input evaluation, `(batch, *input)`.
        signals: by step, sum of c_k times the mean loss; empty for points that are only drawn.
        weight_gradients: by step and name, the gradient of the signal.
        weights: parameters and buffers afterwards, by name.
        generator: the global generator's state afterwards, which dropout reads.
    """

    points: list[list[Tensor]] = attrs.field(factory=list)
    coefficients: list[list[float | Tensor]] = attrs.field(factory=list)
    gradients: list[list[Tensor]] = attrs.field(factory=list)
    signals: list[Tensor] = attrs.field(factory=list)
    weight_gradients: list[dict[str, Tensor]] = attrs.field(factory=list)
    weights: dict[str, Tensor] = attrs.field(factory=dict)
    generator: Tensor = attrs.field(factory=lambda: torch.zeros(0))


def interpreted(
    plan: Plan,
    model: nn.Module,
    batches: Batches,
    seed: int = 0,
    execute: Any = interpret,
    streams: MakeStreams = Streams,
) -> Execution:
    """The plan interpreted, one step a batch, on a copy of the model; the global generator is left as it was.

    Args:
        plan: one that trains or one that draws.
        model: is not changed.
        batches: inputs `(batch, *input)` and labels `(batch,)`, one pair a step; where examples are remembered, those
            at one place are the same in all of them.
        seed: of draws and dropout.
        execute: the interpreter.
        streams: makes the random streams of a step from seed, step and device.
    """
    model, done = copy.deepcopy(model), Execution()
    updates = [operation for operation in plan.flat() if isinstance(operation, Update)]
    with _seeded(seed):
        optimizer = _optimizer(updates[0], model) if updates else None
        state: dict[str, Any] = {}
        for step, pair in enumerate(batches, start=1):
            trace = execute(plan, model, optimizer, _from(batches, step), streams(seed, step, pair[0].device), state)
            done.points.append([z for z, _ in [*trace.points, *trace.kept]])
            done.coefficients.append([c for _, c in [*trace.points, *trace.kept]])
            done.gradients.append(trace.gradients)
            if trace.signal is not None:
                done.signals.append(trace.signal)
            done.weight_gradients.append(_gradients(model))
        return attrs.evolve(done, weights=_state(model), generator=torch.get_rng_state())


def run_module(
    module: Any, model: nn.Module, batches: Batches, seed: int = 0, streams: MakeStreams = Streams
) -> Execution:
    """The same by a compiled module, a training one or one that draws.

    The module's network passes are listened to: every point and gradient that goes through them is kept.
    """
    model, done = copy.deepcopy(model), Execution()
    with _seeded(seed), _listening(module, done):
        optimizer = module.make_optimizer(model.parameters()) if hasattr(module, "train_step") else None
        state: dict[str, Any] = {}
        for step, (x, y) in enumerate(batches, start=1):
            rng = streams(seed, step, x.device)
            done.points.append([])
            done.coefficients.append([])
            done.gradients.append([])
            if optimizer is not None:
                done.signals.append(module.train_step(model, optimizer, _from(batches, step), rng, state))
            else:
                drawn = module.draw(model, x, y, rng)
                done.points[-1] += [z for z, _ in drawn]
                done.coefficients[-1] += [c for _, c in drawn]
            done.weight_gradients.append(_gradients(model))
        return attrs.evolve(done, weights=_state(model), generator=torch.get_rng_state())


def _from(batches: Batches, step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The step's own batch, then those after it, round and round: for steps that take several."""
    most = max(len(y) for _, y in batches)
    numbered = [Batch((x, y), torch.arange(len(y), device=x.device), most) for x, y in batches]
    return itertools.cycle([*numbered[step - 1 :], *numbered[: step - 1]])


def differences(one: Execution, other: Execution, tolerance: float = 0.0) -> list[str]:
    """A line for everything in which two executions differ by more than the tolerance; empty where they agree.

    Points, gradients, weights and buffers are compared relative to the largest entry of each tensor, the gradient in
    the weights, which is one vector, relative to its largest entry in any of them. The signal and the coefficients are
    compared to 1e-12 at least: a mean and a sum divided by its length round differently.
    """
    found: list[str] = []
    for what in ("points", "coefficients", "gradients", "signals", "weight_gradients"):
        mine, theirs = getattr(one, what), getattr(other, what)
        if len(mine) != len(theirs):
            found.append(f"{what}: {len(mine)} steps and {len(theirs)}")
        allowed = max(tolerance, 1e-12) if what in {"signals", "coefficients"} else tolerance
        for step, (a, b) in enumerate(zip(mine, theirs, strict=False), start=1):
            found += _different(f"step {step}, {what}", a, b, allowed)
    found += _different("afterwards, weights", one.weights, other.weights, tolerance)
    if not torch.equal(one.generator, other.generator):
        found.append("afterwards, the global generator's state")
    return found


def _different(place: str, a: Any, b: Any, tolerance: float, size: float | None = None) -> Iterator[str]:
    if isinstance(a, dict):
        if a.keys() != b.keys():
            yield f"{place}: {sorted(a)} and {sorted(b)}"
        size = max((_size(value) for value in a.values()), default=0.0) if "weight_gradients" in place else None
        for name in a.keys() & b.keys():
            yield from _different(f"{place} of {name}", a[name], b[name], tolerance, size)
    elif isinstance(a, list):
        if len(a) != len(b):
            yield f"{place}: {len(a)} and {len(b)}"
        for i, (mine, theirs) in enumerate(zip(a, b, strict=False)):
            yield from _different(f"{place} {i}", mine, theirs, tolerance)
    else:
        a, b = torch.as_tensor(a), torch.as_tensor(b)
        if a.shape != b.shape or a.dtype != b.dtype:
            yield f"{place}: {a.dtype} {tuple(a.shape)} and {b.dtype} {tuple(b.shape)}"
        elif not torch.equal(a, b):
            error, size = float((a - b).abs().max()), _size(a) if size is None else size
            if not error <= tolerance * size:  # so written, NaN differs from everything
                yield f"{place}: by {error:.3g}, of {size:.3g}"


def _size(value: Tensor) -> float:
    return float(value.abs().max())


@contextmanager
def _listening(module: Any, done: Execution) -> Iterator[None]:
    """Within the block the module's network passes note down what goes through them."""
    names = ("input_gradient", "density", "weight_gradient", "gradients", "displacement_gradient")
    own = {name: vars(module)[name] for name in names if name in vars(module)}

    def input_gradient(model: nn.Module, z: Tensor, *rest: Any, **named: Any) -> Any:
        g = own["input_gradient"](model, z, *rest, **named)
        done.gradients[-1].append(g)
        return g

    def density(model: nn.Module, z: Tensor, *rest: Any, **named: Any) -> Any:
        found = own["density"](model, z, *rest, **named)
        done.gradients[-1].append(found.gradient)
        return found

    def weight_gradient(model: nn.Module, z: Tensor, *rest: Any, weight: float, **named: Any) -> Any:
        done.points[-1].append(z)
        done.coefficients[-1].append(weight * len(z) * named.get("chosen", 1.0))
        return own["weight_gradient"](model, z, *rest, weight=weight, **named)

    def gradients(model: nn.Module, z: Tensor, *rest: Any, weight: float, **named: Any) -> Any:
        done.points[-1].append(z)
        done.coefficients[-1].append(weight * len(z))
        g, part = own["gradients"](model, z, *rest, weight=weight, **named)
        done.gradients[-1].append(g)
        return g, part

    def displacement_gradient(model: nn.Module, w: Tensor, w_moved: Tensor, weight: float) -> Any:
        done.points[-1].append(w_moved)
        done.coefficients[-1].append(weight)
        return own["displacement_gradient"](model, w, w_moved, weight=weight)

    listening = {
        "input_gradient": input_gradient,
        "density": density,
        "weight_gradient": weight_gradient,
        "gradients": gradients,
        "displacement_gradient": displacement_gradient,
    }
    vars(module).update({name: listening[name] for name in own})
    try:
        yield
    finally:
        vars(module).update(own)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Within the block dropout's generator starts from the seed; afterwards it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _optimizer(update: Update, model: nn.Module) -> Optimizer:
    """The update's optimizer at the first epoch's rate, made from the plan and not from any generated text."""

    def first(value: Any) -> Any:
        return value.call.function(1, **dict(value.call.arguments)) if isinstance(value, Scheduled) else value

    numbers = {name: first(value) for name, value in update.optimizer.arguments}
    made: Optimizer = update.optimizer.function(model.parameters(), first(update.rate), **numbers)
    return made


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
