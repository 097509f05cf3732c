"""The interpreter: executes a plan operation by operation, and so defines what a recipe means.

It is written for plainness, not for speed, and shares with the compiled step nothing but the primitives' functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import lazy_loader

from atentdsl.plan.operations import Call, Evaluate, Keep, Move, Operation, Plan, Project, Start, Take, Update

torch = lazy_loader.load("torch")

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


class Draws(Protocol):
    """Named random streams, each read on from draw to draw."""

    def normal(self, place: str, like: Tensor) -> Tensor:
        """Standard normal numbers of like's shape."""

    def uniform(self, place: str, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of like's shape."""


@attrs.define
class Trace:
    """What one execution went through.

    Attributes:
        points: every point handed on, with its coefficient.
        visited: every value z took after a start, a move or a projection.
        gradients: g at every input evaluation.
        signal: sum of c_k times the mean loss, detached.
    """

    points: list[tuple[Tensor, float]] = attrs.field(factory=list)
    visited: list[Tensor] = attrs.field(factory=list)
    gradients: list[Tensor] = attrs.field(factory=list)
    signal: Tensor | None = None


@attrs.define
class _Registers:
    x: Any = None
    y: Any = None
    z: Any = None
    old: Any = None
    g: Any = None
    masks_at: Any = None
    masks: Any = None


def interpret(
    plan: Plan,
    model: nn.Module,
    optimizer: Optimizer | None,
    batches: Iterator[tuple[Tensor, Tensor]],
    rng: Draws,
    state: dict[str, Any],
) -> Trace:
    """Executes the plan once: one outer step, or one drawing of points.

    Args:
        plan: literal, or transformed by passes: they mean the same.
        model: maps `(batch, *input)` in [0, 1] to logits `(batch, classes)`.
        optimizer: moves the weights; None for a plan that draws.
        batches: yields x `(batch, *input)` and y `(batch,)`.
        rng: the random streams of this step.
        state: persists from step to step; no operation uses it yet.
    """
    at = _Registers()
    trace = Trace()
    if optimizer is not None:
        optimizer.zero_grad()
    for operation in plan.flat():
        _execute(operation, at, trace, model, optimizer, batches, rng)
    return trace


def _execute(
    operation: Operation,
    at: _Registers,
    trace: Trace,
    model: nn.Module,
    optimizer: Optimizer | None,
    batches: Iterator[tuple[Tensor, Tensor]],
    rng: Draws,
) -> None:
    match operation:
        case Take():
            at.x, at.y = next(batches)
            at.z = at.x
        case Start(call=call, stream=stream):
            at.z = _apply(call, anchor=at.x, **_noise(call, stream, at.x, rng))
            trace.visited.append(at.z)
        case Evaluate(wants="input", loss=loss, mode=mode):
            z = at.z.detach().requires_grad_()
            total = _losses(model, z, at, loss, mode).sum()
            (at.g,) = torch.autograd.grad(total, z)
            trace.gradients.append(at.g)
        case Evaluate(loss=loss, mode=mode, coefficient=c):
            assert isinstance(c, Fraction)
            signal = float(c) * _losses(model, at.z.detach(), at, loss, mode).mean()
            signal.backward()
            trace.points.append((at.z, float(c)))
            trace.signal = signal.detach() + (0 if trace.signal is None else trace.signal)
        case Move():
            at.old = at.z
            pull = _apply(operation.coupling, z=at.z, anchor=at.x) if operation.coupling else 0
            at.z = _apply(
                operation.kernel,
                z=at.z,
                drift=_drift(operation, at, pull if operation.pull == "time" else 0),
                **_noise(operation.kernel, operation.stream, at.z, rng),
            )
            if operation.pull == "move":
                at.z = at.z + pull
            trace.visited.append(at.z)
        case Project(call=call):
            at.z = _apply(call, z=at.z, old=at.old, anchor=at.x)
            trace.visited.append(at.z)
        case Keep(coefficient=c):
            assert isinstance(c, Fraction)
            trace.points.append((at.z, float(c)))
        case Update():
            assert optimizer is not None, "a plan that trains needs an optimizer"
            optimizer.step()


def _losses(model: nn.Module, z: Tensor, at: _Registers, loss: Call, mode: str) -> Any:
    """The loss per example. A point has one dropout mask, so a second evaluation at it draws the same again."""
    model.train(mode == "train")
    if mode == "train":  # eval mode draws no mask
        if at.masks_at is at.z:
            _set_global_state(z, at.masks)
        else:
            at.masks_at, at.masks = at.z, _global_state(z)
    return loss.function(model(z), at.y)


def _global_state(z: Tensor) -> Any:
    return torch.cuda.get_rng_state(z.device) if z.is_cuda else torch.get_rng_state()


def _set_global_state(z: Tensor, state: Any) -> None:
    if z.is_cuda:
        torch.cuda.set_rng_state(state, z.device)
    else:
        torch.set_rng_state(state)


def _drift(move: Move, at: _Registers, pull: Any) -> Any:
    g = move.scale * at.g
    if move.batch_mean:
        g = g / len(at.x)
    if move.covers == "energy":
        g = g + pull
    g = _apply(move.drift, g=g) if move.drift else g
    return g + pull if move.covers == "loss" else g


def _noise(call: Call, stream: str, like: Tensor, rng: Draws) -> dict[str, Tensor]:
    draw = {"normal": ("xi", rng.normal), "uniform": ("u", rng.uniform)}
    return {name: law(stream, like) for name, law in (draw[law] for law in call.primitive.draws)}


def _apply(call: Call, **tensors: Any) -> Any:
    """The call's function on the tensors it asks for by name."""
    asked = inspect.signature(call.function).parameters
    return call.function(**{name: value for name, value in tensors.items() if name in asked}, **dict(call.arguments))
