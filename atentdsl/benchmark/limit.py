"""The limit: the network passes that a plan's cost counts, and nothing else.

The same network, batch, precision and layout as the compiled step, inputs that stay as they are, each pass with its
loss; no draw, no move, no projection, no optimizer. What the compiled step takes beyond this is what it adds to its
passes. For each evaluation that wants

    input      a forward, and the gradient in the input; no weight asks for one
    weights    a forward, and the gradient in the weights
    both       a forward, and one backward to input and weights together
    loss       a forward without a gradient
    density    what `input` does
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from atentdsl.plan import Plan
from atentdsl.plan.operations import Evaluate

__all__ = ["Pass", "limit_step", "passes"]

TO_INPUT, TO_WEIGHTS = ("input", "both", "density"), ("weights", "both")


@attrs.frozen
class Pass:
    """One evaluation of the network.

    Attributes:
        loss: logits and labels to a loss per example.
        training: the network's mode.
        to_input, to_weights: which gradients are asked for.
    """

    loss: Callable[..., Any]
    training: bool
    to_input: bool
    to_weights: bool


def passes(plan: Plan) -> tuple[Pass, ...]:
    """The network passes of a plan, in the order they are made."""
    return tuple(
        Pass(o.loss.function, o.mode != "eval", o.wants in TO_INPUT, o.wants in TO_WEIGHTS)
        for o in plan.flat()
        if isinstance(o, Evaluate)
    )


def limit_step(plan: Plan, network: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """What makes the plan's network passes once.

    Args:
        plan: whose passes.
        network: as the compiled step calls it; no weight keeps a gradient.
        x: `(batch, *input)`.
        y: `(batch,)`.
    """
    made = passes(plan)
    weights = [p for p in network.parameters() if p.requires_grad]
    still, leaf = x.detach(), x.detach().clone().requires_grad_()

    def step() -> None:
        training = asking = None
        for one in made:
            # Said once where it changes and not at every pass, of which it is no part.
            if training is not one.training:
                training = one.training
                network.train(training)
            if asking is not one.to_weights:
                asking = one.to_weights
                for p in weights:
                    p.requires_grad_(asking)
            if not one.to_input and not one.to_weights:
                with torch.no_grad():
                    one.loss(network(still), y)
                continue
            losses = one.loss(network(leaf if one.to_input else still), y)
            torch.autograd.grad(losses.sum(), [*([leaf] if one.to_input else []), *(weights if one.to_weights else [])])
        for p in weights:
            p.requires_grad_(True)

    return step
