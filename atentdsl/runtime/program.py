"""What the loop asks of a generated module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from atentdsl.runtime.placed import Placed
from atentdsl.runtime.streams import Streams
from atentdsl.runtime.weight_average import WeightAverage

__all__ = ["Program", "patience", "weight_average"]


class Program(Protocol):
    """A generated module's face."""

    BATCH: int
    REPEAT: int
    AUGMENT: Sequence[str]
    EPOCHS: int
    ON_DIVERGENCE: str
    EVALUATION_BATCH: int
    PRECISION: str
    SELECT: str

    def make_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The outer optimizer."""

    def settings(self, epoch: int, step: int) -> Mapping[str, float]:
        """What the optimizer's groups run by, the learning rate among it; epoch and step counted from 1."""

    def train_step(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        batches: Iterator[tuple[Tensor, Tensor]],
        rng: Streams,
        state: dict[str, Any],
    ) -> Tensor:
        """One outer step; its signal, on the device."""

    def placed(self, model: nn.Module) -> Placed:
        """The step with its network and optimizer, as it runs on the device that the model is on."""


def weight_average(program: Program, model: nn.Module) -> WeightAverage | None:
    """The average of the network's weights that the module asks for; None where it says nothing of one."""
    make = getattr(program, "weight_average", None)
    return None if make is None else make(model)


def patience(program: Program) -> int | None:
    """For how many epochs the module waits for a better score; None where it says nothing of it."""
    epochs: int | None = getattr(program, "PATIENCE", None)
    return epochs
