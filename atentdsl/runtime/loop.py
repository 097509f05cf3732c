"""The training loop: epochs of a generated module's steps, watched on held-out images, the best checkpoint kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import torch
from torch import nn

from atentdsl.runtime import checkpoint, divergence, memory, snapshot
from atentdsl.runtime.accuracy import Accuracy, Withstands, accuracy
from atentdsl.runtime.data import Images
from atentdsl.runtime.directory import BEST, RunDirectory
from atentdsl.runtime.errors import CannotResume, Diverged, Interrupted, MemoryExhausted, NotFinite, WeightsRefused
from atentdsl.runtime.interruption import Asked
from atentdsl.runtime.policy import Policy
from atentdsl.runtime.program import Program, patience
from atentdsl.runtime.progress import Progress
from atentdsl.runtime.running import Best, NotFiniteState, Running
from atentdsl.runtime.snapshot import Saving
from atentdsl.runtime.streams import key

__all__ = ["ROLLBACKS", "Kept", "fit"]

ROLLBACKS = 3
Ended = Literal["epochs", "steps", "patience"]


@attrs.frozen
class Kept:
    """The checkpoint that training keeps.

    Attributes:
        path: its file.
        epoch: when it was reached.
        score: the validation accuracy it was chosen by; the epoch where the last one is kept.
        averaged: whether its weights are an average of those that the network was trained to.
        step: how many outer steps training made.
        epochs: how many epochs it made, the last of them whole or not.
        ended: why it ended: all its `epochs` were made, as many `steps` as were asked for, or its `patience` was out.
    """

    path: Path
    epoch: int
    score: float
    averaged: bool
    step: int
    epochs: int
    ended: Ended


class _Stopped(Exception):
    """The run was asked to stop while its network was being measured."""


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
    saving: Saving | None = None,
    identity: Mapping[str, str] | None = None,
    content: Mapping[str, Any] | None = None,
    asked: Asked = lambda: False,
    placed_as: Callable[[Policy], None] = lambda policy: None,
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
        saving: when to write a snapshot; one is written at the beginning and at the end in any case.
        identity: texts that whoever goes on from a snapshot has to share.
        content: a snapshot's, to go on from.
        asked: whether to stop at the next step.
        placed_as: told what the steps run by, before the first and whenever something of it is given up.

    Raises:
        Diverged: the signal or a weight is not finite; the last good checkpoint and the batch are named.
        Interrupted: it was asked to stop; a snapshot is written.
        MemoryExhausted: names a batch size that fits.
        CannotResume: the snapshot holds another network's weights.
        StorageFailed: a file cannot be written.
    """
    running = Running(program, model, training, seed)
    shared = dict(identity or {})
    run = _Fit(running, validation, watch, directory, progress, saving or Saving(), shared, asked, placed_as)
    run.tell()
    placed_as(running.placed.policy)
    run.last = min(program.EPOCHS * running.per_epoch, max_steps or math.inf)
    devices = [training.device] if training.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        if content is not None:
            try:
                running.restore(content)
            except (KeyError, ValueError, RuntimeError) as error:
                raise CannotResume(directory.path, f"its snapshot does not fit the network: {error}") from error
            directory.rewrite_metrics(running.lines)
        else:
            try:
                run.save()
            except NotFiniteState as found:
                raise WeightsRefused(None, f"{found.what} is not finite before the first step") from found
        while True:
            try:
                return run.through()
            except NotFiniteState as found:
                run.go_back_or_give_up(found)


@attrs.define
class _Fit:
    """What `fit` was given, and where it stands."""

    running: Running
    validation: Images
    watch: Sequence[Withstands]
    directory: RunDirectory
    progress: Progress
    saving: Saving
    identity: dict[str, str]
    asked: Asked
    placed_as: Callable[[Policy], None]
    last: float = math.inf
    begin: float = attrs.field(factory=time.monotonic)
    published: int | None = None

    @property
    def rolls_back(self) -> bool:
        return self.running.program.ON_DIVERGENCE == "rollback"

    def through(self) -> Kept:
        """Every epoch that is left."""
        running = self.running
        while self.ended is None:
            if self.rolls_back and running.step == running.first:
                self.save()  # where an epoch that diverges goes back to
            self.begin = time.monotonic()
            self.steps()
            self.close_epoch()
        self.save()
        assert running.best is not None, "an epoch has at least one step"
        best, made, ended = running.best, running.lines[-1], self.ended
        if ended == "patience" and made["epoch"] < running.program.EPOCHS:
            score = f"{running.program.SELECT} accuracy on held-out images was last bettered in epoch {best.epoch}"
            self.progress.message(f"training ends after epoch {made['epoch']} of {running.program.EPOCHS}: {score}")
        path = self.directory.checkpoint(BEST)
        return Kept(path, best.epoch, best.score, best.averaged, running.step, made["epoch"], ended)

    @property
    def ended(self) -> Ended | None:
        """Why training is over after the last epoch that has a line; None while it is not."""
        running = self.running
        made = running.lines[-1] if running.lines else {"epoch": 0, "step": 0}
        if made["epoch"] >= running.program.EPOCHS:
            return "epochs"
        if running.lines and made["step"] >= self.last:
            return "steps"
        waits = patience(running.program)
        waited = made["epoch"] - (running.best.epoch if running.best is not None else 0)
        return "patience" if waits is not None and waited >= waits else None

    def steps(self) -> None:
        """The epoch's steps that are left."""
        running, program = self.running, self.running.program
        until = min(running.epoch * running.per_epoch, self.last)
        here = running.step
        while running.step < until:
            if self.asked():
                self.stop()
            exhausted = False
            try:
                running.advance()
            except (MemoryError, RuntimeError) as error:
                if not memory.is_exhausted(error):
                    raise
                exhausted = True
            if exhausted:  # looked into here, where the error's frames no longer hold what they had
                fits = memory.fitting(running.trial, program.BATCH)
                raise MemoryExhausted("training", program.BATCH, fits, "data.batch")
            self.tell()
            step = running.step
            if step == here + 1 or self.progress.due():
                speed = (step - here) * program.BATCH / (time.monotonic() - self.begin)
                self.progress.step(step, running.mean_loss(), speed)
            else:
                self.progress.step(step)  # counted, and not shown: the time left is estimated from it
            if self.saving.due(step):
                self.save()

    def tell(self) -> None:
        """Says what of the policy was given up since it was last asked."""
        news = self.running.placed.news()
        for text in news:
            self.progress.message(text)
        if news:
            self.placed_as(self.running.placed.policy)

    def close_epoch(self) -> None:
        """Measures the network on held-out images, and writes the epoch's line."""
        running, program = self.running, self.running.program
        seconds = running.seconds + time.monotonic() - self.begin
        loss = running.mean_loss()
        running.check_finite()
        try:
            with running.measured(self.heed):
                on_training = self.measured(_spread(running.training, len(self.validation)), "training")
                on_validation = self.measured(self.validation, "validation")
                self.keep_best(on_validation)
        except NotFinite as error:
            raise NotFiniteState(str(error), running.step) from error
        except _Stopped:
            self.stop()
            raise AssertionError("unreachable: it has stopped") from None
        size = min(program.BATCH, len(running.training))
        speed = (running.step - running.first) * size / max(seconds, 1e-9)
        line = {
            "epoch": running.epoch,
            "step": running.step,
            "learning_rate": running.settings["lr"],
            "loss": loss,
            "training": _record(on_training),
            "validation": _record(on_validation),
            **({"weights": "averaged" if running.averaged else "trained"} if running.average is not None else {}),
            **({"rollbacks": running.rollbacks} if running.rollbacks else {}),
            "seconds": round(seconds, 3),
            "images_per_second": round(speed, 1),
        }
        self.directory.append_metrics(line)
        if running.averaged and all(earlier["weights"] == "trained" for earlier in running.lines):
            self.progress.message(f"from epoch {running.epoch} on the average of the weights is measured and kept")
        shown = {"loss": loss, "clean": on_validation.clean, "images_per_second": speed}
        shown["robust"] = next(iter(on_validation.robust), None)  # type: ignore[assignment]
        self.progress.epoch(running.epoch, program.EPOCHS, shown)
        running.lines.append(line)
        running.next_epoch()
        self.begin = time.monotonic()

    def measured(self, images: Images, part: str) -> Accuracy:
        """Clean and robust accuracy on one part of the images."""
        running = self.running
        size = running.program.EVALUATION_BATCH
        return accuracy(running.model, images, self.watch, key(running.seed, "watch", part), size, self.heed)

    def heed(self) -> None:
        """Breaks a measurement off where the run is asked to stop."""
        if self.asked():
            raise _Stopped

    def keep_best(self, measured: Accuracy) -> None:
        """These weights are the best if they are better than all before."""
        running = self.running
        scores = {
            "robust": (*measured.robust, measured.clean)[0],
            "clean": measured.clean,
            "last": float(running.epoch),
        }
        score = scores[running.program.SELECT]
        if running.best is None or score > running.best.score:
            weights = checkpoint.tensors_of(running.model)
            running.best = Best(running.epoch, score, weights, running.averaged)

    def save(self) -> Path:
        """A snapshot of what is, if it is finite, and after it the best weights in a file of their own."""
        running = self.running
        running.check_finite()
        self.directory.require()
        begin = time.monotonic()
        # An epoch that diverges goes back to its own begin; the one before it is there if that file is damaged.
        kept = [running.first, running.first - running.per_epoch] if self.rolls_back else []
        content = running.content(begin - self.begin)
        path = snapshot.write(self.directory.checkpoints, running.step, content, self.identity, kept)
        if running.best is not None and running.best.epoch != self.published:
            best = running.best
            texts = {"epoch": str(best.epoch), "score": repr(best.score), "select": running.program.SELECT}
            texts |= {"weights": "averaged"} if best.averaged else {}
            checkpoint.write(self.directory.checkpoint(BEST), best.weights, texts)
            self.published = best.epoch
        self.saving.wrote(time.monotonic() - begin)
        return path

    def stop(self) -> None:
        """Writes a snapshot and ends the run."""
        self.save()
        raise Interrupted(self.directory.path, self.running.step)

    def go_back_or_give_up(self, found: NotFiniteState) -> None:
        """Back to where the epoch began, with half the learning rate; or else the batch is looked for and kept."""
        running = self.running
        if self.rolls_back and running.rollbacks < ROLLBACKS:
            again = running.rollbacks + 1
            epoch = running.epoch
            folder = self.directory.checkpoints
            running.restore(snapshot.read(folder / f"step-{running.first:08}.safetensors", self.identity, True))
            running.rollbacks = again
            self.published = None
            self.save()
            snapshot.remove_later(folder, running.step)
            self.directory.rewrite_metrics(running.lines)
            self.progress.message(
                f"{found.what} is not finite in epoch {epoch}, at step {found.step} at the latest: back to step "
                f"{running.step}, with the learning rate halved ({again} of {ROLLBACKS} times)"
            )
            return
        self.give_up(found)

    def give_up(self, found: NotFiniteState) -> None:
        """Names the step that it was, its batch and the last good checkpoint."""
        running, folder = self.running, self.directory.checkpoints
        epoch = running.epoch
        good = snapshot.newest(folder, skip_damaged=True)
        cause = None
        if good is not None:
            self.progress.message(f"{found.what} is not finite: looking for the step that did it, from {good.name} on")
            cause = divergence.cause(running, snapshot.read(good), found.step)
        if cause is None:
            raise Diverged(epoch, found.step, good)
        batch = divergence.keep_batch(cause, self.directory.path)
        running.restore(cause.before)
        raise Diverged(cause.epoch, cause.step, self.save(), batch)


def _spread(images: Images, count: int) -> Images:
    """As many images, evenly spread over the whole: the training accuracy is measured on these, every epoch."""
    index = torch.linspace(0, len(images) - 1, min(count, len(images))).round().long().to(images.device)
    return Images(images.x[index], images.y[index], images.classes)


def _record(measured: Accuracy) -> dict[str, Any]:
    robust = {"robust_accuracy": measured.robust[0]} if measured.robust else {}
    return {"n": measured.n, "clean_accuracy": measured.clean, **robust}
