"""The compiled step as training runs it: through the network in its precision and layout, with its optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

from torch import Tensor, nn
from torch.optim import Optimizer

from atentdsl.runtime.precision import prepared
from atentdsl.runtime.streams import Streams

__all__ = ["Placed", "placed"]

Batches = Iterator[tuple[Tensor, Tensor]]


class Placed(Protocol):
    """A module's step on a network.

    Attributes:
        network: what its passes go through.
        optimizer: of the network's weights.
    """

    network: nn.Module
    optimizer: Optimizer

    def step(self, batches: Batches, rng: Streams, state: dict[str, Any]) -> Tensor:
        """One outer step; its signal, on the device."""


class _AsWritten:
    """The step of a module that places nothing itself."""

    def __init__(self, module: Any, model: nn.Module) -> None:
        self.network = prepared(model, module.PRECISION)
        self.optimizer: Optimizer = module.make_optimizer([p for p in model.parameters() if p.requires_grad])
        self._module = module

    def step(self, batches: Batches, rng: Streams, state: dict[str, Any]) -> Tensor:
        signal: Tensor = self._module.train_step(self.network, self.optimizer, batches, rng, state)
        return signal


def placed(module: Any, model: nn.Module) -> Placed:
    """The generated module's step on this network, whose weights it moves."""
    own = getattr(module, "placed", None)
    return _AsWritten(module, model) if own is None else cast("Placed", own(model))
