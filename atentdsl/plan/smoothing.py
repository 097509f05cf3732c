"""Smoothing in the plan: where its noise is drawn, and how evaluations are made under it.

    losses          L(z) = (1/m) sum_i loss(f(z + sigma xi_i))
    probabilities   L(z) = loss(log((1/m) sum_i softmax f(z + sigma xi_i)))

Every evaluation of a step is one of the m copies of its point together, in one forward: in train mode their batch
statistics are those of all copies, and one dropout mask is drawn for all of them. (Salman et al., 2019, whose code
does the same.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from atentdsl.plan.calls import number
from atentdsl.plan.operations import Clean, Evaluate, Noise, Operation, Take
from atentdsl.plan.values import Origin, Smoothed
from atentdsl.primitives.lazy import torch


class Smoothing:
    """How the operations of a literal plan are made under the recipe's `[smoothing]`.

    Args:
        table: the table, or None.
        lengths: how long what is counted lasts, for a schedule of sigma.

    >>> made = Smoothing(None, {}).around(Take())
    >>> list(made) == [Take()]
    True
    """

    def __init__(self, table: Any, lengths: Mapping[str, int]) -> None:
        sigma = 0.0 if table is None else number(table.sigma, lengths)
        self._table = table if sigma else None  # a scale of literally 0 draws nothing
        self._sigma = sigma

    def around(self, operation: Operation, signal: bool = False) -> Iterator[Operation]:
        """The operation under the smoothing, beside the draws of its noise where they are made for it.

        Args:
            operation: of the plan without smoothing.
            signal: whether an evaluation's gradient is the signal's. Where each evaluation draws its own, those have a
                stream of their own: a chain's points depend on no evaluation that is made of them later.
        """
        table = self._table
        if table is None or not isinstance(operation, Take | Evaluate):
            yield operation
            return
        origin = Origin(("smoothing",), "the smoothing's noise")
        noise = Noise(self._sigma, table.draws, origin=origin)
        if signal and table.redraw == "evaluation":
            noise = attrs.evolve(noise, stream="smoothing.signal")
        if isinstance(operation, Take):
            yield operation
            if table.redraw == "batch":
                yield noise
            return
        if table.redraw == "evaluation":
            yield noise
        average = table.objective if operation.loss.family == "objectives" else table.target
        # Of one copy both are the same function: a loss reads nothing of its logits but their softmax.
        smoothed = Smoothed(table.draws, average if table.draws > 1 else "losses")
        yield attrs.evolve(operation, smoothed=smoothed)


def copies(z: Any, noise: list[Any]) -> Any:
    """The point's noisy copies, `(draws * batch, *input)`, those of one draw together; the point where there is none.

    >>> import torch
    >>> copies(torch.zeros(2), [torch.ones(2), torch.full((2,), 2.0)])
    tensor([1., 1., 2., 2.])
    """
    return torch.cat([z + each for each in noise]) if noise else z


def mean_probabilities(logits: Any, draws: int) -> Any:
    """The logarithm of the probabilities' mean over the copies, `(batch, classes)`: logits that say the same.

    >>> import torch
    >>> mean_probabilities(torch.tensor([[0.0, 0.0], [0.0, 1.0986]]), draws=2).exp()
    tensor([[0.3750, 0.6250]])
    """
    each = [torch.log_softmax(part, dim=1) for part in logits.chunk(draws)]
    return torch.stack(each).logsumexp(dim=0) - math.log(draws)


def mean_losses(loss: Any, draws: int, **tensors: Any) -> Any:
    """The mean over the copies of a loss of each draw's own tensors, `(batch,)`.

    Args:
        loss: takes the tensors of one draw by name.
        draws: how many there are.
        tensors: of all copies, `(draws * batch, ...)`, those of one draw together.
    """
    parts = {name: value.chunk(draws) for name, value in tensors.items()}
    return torch.stack([loss(**{name: part[i] for name, part in parts.items()}) for i in range(draws)]).mean(dim=0)


def without_unread_noise(operations: list[Operation]) -> list[Operation]:
    """The operations; without the smoothing's noise where nothing is evaluated under it, as where a start is drawn."""
    last = max((i for i, o in enumerate(operations) if isinstance(o, Evaluate | Clean)), default=-1)
    return [o for i, o in enumerate(operations) if i < last or not isinstance(o, Noise)]
