"""The training loop: epochs of a generated module's steps, watched on held-out images, the best checkpoint kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from atentdsl.runtime import checkpoint
from atentdsl.runtime.accuracy import Accuracy, Withstands, accuracy
from atentdsl.runtime.data import Images, endless_batches, steps_per_epoch
from atentdsl.runtime.directory import RunDirectory
from atentdsl.runtime.errors import Diverged, NotFinite
from atentdsl.runtime.precision import prepared
from atentdsl.runtime.progress import Progress
from atentdsl.runtime.streams import Streams, key

BEST = "best.safetensors"


class Program(Protocol):
    """What the loop asks of a generated module."""

    BATCH: int
    REPEAT: int
    AUGMENT: Sequence[str]
    EPOCHS: int
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


@attrs.frozen
class Kept:
    """The checkpoint that training keeps.

    Attributes:
        path: its file.
        epoch: when it was written.
        score: the validation accuracy it was chosen by; the epoch where the last one is kept.
    """

    path: Path
    epoch: int
    score: float


def fit(
    program: Program,
    model: nn.Module,
    training: Images,
    validation: Images,
    *,
    watch: Sequence[Withstands],
    seed: int,
    directory: RunDirectory,
    progress: Progress,
    max_steps: int | None = None,
) -> Kept:
    """Trains the model, in place, and keeps the best checkpoint by validation accuracy.

    Args:
        program: the generated module.
        model: on the images' device.
        training, validation: disjoint images.
        watch: at most one attack, itself a compiled sampler, for the robust accuracies of each epoch.
        seed: of data order, augmentation, draws and dropout.
        directory: takes metrics and checkpoints.
        progress: told of each epoch, and of steps when it is due.
        max_steps: stops after that many outer steps.

    Raises:
        Diverged: the signal or a weight is not finite; the last good checkpoint is named.
    """
    per_epoch = steps_per_epoch(len(training), program.BATCH) * program.REPEAT
    last = min(program.EPOCHS * per_epoch, max_steps or math.inf)
    network = prepared(model, program.PRECISION)
    optimizer = program.make_optimizer([p for p in model.parameters() if p.requires_grad])
    state: dict[str, Any] = {}
    stream = endless_batches(training, program.BATCH, seed=seed, augment=program.AUGMENT, repeat=program.REPEAT)
    watched = _spread(training, len(validation))
    kept: Kept | None = None
    step = 0
    devices = [training.device] if training.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        for epoch in range(1, program.EPOCHS + 1):
            total, begin, first = torch.zeros((), device=training.device), time.monotonic(), step
            while step < min(epoch * per_epoch, last):
                step += 1
                settings = program.settings(epoch, step)
                for group in optimizer.param_groups:
                    group.update(settings)
                _seed_dropout(seed, step, training.device)
                rng = Streams(seed, step, training.device, epoch)
                total += program.train_step(network, optimizer, stream, rng, state)
                if step == 1 or progress.due():
                    loss = _finite(float(total) / (step - first), epoch, step, kept)
                    speed = (step - first) * program.BATCH / (time.monotonic() - begin)
                    progress.step(step, loss, speed)
                else:
                    progress.step(step)  # counted, and not shown: the time left is estimated from it
            seconds = time.monotonic() - begin
            loss = _finite(float(total) / (step - first), epoch, step, kept)
            _finite(_magnitude(model), epoch, step, kept)
            try:
                on_training = accuracy(model, watched, watch, key(seed, "watch", "training"))
                on_validation = accuracy(model, validation, watch, key(seed, "watch", "validation"))
            except NotFinite as error:
                raise Diverged(epoch, step, kept.path if kept else None) from error
            speed = (step - first) * min(program.BATCH, len(training)) / seconds
            record = {
                "epoch": epoch,
                "step": step,
                "learning_rate": optimizer.param_groups[0]["lr"],
                "loss": loss,
                "training": _record(on_training),
                "validation": _record(on_validation),
                "seconds": round(seconds, 3),
                "images_per_second": round(speed, 1),
            }
            kept = _keep(program.SELECT, model, on_validation, epoch, directory, kept)
            directory.append_metrics(record)
            shown = {"loss": loss, "clean": on_validation.clean, "images_per_second": speed}
            progress.epoch(epoch, program.EPOCHS, shown | {"robust": next(iter(on_validation.robust), None)})
            if step >= last:
                break
    assert kept is not None, "an epoch has at least one step"
    return kept


def _spread(images: Images, count: int) -> Images:
    """As many images, evenly spread over the whole: the training accuracy is measured on these, every epoch."""
    index = torch.linspace(0, len(images) - 1, min(count, len(images))).round().long().to(images.device)
    return Images(images.x[index], images.y[index], images.classes)


def _seed_dropout(seed: int, step: int, device: torch.device) -> None:
    """Dropout reads the global generator: keyed by the step, so that a step's number is all it depends on."""
    number = key(seed, step, "dropout")
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def _magnitude(model: nn.Module) -> float:
    """The sum of the weights' magnitudes: finite if every weight is, and asked for once an epoch."""
    with torch.no_grad():
        return float(torch.stack([p.abs().double().sum() for p in model.parameters()]).sum())


def _finite(value: float, epoch: int, step: int, kept: Kept | None) -> float:
    if not math.isfinite(value):
        raise Diverged(epoch, step, kept.path if kept else None)
    return value


def _record(measured: Accuracy) -> dict[str, Any]:
    robust = {"robust_accuracy": measured.robust[0]} if measured.robust else {}
    return {"n": measured.n, "clean_accuracy": measured.clean, **robust}


def _keep(
    select: str, model: nn.Module, measured: Accuracy, epoch: int, directory: RunDirectory, kept: Kept | None
) -> Kept:
    """The checkpoint to keep now: this one if it is better than every one before, else the earlier."""
    score = {"robust": (*measured.robust, measured.clean)[0], "clean": measured.clean, "last": float(epoch)}[select]
    if kept is not None and score <= kept.score:
        return kept
    path = directory.checkpoint(BEST)
    checkpoint.save(model, path, {"epoch": str(epoch), "score": repr(score), "select": select})
    return Kept(path, epoch, score)
