"""The limit: the network passes that a plan's cost counts, and nothing else.

The same network, batch, precision and layout as the compiled step, inputs that stay as they are, each pass with its
loss; no draw, no move, no projection, no optimizer. What the compiled step takes beyond this is what it adds to its
passes. For each evaluation that wants

    input      a forward, and the gradient in the input; no weight asks for one
    density    the same: the losses are there beside it
    weights    a forward, and the gradient in the weights
    both       a forward, and one backward to input and weights together
    loss       a forward without a gradient

and before it as many forwards at the batch as it makes for clean logits: without a gradient where they are constants
of the loss, differentiated with it where they are not. Clean logits that are kept are one forward without a gradient.
Interval bounds are two forwards more at the point, differentiated with it.
Of a network that is smoothed with m draws each of these is made on m copies of the inputs, in one forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from atentdsl.plan import Plan
from atentdsl.plan.operations import Clean, Evaluate, Operation
from atentdsl.plan.values import Call, Scheduled, Smoothed

__all__ = ["Pass", "limit_step", "passes"]

TO_INPUT, TO_WEIGHTS = ("input", "both", "density"), ("weights", "both")

Loss = Callable[[Tensor, Tensor, list[Tensor], Tensor | None], Tensor]


@attrs.frozen
class Pass:
    """One evaluation of the network, and the clean forwards it makes before.

    Attributes:
        loss: logits, labels, clean and worst logits to a loss per example; None keeps the logits as the clean ones.
        training: the network's mode.
        to_input, to_weights: which gradients are asked for.
        clean: how many clean forwards it makes; None where it reads the logits that are kept.
        constant: whether those are made without a gradient.
        copies: how many times the network sees each example.
        bounded: whether it reads interval bounds, which take two forwards more.
    """

    loss: Loss | None
    training: bool
    to_input: bool = False
    to_weights: bool = False
    clean: int | None = 0
    constant: bool = True
    copies: int = 1
    bounded: bool = False


def passes(plan: Plan) -> tuple[Pass, ...]:
    """The network passes of a plan, in the order they are made."""
    return tuple(made for operation in plan.flat() for made in _of(operation))


def _of(operation: Operation) -> Iterator[Pass]:
    """The passes of one operation."""
    match operation:
        case Clean(mode=mode, smoothed=smoothed):
            yield Pass(None, mode != "eval", copies=_copies(smoothed))
        case Evaluate(wants=wants, loss=loss, mode=mode, clean=clean, smoothed=smoothed, radius=radius):
            yield Pass(
                _bound(loss),
                mode != "eval",
                to_input=wants in TO_INPUT,
                to_weights=wants in TO_WEIGHTS,
                clean=None if clean == "kept" else clean,
                constant=loss.holds_clean,
                copies=_copies(smoothed),
                bounded=radius is not None,
            )


def _copies(smoothed: Smoothed | None) -> int:
    return 1 if smoothed is None else smoothed.draws


def _bound(call: Call) -> Loss:
    """The loss with its numbers, those that change as in the first epoch and step; asked once and not at each pass."""
    own: Callable[..., Tensor] = partial(call.function, **{name: _first(value) for name, value in call.arguments})
    reads_labels, names = "y" in call.asks, call.clean
    if reads_labels and not names and "worst" not in call.asks:
        return lambda logits, y, clean, worst: own(logits=logits, y=y)

    def loss(logits: Tensor, y: Tensor, clean: list[Tensor], worst: Tensor | None) -> Tensor:
        # The last clean forward serves all arguments that are left.
        given: dict[str, Tensor] = {name: clean[min(i, len(clean) - 1)] for i, name in enumerate(names)}
        if reads_labels:
            given["y"] = y
        if worst is not None:
            given["worst"] = worst
        return own(logits=logits, **given)

    return loss


def _first(value: Any) -> Any:
    return value.call.function(1, **dict(value.call.arguments)) if isinstance(value, Scheduled) else value


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
    inputs = {one.copies: torch.cat([x.detach()] * one.copies) for one in made}
    leaves = {copies: still.clone().requires_grad_() for copies, still in inputs.items()}
    labels = {copies: y.repeat(copies) for copies in inputs}
    kept: list[Tensor] = []

    def total(one: Pass, point: Tensor) -> Tensor:
        assert one.loss is not None, "what keeps the clean logits has no loss"
        clean = kept
        if one.clean:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not one.constant):
                clean = [network(inputs[one.copies]) for _ in range(one.clean)]
        worst = network(point) + network(point) if one.bounded else None
        return one.loss(network(point), labels[one.copies], clean, worst).sum()

    def step() -> None:
        training = asking = None
        for one in made:
            # Said once where it changes and not at every pass, of which it is no part.
            if training is not one.training:
                training = one.training
                network.train(training)
            still, leaf = inputs[one.copies], leaves[one.copies]
            if not one.to_input and not one.to_weights:
                with torch.no_grad():
                    if one.loss is None:
                        kept[:] = [network(still)]
                    else:
                        total(one, still)
                continue
            if asking is not one.to_weights:
                asking = one.to_weights
                for p in weights:
                    p.requires_grad_(asking)
            wanted = [*([leaf] if one.to_input else []), *(weights if one.to_weights else [])]
            # A network may have weights that it does not use.
            torch.autograd.grad(total(one, leaf if one.to_input else still), wanted, allow_unused=True)
        kept.clear()
        for p in weights:
            p.requires_grad_(True)

    return step
