"""What a run can fail with for reasons outside the code: data, device, checkpoint, divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atentdsl.runtime.evaluation_errors import (
    CertificationInterrupted,
    EvaluationInterrupted,
    ExtraMissing,
    NotCertifiable,
    NotComparable,
    NotFinite,
    SweepInterrupted,
    UnsuitedAttack,
    placed_among,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ArchitectureUnfit",
    "BoundsUnknown",
    "CannotExport",
    "CannotReport",
    "CannotResume",
    "CertificationInterrupted",
    "CheckpointBroken",
    "DataMissing",
    "DeviceUnavailable",
    "Diverged",
    "EvaluationInterrupted",
    "ExtraMissing",
    "Interrupted",
    "MemoryExhausted",
    "NotARunDirectory",
    "NotCertifiable",
    "NotComparable",
    "NotFinite",
    "NotGiven",
    "RunBusy",
    "StorageFailed",
    "SubjectRefused",
    "SweepInterrupted",
    "UnsuitedAttack",
    "UserCodeRefused",
    "WeightsRefused",
    "placed_among",
]

# Every argument goes to `Exception.__init__`, and the message is made in `__str__`: so the errors survive pickling,
# which is how they come back from a worker process.


class DataMissing(Exception):
    """A data set is not where it was looked for; the command line ends with status 3.

    `missing` says what is missing, `put` what to put where, `instead` which recipe to try in its place.

    >>> print(DataMissing("data/mnist is not there", "the four .gz files into it", "recipes/atent_linf.toml"))
    data/mnist is not there
    put the four .gz files into it
    or try recipes/atent_linf.toml instead
    """

    def __init__(self, missing: str, put: str, instead: str) -> None:
        super().__init__(missing, put, instead)
        self.missing = missing
        self.put = put
        self.instead = instead

    def __str__(self) -> str:
        return f"{self.missing}\nput {self.put}\nor try {self.instead} instead"


class Diverged(Exception):
    """The loss or the weights became infinite or not a number; the command line ends with status 4.

    `epoch` and `step` say where (the outer step counts through the whole run), `checkpoint` is the last good one, None
    where there is none yet, `batch` the file that holds the batch which caused it, None where it was not found again.

    >>> print(Diverged(epoch=2, step=310, checkpoint=None))
    training diverged in epoch 2 at step 310; no checkpoint had been written yet
    lower the learning rate, or let `optimizer.on_divergence = "rollback"` do it
    """

    def __init__(self, epoch: int, step: int, checkpoint: Path | None, batch: Path | None = None) -> None:
        super().__init__(epoch, step, checkpoint, batch)
        self.epoch = epoch
        self.step = step
        self.checkpoint = checkpoint
        self.batch = batch

    def __str__(self) -> str:
        last = "no checkpoint had been written yet"
        if self.checkpoint is not None:
            last = f"the last good checkpoint is {self.checkpoint}"
        kept = f"\nthe batch of that step is kept in {self.batch}" if self.batch else ""
        mend = 'lower the learning rate, or let `optimizer.on_divergence = "rollback"` do it'
        return f"training diverged in epoch {self.epoch} at step {self.step}; {last}{kept}\n{mend}"


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has written a checkpoint; the command line ends with status 130.

    `run` is its directory, `step` how many outer steps it has made.

    >>> from pathlib import Path
    >>> print(Interrupted(Path("runs/mine/1"), 310))
    interrupted after step 310; go on with `atentdsl run --resume runs/mine/1`
    """

    def __init__(self, run: Path, step: int) -> None:
        super().__init__(run, step)
        self.run = run
        self.step = step

    def __str__(self) -> str:
        return f"interrupted after step {self.step}; go on with `atentdsl run --resume {self.run}`"


class MemoryExhausted(Exception):
    """The device's memory does not hold what was asked of it; the command line ends with status 7.

    `what` was being done with `batch` examples at a time, `fits` is a number that fits, None where not even one does,
    and `key` the recipe's key that sets it.

    >>> print(MemoryExhausted("training", 4096, 512, "data.batch"))
    memory is exhausted in training with 4096 examples at a time; 512 fit: `--set data.batch=512`
    >>> print(MemoryExhausted("training", 4, None, "data.batch"))
    memory is exhausted in training with 4 examples at a time, and not even one fits: take a smaller network
    """

    def __init__(self, what: str, batch: int, fits: int | None, key: str) -> None:
        super().__init__(what, batch, fits, key)
        self.what, self.batch, self.fits, self.key = what, batch, fits, key

    def __str__(self) -> str:
        said = f"memory is exhausted in {self.what} with {self.batch} examples at a time"
        if self.fits is None:
            return f"{said}, and not even one fits: take a smaller network"
        return f"{said}; {self.fits} fit: `--set {self.key}={self.fits}`"


class StorageFailed(OSError):
    """A file of a run could not be written; the command line ends with status 5. What was written before is safe.

    `path` is the file, `reason` says why and what to do, `run` is the directory of the run to go on with, if there is.

    >>> from pathlib import Path
    >>> print(StorageFailed(Path("runs/mine/1/manifest.json"), "no space is left: make room"))
    runs/mine/1/manifest.json cannot be written: no space is left: make room
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason
        self.run: Path | None = None

    def __str__(self) -> str:
        said = f"{self.path} cannot be written: {self.reason}"
        if self.run is None or not self.run.is_dir():
            return said
        return f"{said}\nthen go on with `atentdsl run --resume {self.run}`"


class RunBusy(Exception):
    """Another process is at work in the run's directory.

    >>> from pathlib import Path
    >>> print(RunBusy(Path("runs/mine/1")))
    another process is at work on runs/mine/1; wait for it, or stop it
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"another process is at work on {self.path}; wait for it, or stop it"


class DeviceUnavailable(ValueError):
    """The device that was asked for is not on this machine, or no such device is known."""


class CheckpointBroken(Exception):
    """A checkpoint cannot be read, or does not fit the model; the model is left as it was.

    `previous` is a good one from before it, where there is one. The command line ends with status 6.

    >>> from pathlib import Path
    >>> print(CheckpointBroken(Path("last.safetensors"), "there is no such file"))
    checkpoint last.safetensors cannot be used: there is no such file
    >>> print(CheckpointBroken(Path("step-9.safetensors"), "its sha256 differs", Path("step-6.safetensors")))
    checkpoint step-9.safetensors cannot be used: its sha256 differs
    the one before it is good, step-6.safetensors: go on from there with --skip-damaged
    """

    def __init__(self, path: Path, reason: str, previous: Path | None = None) -> None:
        super().__init__(path, reason, previous)
        self.path = path
        self.reason = reason
        self.previous = previous

    def __str__(self) -> str:
        said = f"checkpoint {self.path} cannot be used: {self.reason}"
        if self.previous is None:
            return said
        return f"{said}\nthe one before it is good, {self.previous}: go on from there with --skip-damaged"


class CannotResume(Exception):
    """A run cannot be gone on with as it was: its recipe, its data or a version is another. Status 6.

    >>> from pathlib import Path
    >>> print(CannotResume(Path("runs/mine/1"), "it was made by torch 2.9, and this is 2.10: install that one"))
    runs/mine/1 cannot be resumed: it was made by torch 2.9, and this is 2.10: install that one
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be resumed: {self.reason}"


class CannotExport(Exception):
    """A run's network cannot be written for others, or not to where it is asked for. Status 2.

    >>> from pathlib import Path
    >>> print(CannotExport(Path("runs/mine/1"), "it is not finished; go on with `atentdsl run --resume runs/mine/1`"))
    runs/mine/1 cannot be exported: it is not finished; go on with `atentdsl run --resume runs/mine/1`
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be exported: {self.reason}"


class CannotReport(Exception):
    """A run's directory holds something that is not as a run writes it, and no page can be made of it. Status 2.

    >>> from pathlib import Path
    >>> print(CannotReport(Path("runs/mine/1"), "its metrics.jsonl cannot be read"))
    no report of runs/mine/1 can be made: its metrics.jsonl cannot be read
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"no report of {self.path} can be made: {self.reason}"


class ArchitectureUnfit(ValueError):
    """An installed network cannot take images of the data set's shape.

    >>> print(ArchitectureUnfit("cnn7", "it wants images of 16 x 16 or larger, not (1, 8, 8)"))
    the network cnn7 does not suit the data: it wants images of 16 x 16 or larger, not (1, 8, 8)
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"the network {self.name} does not suit the data: {self.reason}"


class BoundsUnknown(ValueError):
    """Interval bounds cannot go through a part of the network: the objective that asks for them cannot train it.

    >>> print(BoundsUnknown("layer `3` (LayerNorm)", "no rule is known for it"))  # doctest: +ELLIPSIS
    interval bounds cannot go through layer `3` (LayerNorm): no rule is known for it
    they go through linear layers, convolutions, ReLU, LeakyReLU, Tanh, Sigmoid, max and average pooling, ...
    """

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(part, reason)
        self.part = part
        self.reason = reason

    def __str__(self) -> str:
        known = "linear layers, convolutions, ReLU, LeakyReLU, Tanh, Sigmoid, max and average pooling, flattening, "
        known += "batch norm with running statistics, dropout, sums, and products with constants"
        return f"interval bounds cannot go through {self.part}: {self.reason}\nthey go through {known}"


class SubjectRefused(ValueError):
    """What is to be evaluated is no network yet: something has to be said with it, or it is nothing of the kind.

    >>> print(SubjectRefused("theirs.pt", "say what network its weights are of: --architecture NAME"))
    theirs.pt cannot be evaluated: say what network its weights are of: --architecture NAME
    """

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(subject, reason)
        self.subject = subject
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.subject} cannot be evaluated: {self.reason}"


class WeightsRefused(ValueError):
    """Weights from elsewhere are not taken: they are not there, do not fit, or could run code when loaded.

    `path` says where they are, None where they come from no file.

    >>> from pathlib import Path
    >>> print(WeightsRefused(Path("theirs.pt"), "there is no such file"))
    weights theirs.pt cannot be used: there is no such file
    """

    def __init__(self, path: Path | None, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        named = "the weights" if self.path is None else f"weights {self.path}"
        return f"{named} cannot be used: {self.reason}"


class UserCodeRefused(ValueError):
    """Code that a recipe names, `module:attribute`, is not run, or is no network for the recipe's images.

    >>> print(UserCodeRefused("my_nets:small", "there is no module `my_nets`"))
    code my_nets:small cannot be used: there is no module `my_nets`
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"code {self.name} cannot be used: {self.reason}"


class NotGiven(ValueError):
    """A run was given a network or images of the caller's own, and they are asked for again: Python only."""


class NotARunDirectory(Exception):
    """A folder that is no run directory; `missing` lists what it lacks.

    >>> from pathlib import Path
    >>> print(NotARunDirectory(Path("elsewhere"), ("manifest.json", "recipe.toml")))
    elsewhere is no run directory: missing manifest.json, recipe.toml
    """

    def __init__(self, path: Path, missing: tuple[str, ...]) -> None:
        super().__init__(path, missing)
        self.path = path
        self.missing = missing

    def __str__(self) -> str:
        return f"{self.path} is no run directory: missing {', '.join(self.missing)}"
