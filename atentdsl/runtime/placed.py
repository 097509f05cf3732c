"""A generated step where it runs fastest, or as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
from torch import Tensor, nn
from torch.optim import Optimizer

from atentdsl.runtime import allocator, fused
from atentdsl.runtime.graph import Graphed
from atentdsl.runtime.policy import AS_WRITTEN, Policy, policy_of
from atentdsl.runtime.precision import Prepared, prepared
from atentdsl.runtime.streams import Streams
from atentdsl.runtime.subnormals import flushed

__all__ = ["Placed", "as_written", "place"]

Batches = Iterator[tuple[Tensor, Tensor]]
MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]


class Placed:
    """A step with its network and optimizer, and how it runs.

    Attributes:
        network: what the step is called with; its weights are the model's own.
        optimizer: the outer optimizer.

    Args:
        train_step: a generated module's.
        network, optimizer: as above.
        policy: what the two were made by.
    """

    def __init__(
        self, train_step: Callable[..., Tensor], network: nn.Module, optimizer: Optimizer, policy: Policy
    ) -> None:
        self.network, self.optimizer = network, optimizer
        self._train_step, self._policy, self._said = train_step, policy, policy
        self._graphed: Graphed | None = None
        if policy.graph:
            self._graphed = Graphed(self._once, optimizer, next(network.parameters()).device)

    @property
    def policy(self) -> Policy:
        """What the step runs by; less than was chosen where it turned out that the step cannot do it."""
        policy = self._policy
        if isinstance(self.network, Prepared):
            policy = attrs.evolve(policy, channels_last=self.network.channels_last)
        if self._graphed is not None:
            policy = attrs.evolve(policy, graph=self._graphed.refused is None)
        return policy

    def settle(self, x: Tensor) -> None:
        """Finds out, on two images of x `(batch, *input)`, what of the policy the network cannot do; changes no bit."""
        if isinstance(self.network, Prepared):
            self.network.settle(x)

    def step(self, batches: Batches, rng: Streams, state: dict[str, Any]) -> Tensor:
        """One outer step; its signal, on the device."""
        with flushed(self._policy.flush_subnormals):
            return self._once(batches, rng, state) if self._graphed is None else self._graphed.step(batches, rng, state)

    def trial(self, batches: Batches, rng: Streams) -> Tensor:
        """One step whose effects nobody may use, and which leaves no graph behind."""
        self.forget()
        with flushed(self._policy.flush_subnormals):
            return self._once(batches, rng, {})

    def forget(self) -> None:
        """To be called when the optimizer's state was loaded: it is in other memory than a captured step reads."""
        if self._graphed is not None:
            self._graphed.forget()

    def news(self) -> list[str]:
        """What of the policy was given up since this was last asked, and why."""
        before, now = self._said, self.policy
        self._said = now
        found = []
        if before.channels_last and not now.channels_last:
            assert isinstance(self.network, Prepared), "images were to be put into that order"
            reason = str(self.network.refused).splitlines()[0]
            found.append(f"channels-last is given up: the network fails in that order of memory ({reason})")
        if before.graph and not now.graph:
            assert self._graphed is not None, "it was to be captured"
            found.append(f"the step is not captured as a graph: {self._graphed.refused}")
        return found

    def _once(self, batches: Batches, rng: Streams, state: dict[str, Any]) -> Tensor:
        return self._train_step(self.network, self.optimizer, batches, rng, state)


def place(train_step: Callable[..., Tensor], make_optimizer: MakeOptimizer, model: nn.Module, precision: str) -> Placed:
    """The step where it runs fastest on the device that the model is on: `atentdsl.runtime.policy` says how.

    Args:
        train_step, make_optimizer: a generated module's.
        model: maps `(batch, *input)` to logits `(batch, classes)`; its weights may be put into another memory format.
        precision: `auto`, `float32` or `bfloat16`.

    Raises:
        ValueError: there is no such precision.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> placed = place(lambda *given: None, lambda weights: torch.optim.SGD(weights, lr=0.1), model, "float32")
    >>> placed.policy.line.startswith("float32, subnormals flushed")
    True
    """
    policy = policy_of(model, precision)
    if policy.keep_freed:
        allocator.keep()
    network, optimizer = prepared(model, policy), make_optimizer(_asking(model))
    if policy.fused:
        policy = attrs.evolve(policy, fused=fused.fuse(optimizer, rate_on_device=policy.graph))
    return Placed(train_step, network, optimizer, policy)


def as_written(train_step: Callable[..., Tensor], make_optimizer: MakeOptimizer, model: nn.Module) -> Placed:
    """The step as its text says, with nothing chosen: float32, the network itself, each step on its own.

    >>> import torch
    >>> model = nn.Linear(4, 2)
    >>> placed = as_written(lambda *given: None, lambda weights: torch.optim.SGD(weights, lr=0.1), model)
    >>> placed.network is model, placed.policy.line
    (True, 'float32')
    """
    return Placed(train_step, model, make_optimizer(_asking(model)), AS_WRITTEN)


def _asking(model: nn.Module) -> list[Tensor]:
    return [p for p in model.parameters() if p.requires_grad]
