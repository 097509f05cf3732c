"""The interpreter: executes a plan operation by operation, and so defines what a recipe means.

It is written for plainness, not for speed, and shares with the compiled step nothing but the primitives' functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

from atentdsl.plan.margin_state import Margins
from atentdsl.plan.margins import Search
from atentdsl.plan.metropolis import Accept, Propose, proposal_of
from atentdsl.plan.operations import (
    Anchor,
    Between,
    Bounds,
    Carry,
    Clean,
    Clear,
    Displace,
    Evaluate,
    Gather,
    Hold,
    Keep,
    Load,
    Move,
    Noise,
    Operation,
    Place,
    Project,
    PutAside,
    Recall,
    Restore,
    Start,
    Take,
    Update,
    Worst,
    X,
)
from atentdsl.plan.program import Plan
from atentdsl.plan.smoothing import copies, mean_losses, mean_probabilities
from atentdsl.plan.tensor_state import buffers_kept, global_state, set_global_state, where
from atentdsl.plan.trace import Draws, Trace
from atentdsl.plan.values import Call, Scheduled, Smoothed
from atentdsl.plan.worst_case import worst_logits
from atentdsl.primitives.kernel import accumulated, look_ahead
from atentdsl.primitives.lazy import torch
from atentdsl.primitives.tensors import between, bounds_in_box, unit_l1

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


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
        state: persists from step to step: what starts carry on.
    """
    if optimizer is not None:
        optimizer.zero_grad()
    execution = Interpreter(model, optimizer, batches, rng, state)
    for operation in plan.flat():
        execution.execute(operation)
    return execution.trace


class Interpreter:
    """Executes operations one by one on a network; `trace` says what it went through."""

    def __init__(self, model: Any, optimizer: Any, batches: Any, rng: Draws, state: dict[str, Any]) -> None:
        self.model, self.optimizer, self.batches, self.rng, self.state = model, optimizer, batches, rng, state
        self.trace = Trace()
        self.points: dict[str, Any] = {}  # registers: the batch, samplers, anchors of weights
        self.y: Any = None
        self.g: Any = None
        self.old: Any = None
        self.bounds: dict[str, Any] = {}  # the least and the largest coordinates, by sampler
        self.velocity: dict[str, Any] = {}
        self.losses: Any = None
        self.clean: Any = None  # the logits at x that are kept
        self.noise: list[Any] = []  # the smoothing's, one of x's shape for each draw
        self.density: dict[str, tuple[Any, Any]] = {}  # losses and their gradient, by the register of the point
        self.worst: dict[str, Any] = {}  # the highest losses so far, by sampler
        self.shelves: dict[tuple[str, str], list[Any]] = {}
        self.aside: list[list[Any]] = []
        self.batch: Any = None
        self.margins = Margins(self.points, rng, state)
        self.masks: dict[int, tuple[Any, Any]] = {}  # the dropout generator's state at each point, by its identity

    def execute(self, operation: Operation) -> None:
        """Does what the operation says."""
        name = getattr(operation, "sampler", "")
        match operation:
            case Take():
                self.batch = next(self.batches)
                self.points[X], self.y = self.batch
            case Anchor():
                self.points[f"{name}.anchor"] = self._weights()
            case Start(anchor=anchor, call=call, stream=stream):
                z = self.points[anchor]
                if call is not None:
                    carried = self.state.get(f"{name}.carry", torch.zeros_like(z))
                    carried = carried if carried.shape == z.shape else torch.zeros_like(z)
                    z = self._apply(call, anchor=z, carried=carried, **self._noise(call, stream, z))
                self.points[name], self.velocity[name] = z, 0.0
                self.trace.visited.append(z)
            case Load():
                self._load(self.points[name])
            case Noise(sigma=sigma, draws=draws, stream=stream):
                sd, x = self._number(sigma), self.points[X]
                self.noise = [sd * self.rng.normal(stream, x) for _ in range(draws)]
            case Clean(mode=mode, smoothed=smoothed):
                self.clean = self._clean(mode, smoothed)
            case Evaluate():
                with buffers_kept(self.model, operation.mode == "frozen"):
                    self._evaluate(operation)
            case PutAside():
                self.aside.append([p.grad for p in self._parameters()])
                for p in self._parameters():
                    p.grad = None
            case Gather():
                gathered = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters()]
                self.g = torch.cat([g.flatten() for g in gathered])[None]
                for p, g in zip(self._parameters(), self.aside.pop(), strict=True):
                    p.grad = g
            case Move():
                self._move(operation)
            case Project(call=call, anchor=anchor, index=index):
                tensors = {"z": self.points[name], "old": self.old, "anchor": self.points[anchor]}
                self.points[name] = self._apply(call, index=index, **tensors)
                self.trace.visited.append(self.points[name])
            case Bounds(anchor=anchor, radius=radius):
                self.bounds[name] = bounds_in_box(self.points[anchor], self._number(radius))
            case Between():
                self.points[name] = between(self.points[name], *self.bounds[name])
                self.trace.visited.append(self.points[name])
            case Propose():
                self._propose(operation)
            case Accept():
                self._accept(operation)
            case _ if isinstance(operation, Search):
                if self.margins.execute(operation, self.batch, self.g, self.losses):
                    self.trace.visited.append(self.points[name])
            case Displace(coefficient=c, gain=gain):
                assert isinstance(c, Fraction)
                self._displace(name, float(c) * self._number(gain))
            case Clear(shelf=shelf):
                self.shelves[name, shelf] = []
                if shelf == "worst":
                    self.worst.pop(name, None)
            case Hold(shelf=shelf):
                self.shelves[name, shelf].append(self.points[name])
            case Worst():
                self._choose(name)
            case Recall(shelf=shelf, index=int(index)):
                self.points[name] = self.shelves[name, shelf][index]
            case Keep(at=at, coefficient=c, chosen=chosen):
                assert isinstance(c, Fraction)
                weight = float(c) * self.margins.chosen[at] if chosen else float(c)
                self.trace.kept.append((self.points[at], weight))
            case Carry(anchor=anchor):
                self.state[f"{name}.carry"] = self.points[name] - self.points[anchor]
            case Update(clip=clip):
                assert self.optimizer is not None, "a plan that trains needs an optimizer"
                if clip is not None:
                    self._shorten(self._number(clip))
                self.optimizer.step()
            case Restore(how="anchor"):
                self._load(self.points[f"{name}.anchor"])
            case Restore():
                self._load(self._weights() - (self.points[name] - self.points[f"{name}.anchor"]))
            case Place():
                pass  # how fast a step runs is no part of what it means

    def _evaluate(self, operation: Evaluate) -> None:
        point = self.points[operation.at]
        if operation.wants == "loss":
            with torch.no_grad():
                self.losses = self._losses(point, point, operation)
            return
        if operation.wants == "density":
            z = point.detach().requires_grad_()
            losses = self._losses(z, point, operation)
            (g,) = torch.autograd.grad(losses.sum(), z)
            self.density[operation.at] = losses.detach(), g
            self.trace.gradients.append(g)
            return
        z = point.detach().requires_grad_(operation.asks_input)
        chosen = self.margins.chosen[operation.at] if operation.chosen else 1.0
        total = (chosen * self._losses(z, point, operation)).sum()
        inputs = [z] if operation.asks_input else []
        gradients = list(torch.autograd.grad(total, [*inputs, *self._asked(operation)], allow_unused=True))
        if operation.asks_input:
            self.g = gradients.pop(0)
            self.trace.gradients.append(self.g)
        if operation.asks_weights:
            assert isinstance(operation.coefficient, Fraction)
            weight = float(operation.coefficient) / len(z)
            for p, g in zip(self._parameters(), gradients, strict=True):
                if g is not None:
                    p.grad = weight * g if p.grad is None else torch.add(p.grad, g, alpha=weight)
            self._hand_on(point, float(operation.coefficient) * chosen, weight * total.detach())

    def _move(self, move: Move) -> None:
        z, anchor, k = self.points[move.sampler], self.points[move.anchor], move.index
        pull = self._apply(move.coupling, index=k, z=z, anchor=anchor) if move.coupling else 0
        g = self._number(move.scale, k) * self.g
        g = -g if move.descend else g
        if move.batch_mean:
            g = g / len(z)
        if move.momentum:
            g = unit_l1(g) if move.momentum.normalise == "l1" else g
            mu = self._number(move.momentum.mu, k)
            self.velocity[move.sampler] = accumulated(self.velocity[move.sampler], g, mu)
            velocity = self.velocity[move.sampler]
            g = look_ahead(g, velocity, mu) if move.momentum.nesterov else velocity
        inside, outside = (pull, 0) if move.covers == "energy" else (0, pull)
        if move.pull == "move":
            inside, outside = 0, 0
        drift = g + inside
        if move.drift:
            shapes = [tuple(p.shape) for p in self._parameters()]
            drift = self._apply(move.drift, g=drift, z=z, anchor=anchor, shapes=shapes)
        drift = drift + outside
        self.old = z
        z = self._apply(move.kernel, index=k, z=z, drift=drift, **self._noise(move.kernel, move.stream, z))
        self.points[move.sampler] = z + pull if move.pull == "move" else z
        self.trace.visited.append(self.points[move.sampler])

    def _shorten(self, limit: float) -> None:
        """The gradients in the weights, as one vector, to that length where they are longer."""
        gradients = [p.grad for p in self._parameters() if p.grad is not None]
        if gradients:
            length = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
            for g in gradients:
                g.mul_(limit / length if length > limit else 1.0)

    def _propose(self, propose: Propose) -> None:
        name, z = propose.sampler, self.points[propose.sampler]
        _, drift = self._energy(propose, name)
        noise = self._noise(propose.kernel, propose.stream, z)
        self.points[proposal_of(name)] = self._apply(propose.kernel, index=propose.index, z=z, drift=drift, **noise)

    def _accept(self, accept: Accept) -> None:
        name, new = accept.sampler, proposal_of(accept.sampler)
        z, proposal, anchor = self.points[name], self.points[new], self.points[accept.anchor]
        (here, drift), (there, back) = self._energy(accept, name), self._energy(accept, new)
        tensors = {"z": z, "proposal": proposal, "drift": drift, "back": back, "gain": there - here}
        probability = self._apply(accept.acceptance, index=accept.index, **tensors)
        taken = self.rng.uniform(accept.stream, probability) < probability
        for inside in accept.support:
            taken = taken & self._apply(inside, index=accept.index, z=proposal, anchor=anchor)
        self.points[name] = where(taken, proposal, z)
        kept, offered = self.density[name], self.density[new]
        self.density[name] = where(taken, offered[0], kept[0]), where(taken, offered[1], kept[1])
        self.trace.visited.append(self.points[name])

    def _energy(self, move: Propose | Accept, register: str) -> tuple[Any, Any]:
        """The energy of each example at the register's point, and its gradient there."""
        energy, k = move.energy, move.index
        scale = self._number(energy.scale, k)
        value, gradient = (scale * part for part in self.density[register])
        if energy.descend:
            value, gradient = -value, -gradient
        if energy.coupling is None:
            return value, gradient
        points = {"z": self.points[register], "anchor": self.points[move.anchor]}
        held = self._apply(energy.coupling.as_its("energy"), index=k, **points)
        return value - held, gradient + self._apply(energy.coupling, index=k, **points)

    def _displace(self, name: str, weight: float) -> None:
        away = self.points[f"{name}.anchor"] - self.points[name]
        at = 0
        for p in self._parameters():
            g = weight * away[0, at : at + p.numel()].view_as(p)
            p.grad = g.clone() if p.grad is None else p.grad + g
            at += p.numel()
        self._hand_on(self.points[name], weight, weight / 2 * away.square().sum())

    def _hand_on(self, z: Any, weight: Any, signal: Any) -> None:
        self.trace.points.append((z, weight))
        if not self.aside:
            self.trace.signal = signal + (0 if self.trace.signal is None else self.trace.signal)

    def _choose(self, name: str) -> None:
        candidates, best = self.shelves[name, "candidates"], self.worst.get(name)
        if best is None:
            self.worst[name], self.shelves[name, "worst"] = self.losses, list(candidates)
            return
        higher = [n for n in range(len(best)) if self.losses[n] > best[n]]
        self.worst[name] = torch.stack([self.losses[n] if n in higher else best[n] for n in range(len(best))])
        self.shelves[name, "worst"] = [
            torch.stack([z[n] if n in higher else kept[n] for n in range(len(best))])
            for z, kept in zip(candidates, self.shelves[name, "worst"], strict=True)
        ]

    def _losses(self, z: Any, point: Any, operation: Evaluate) -> Any:
        """The loss per example; the clean logits that it asks for are made first."""
        loss, mode, smoothed, x = operation.loss, operation.mode, operation.smoothed, self.points.get(X)
        if operation.clean == "kept":
            made = [self.clean]
        elif loss.holds_clean:
            made = [self._clean(mode, smoothed) for _ in range(operation.clean)]
        else:
            made = [self._smoothed(x, x, mode, smoothed) for _ in range(operation.clean)]
        clean = {name: made[min(i, len(made) - 1)] for i, name in enumerate(loss.clean)}
        logits = self._smoothed(z, point, mode, smoothed)
        if operation.radius is not None:
            self.model.eval()
            bounded = getattr(self.model, "as_it_is", self.model)  # not in another number format
            clean["worst"] = worst_logits(bounded, z, self.y, self._number(operation.radius))
        if smoothed is None or smoothed.average == "probabilities":
            return self._apply(loss, logits=logits, y=self.y, **clean)
        apply = partial(self._apply, loss)
        return mean_losses(apply, smoothed.draws, logits=logits, y=self.y.repeat(smoothed.draws), **clean)

    def _clean(self, mode: str, smoothed: Smoothed | None) -> Any:
        """The logits at x, constant."""
        with torch.no_grad(), buffers_kept(self.model, mode == "frozen"):
            return self._smoothed(self.points[X], self.points[X], mode, smoothed)

    def _smoothed(self, z: Any, point: Any, mode: str, smoothed: Smoothed | None) -> Any:
        """The logits at z; of all its copies, or of their mean probabilities, where the network is smoothed."""
        if smoothed is None:
            return self._logits(z, point, mode)
        logits = self._logits(copies(z, self.noise), point, mode)
        return mean_probabilities(logits, smoothed.draws) if smoothed.average == "probabilities" else logits

    def _logits(self, z: Any, point: Any, mode: str) -> Any:
        """The network at z. A point has one dropout mask, so a second evaluation at it draws the same again."""
        self.model.train(mode != "eval")
        if mode == "eval":  # draws no mask
            return self.model(z)
        now = global_state(z)
        again = id(point) in self.masks
        if again:
            set_global_state(z, self.masks[id(point)][1])
        else:
            self.masks[id(point)] = point, now
        logits = self.model(z)
        if again:
            set_global_state(z, now)
        return logits

    def _asked(self, operation: Evaluate) -> list[Any]:
        return self._parameters() if operation.asks_weights else []

    def _parameters(self) -> list[Any]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def _weights(self) -> Any:
        """All weights in one row, `(1, weights)`."""
        return torch.cat([p.detach().flatten() for p in self._parameters()])[None]

    def _load(self, row: Any) -> None:
        at = 0
        with torch.no_grad():
            for p in self._parameters():
                p.copy_(row[0, at : at + p.numel()].view_as(p))
                at += p.numel()
        self.masks = {}  # other weights: every point is another one

    def _number(self, value: Any, index: Any = None) -> Any:
        if not isinstance(value, Scheduled):
            return value
        t = {"epochs": self.rng.epoch, "steps": self.rng.step, "moves": index + 1 if index is not None else None}
        return value.call.function(t[value.over], **dict(value.call.arguments))

    def _noise(self, call: Call, stream: str, like: Any) -> dict[str, Any]:
        draw = {"normal": ("xi", self.rng.normal), "uniform": ("u", self.rng.uniform)}
        return {name: law(stream, like) for name, law in (draw[law] for law in call.primitive.draws)}

    def _apply(self, call: Call, index: Any = None, **tensors: Any) -> Any:
        """The call's function on the tensors it asks for by name, its numbers at this epoch, step and move."""
        numbers = {name: self._number(value, index) for name, value in call.arguments}
        return call.function(**{name: value for name, value in tensors.items() if name in call.asks}, **numbers)
