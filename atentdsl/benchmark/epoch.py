"""What an epoch takes beyond its steps: batches, the log, progress and checkpoints, as `atentdsl run` makes them.

An epoch of `fit` is interrupted before its steps for the same steps on batches that are ready and another network, so
that whatever slows the machine down slows both. It is timed from its first step until its line is written and shown. A
run writes a snapshot every minute, for at most 1 % of its time, and not one an epoch: an epoch bears the share that
falls to it by that rule of what the last snapshot and the best checkpoint took. It measures its accuracies on one image
and makes no attack: how an epoch is validated is the recipe's to say, and costs what its passes cost.
"""

from __future__ import annotations

import copy
import io
import itertools
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from atentdsl.benchmark.subject import Subject
from atentdsl.benchmark.timing import Clock, clock_of
from atentdsl.runtime.batches import Batches, steps_per_epoch
from atentdsl.runtime.data import Images
from atentdsl.runtime.directory import RunDirectory
from atentdsl.runtime.loop import fit
from atentdsl.runtime.progress import Progress, make_progress
from atentdsl.runtime.snapshot import Saving
from atentdsl.runtime.streams import Streams

__all__ = ["KEYS", "measured_epoch"]

KEYS = (
    "epoch_seconds",
    "steps_seconds",
    "overhead_share",
    "steps",
    "device",
    "precision",
    "threads",
    "rounds",
    "tolerance",
)
# Steps between two readings of the clock: a GPU, which is waited for then, works on while the loop prepares the next.
BLOCK = {"cpu": 1, "cuda": 16}


def measured_epoch(
    subject: Subject, steps: int | None, rounds: int, clock: Clock | None = None, warm_up: int = 1
) -> dict[str, Any]:
    """What an epoch and its steps take: the keys in `KEYS`.

    Seconds are medians over the rounds; `overhead_share` is the part of the epoch that is not its steps, below zero
    where that is less than the machine's noise.

    Args:
        subject: what is measured.
        steps: an epoch's outer steps; all that the recipe makes where it makes fewer, or None is given.
        rounds: how many epochs are timed.
        clock: in seconds; the device's where not given.
        warm_up: epochs before them that do not count.
    """
    clock = clock or clock_of(subject.device)
    module = subject.module
    every = steps_per_epoch(len(subject.images), module.BATCH) * module.REPEAT
    count = every if steps is None else min(steps, every)
    with tempfile.TemporaryDirectory(prefix="atentdsl-bench-") as folder:
        found = [_epoch(subject, count, Path(folder), clock) for _ in range(warm_up + rounds)][warm_up:]
    epoch, alone = (statistics.median(seconds) for seconds in zip(*found, strict=True))
    return {
        "epoch_seconds": epoch,
        "steps_seconds": alone,
        "overhead_share": 1 - alone / epoch,
        "steps": count,
        "device": str(subject.device),
        "precision": subject.precision,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "tolerance": subject.recipe.compile.tolerance,
    }


def _epoch(subject: Subject, steps: int, folder: Path, clock: Clock) -> tuple[float, float]:
    """The seconds of an epoch of so many steps as a run makes it, and those of its steps alone."""
    one = Images(subject.images.x[:1], subject.images.y[:1], subject.images.classes)
    directory = RunDirectory.create(folder, subject.recipe.name)
    # On a terminal it is shown as a run shows it.
    stream = None if sys.stderr.isatty() else io.StringIO()
    alone = _Alone(subject, steps, clock)
    try:
        with make_progress(steps, stream) as progress:
            shown = _Shown(progress, clock)
            fit(
                subject.module,
                copy.deepcopy(subject.network),
                subject.images,
                one,
                watch=(),
                seed=subject.seed,
                directory=directory,
                progress=shown,
                max_steps=steps,
                saving=Saving(minutes=math.inf),
                asked=alone.go_on,
            )
            saved = clock() - shown.at
    finally:
        directory.release()
    seconds = shown.at - alone.begun - alone.seconds
    return seconds * (1 + _share_of_snapshots(saved)), alone.seconds


def _share_of_snapshots(seconds: float) -> float:
    """The part of its time that a run spends on snapshots which take so long.

    >>> _share_of_snapshots(0.06), round(_share_of_snapshots(60.0), 6)
    (0.001, 0.010101)
    """
    return seconds / max(60 * Saving().minutes, seconds * (1 / Saving.SHARE - 1))


class _Shown(Progress):
    """Progress that notes when the epoch's line is shown: what comes after it is no part of the epoch."""

    def __init__(self, shown: Progress, clock: Clock) -> None:
        self._shown_by, self._clock, self.at = shown, clock, math.nan

    def due(self) -> bool:
        return self._shown_by.due()

    def step(self, step: int, loss: float | None = None, images_per_second: float | None = None) -> None:
        self._shown_by.step(step, loss, images_per_second)

    def epoch(self, epoch: int, epochs: int, record: Mapping[str, Any]) -> None:
        self._shown_by.epoch(epoch, epochs, record)
        self.at = self._clock()

    def message(self, text: str) -> None:
        self._shown_by.message(text)


class _Alone:
    """An epoch's steps on batches that are ready, made while the epoch waits.

    Attributes:
        begun: when the first of them began.
        seconds: what they took together.
    """

    def __init__(self, subject: Subject, steps: int, clock: Clock) -> None:
        module = subject.module
        self._subject, self._clock = subject, clock
        self._placed = module.placed(copy.deepcopy(subject.network))
        stream = Batches(subject.images, module.BATCH, seed=subject.seed, augment=module.AUGMENT, repeat=module.REPEAT)
        self._ready = iter(list(itertools.islice(stream, steps * subject.batches_taken())))
        self._state: dict[str, Any] = {}
        self._steps, self._made, self._asked = steps, 0, 0
        self.begun, self.seconds = 0.0, 0.0

    def go_on(self) -> bool:
        """What `fit` asks before each of its steps, whether to stop: never."""
        self._asked += 1
        until = min(self._asked + BLOCK[self._subject.device.type] - 1, self._steps)
        if self._asked <= self._made or self._made == self._steps:
            return False
        begin = self._clock()
        self.begun = self.begun or begin
        while self._made < until:
            self._made += 1
            rng = Streams(self._subject.seed, self._made, self._subject.device)
            self._placed.step(self._ready, rng, self._state)
        self.seconds += self._clock() - begin
        return False
