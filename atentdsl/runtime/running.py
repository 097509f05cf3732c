"""A run between two steps: everything that the next step, and every line and file after it, depends on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from atentdsl.runtime import fused
from atentdsl.runtime.batches import Batches, batches, steps_per_epoch
from atentdsl.runtime.data import Images
from atentdsl.runtime.program import Program, weight_average
from atentdsl.runtime.streams import Streams, key
from atentdsl.runtime.tree import mapped

__all__ = ["Best", "NotFiniteState", "Running"]


class NotFiniteState(Exception):
    """The signal or something of the network is not finite; `step` is the outer step after which it was seen."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(what, step)
        self.what, self.step = what, step


@attrs.frozen(eq=False)
class Best:
    """The weights that are kept so far.

    Attributes:
        epoch: when they were reached.
        score: the validation accuracy they were chosen by; the epoch where the last are kept.
        weights: the network's state, on the CPU.
        averaged: whether they are an average of those that it was trained to.
    """

    epoch: int
    score: float
    weights: dict[str, Tensor] = attrs.field(repr=False)
    averaged: bool = False


class Running:
    """A run's state, and how one step changes it.

    Attributes:
        step: outer steps made.
        epoch: the one that is being trained; those before it have their lines.
        loss_sum: of the epoch's signals, on the device.
        seconds: that the epoch took in processes before this one.
        rollbacks: how often it went back; each halves the learning rate.
        average: of the weights, measured and kept in their place once it is there; None where there is none.
        best: the weights kept so far.
        lines: what metrics.jsonl holds.
    """

    def __init__(self, program: Program, model: nn.Module, training: Images, seed: int) -> None:
        self.program, self.model, self.training, self.seed = program, model, training, seed
        self.placed = program.placed(model)
        self.placed.settle(training.take(slice(2))[0])
        self.optimizer = self.placed.optimizer
        self.state: dict[str, Any] = {}
        self.batches = self._batches(0)
        self.step, self.epoch, self.rollbacks, self.seconds = 0, 1, 0, 0.0
        self.loss_sum = torch.zeros((), device=training.device)
        self.average = weight_average(program, model)
        self.best: Best | None = None
        self.lines: list[dict[str, Any]] = []
        # A mask of minus infinities, say: what such a buffer holds is no sign of divergence.
        self._never_finite = set(_not_finite(dict(model.named_buffers())))
        self.per_epoch = steps_per_epoch(len(training), program.BATCH) * program.REPEAT

    @property
    def first(self) -> int:
        """How many steps had been made when the epoch began."""
        return (self.epoch - 1) * self.per_epoch

    @property
    def settings(self) -> dict[str, float]:
        """What the optimizer runs by at this step, the learning rate among it."""
        settings = dict(self.program.settings(self.epoch, self.step))
        if self.rollbacks:
            settings["lr"] *= 0.5**self.rollbacks
        return settings

    def advance(self) -> Tensor:
        """Makes one outer step; its signal, on the device."""
        self.step += 1
        fused.put(self.optimizer, self.settings)
        device = self.training.device
        _seed_dropout(self.seed, self.step, device)
        rng = Streams(self.seed, self.step, device, self.epoch)
        signal = self.placed.step(self.batches, rng, self.state)
        self.loss_sum += signal
        if self.average is not None:
            self.average.after_step(self.epoch, last=self.step == self.epoch * self.per_epoch)
        return signal

    @property
    def averaged(self) -> bool:
        """Whether an average of the weights is there, to be measured in their place."""
        return self.average is not None and self.average.count > 0

    @contextmanager
    def measured(self, between: Callable[[], None]) -> Iterator[None]:
        """Within the block the network has the weights that are measured and kept.

        Args:
            between: called before each batch that running statistics are estimated from; may raise, to stop it there.
        """
        if self.average is None:
            yield
            return

        def inputs() -> Iterator[Tensor]:
            """The epoch's batches, as a step that takes one a turn meets them."""
            _seed_dropout(self.seed, self.step, self.training.device)
            epoch = batches(
                self.training,
                self.program.BATCH,
                seed=self.seed,
                epoch=self.epoch,
                first_step=self.first + 1,
                augment=self.program.AUGMENT,
            )
            for x, _ in epoch:
                between()
                yield x

        with self.average.in_place(inputs):
            yield

    def next_epoch(self) -> None:
        """Begins the next epoch."""
        self.epoch += 1
        self.seconds = 0.0
        self.loss_sum = torch.zeros_like(self.loss_sum)

    def mean_loss(self) -> float:
        """The mean signal of the epoch's steps so far; makes a GPU wait.

        Raises:
            NotFiniteState: it is not finite.
        """
        loss = float(self.loss_sum) / max(1, self.step - self.first)
        if not math.isfinite(loss):
            raise NotFiniteState("the signal", self.step)
        return loss

    def check_finite(self) -> None:
        """Looks at the signals' sum and at every number of the network; makes a GPU wait once.

        Raises:
            NotFiniteState: something is not finite; says what.
        """
        self.mean_loss()
        averages = {} if self.average is None else self.average.tensors
        named = {**dict(self._tensors()), **{f"averaged {name}": t for name, t in averages.items()}}
        wrong = [name for name in _not_finite(named) if name not in self._never_finite]
        if wrong:
            raise NotFiniteState(f"the network's {wrong[0]}", self.step)

    def content(self, seconds: float = 0.0) -> dict[str, Any]:
        """All of it as nested data, for a snapshot; `seconds` are the epoch's in this process."""
        best = self.best and {name: getattr(self.best, name) for name in ("epoch", "score", "weights", "averaged")}
        return {
            "step": self.step,
            "epoch": self.epoch,
            "rollbacks": self.rollbacks,
            "taken": self.batches.taken,
            "seconds": self.seconds + seconds,
            "loss_sum": self.loss_sum,
            "model": dict(self._tensors()),
            "optimizer": fused.stored(self.optimizer),
            "state": self.state,
            "average": self.average and self.average.content(),
            "best": best,
            "lines": self.lines,
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Becomes what `content` was taken from, in place: the network keeps its tensors.

        Raises:
            KeyError, ValueError, RuntimeError: the content does not fit the network; nothing has changed then.
        """
        own = dict(self._tensors())
        given = content["model"]
        if {n: (t.shape, t.dtype) for n, t in own.items()} != {n: (t.shape, t.dtype) for n, t in given.items()}:
            raise ValueError("it holds other weights than the network has")
        if self.average is not None and not self.average.fits(content["average"]):
            raise ValueError("it holds the average of other weights than the network has")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(given[name])
        if self.average is not None:
            self.average.restore(content["average"])
        device = self.training.device
        fused.load(self.optimizer, content["optimizer"])
        self.placed.forget()
        self.state.clear()
        self.state.update(mapped(content["state"], lambda t: t.to(device)))
        self.step, self.epoch, self.rollbacks = content["step"], content["epoch"], content["rollbacks"]
        self.batches = self._batches(content["taken"])
        self.seconds = content["seconds"]
        self.loss_sum = content["loss_sum"].to(device)
        best = content["best"]
        self.best = best and Best(**best)
        self.lines = list(content["lines"])

    def trial(self, batch: int) -> None:
        """One step with that many examples, whose effects nobody may use: does it fit into memory?"""
        self.optimizer.zero_grad(set_to_none=True)
        stream = Batches(self.training, batch, seed=self.seed, augment=self.program.AUGMENT)
        rng = Streams(self.seed, self.step, self.training.device, self.epoch)
        float(self.placed.trial(stream, rng))

    def _batches(self, taken: int) -> Batches:
        return Batches(
            self.training,
            self.program.BATCH,
            seed=self.seed,
            augment=self.program.AUGMENT,
            repeat=self.program.REPEAT,
            taken=taken,
        )

    def _tensors(self) -> list[tuple[str, Tensor]]:
        """Every parameter and buffer, those included that `state_dict` leaves out, one that is shared once."""
        return [*self.model.named_parameters(), *self.model.named_buffers()]


def _not_finite(named: Mapping[str, Tensor]) -> list[str]:
    """The names of those that hold a number which is not finite; makes a GPU wait once."""
    named = {name: t for name, t in named.items() if t.is_floating_point() and t.numel()}
    if not named:
        return []
    with torch.no_grad():
        # The norm adds up without a copy of the whole tensor.
        lengths = [torch.linalg.vector_norm(t, 1, dtype=torch.float64) for t in named.values()]
        finite = torch.stack(lengths).isfinite().tolist()
    return [name for name, fine in zip(named, finite, strict=True) if not fine]


def _seed_dropout(seed: int, step: int, device: torch.device) -> None:
    """Dropout reads the global generator: keyed by the step, so that a step's number is all it depends on."""
    number = key(seed, step, "dropout")
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
