"""The schedule of the published ATENT code, as a baseline: 6K + 1 units for K moves, K graphs kept until one backward.

Each of the K moves runs backward for the input's gradient and computes all weight gradients beside it (forward 1,
activations 1, weights 1), then evaluates the loss at the new point and keeps its graph (forward 1), averaging

    mu <- (1 - alpha) mu + alpha L(z^(k+1)),        mu = 0 at the beginning

One backward of mu at the end runs through all K graphs (activations 1, weights 1 each): 3K + K + 2K = 6K. That code
makes 2K + 1 forwards a step, as its batch norm shows, which is updated 21 times with K = 10: two a move, and one from
which nothing is differentiated, the 1 in 6K + 1. Here that one is made at the batch itself, after the chain, so that it
moves no running statistic which the chain reads.

Plain float32, contiguous layout, no autocast, as those scripts run. Its gradient is the literal plan's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from atentdsl.plan import Plan
from atentdsl.plan.interpret import Interpreter
from atentdsl.plan.metropolis import tests
from atentdsl.plan.operations import Evaluate, Operation, Update, X
from atentdsl.plan.trace import Draws
from atentdsl.recipe import Recipe

__all__ = ["applies", "authors_step", "authors_units"]


def applies(recipe: Recipe) -> bool:
    """Whether that schedule can run the recipe: one chain of data, of moves that are all taken, averaged exponentially.

    >>> from atentdsl.recipe import load
    >>> applies(load("atent_linf")), applies(load("pgd_at_linf"))
    (True, False)
    """
    if len(recipe.samplers) != 1 or recipe.smoothing is not None:
        return False
    sampler: Any = recipe.samplers[0]
    return bool(
        (sampler.kind, sampler.space, sampler.restarts) == ("chain", "data", 1)
        and sampler.moves > 0
        and not tests(sampler)
        and sampler.averaging.kind == "exponential"
        and sampler.averaging.alpha < 1  # else the plan leaves out the points before the last, and that code does not
        and sampler.target.loss == recipe.objective.kind == "cross_entropy"
    )


def authors_units(recipe: Recipe) -> int:
    """Its cost, 6K + 1.

    >>> from atentdsl.recipe import load
    >>> authors_units(load("atent_linf", ["sampler.attack.moves=10"]))
    61
    """
    sampler: Any = recipe.samplers[0]
    return int(6 * sampler.moves + 1)


def authors_step(
    plan: Plan,
    alpha: float,
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterator[tuple[Tensor, Tensor]],
    rng: Draws,
    state: dict[str, Any],
) -> Tensor:
    """One outer step in that schedule; mu, detached.

    Args:
        plan: the literal plan of a recipe that it `applies` to: which points, in which order.
        alpha: of the averaging.
        model, optimizer, batches, rng, state: as for `interpret`.
    """
    optimizer.zero_grad()
    execution = _Schedule(alpha, model, optimizer, batches, rng, state)
    for operation in plan.flat():
        execution.execute(operation)
    return execution.mu.detach()


class _Schedule(Interpreter):
    """Draws, moves and projects as the interpreter does, and evaluates as the published code does."""

    def __init__(self, alpha: float, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.alpha, self.mu = alpha, torch.zeros(())

    def execute(self, operation: Operation) -> None:
        if isinstance(operation, Update):
            self.model.train()
            self.model(self.points[X])
            self.mu.backward()  # type: ignore[no-untyped-call]
        super().execute(operation)

    def _evaluate(self, operation: Evaluate) -> None:
        # Each evaluation draws its own dropout mask, as it does there.
        self.model.train(operation.mode != "eval")
        point = self.points[operation.at].detach()
        if operation.wants == "input":
            point.requires_grad_()
            losses = operation.loss.function(self.model(point), self.y)
            asked = [point, *self._parameters()]
            self.g, *_ = torch.autograd.grad(losses.sum(), asked, allow_unused=True)
        else:
            loss = operation.loss.function(self.model(point), self.y).mean()
            self.mu = (1 - self.alpha) * self.mu + self.alpha * loss
