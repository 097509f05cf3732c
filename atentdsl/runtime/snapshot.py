"""Snapshots: all that a run is between two steps, each in one file, from which it goes on bit for bit.

    checkpoints/step-00000120.safetensors

A snapshot holds weights, buffers, the optimizer's state, the step's own state, what is left of the epoch, the best
weights so far and every line of metrics.jsonl: the run's other files follow from it. It is sealed with the sha256 of
its content. Two are kept, and the older goes when the next one is safe.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs

from atentdsl.runtime import checkpoint
from atentdsl.runtime.errors import CannotResume, CheckpointBroken
from atentdsl.runtime.tree import pack, unpack

__all__ = [
    "FORMAT",
    "Saving",
    "listed",
    "newest",
    "read",
    "remove_all_but_newest",
    "remove_later",
    "set_aside",
    "step_of",
    "write",
]

FORMAT = 1
NAME = re.compile(r"step-(\d{8,})\.safetensors")
DAMAGED = ".damaged"
KEPT = 2
CONTENT, IDENTITY = "content", "identity"


@attrs.define
class Saving:
    """When a snapshot is due: every so many steps, or else after so many minutes.

    By the clock, writing takes at most `SHARE` of the time: a slow disk makes snapshots rarer.

    Attributes:
        steps: every so many outer steps; None for the clock.
        minutes: between two snapshots.

    >>> saving = Saving(steps=10)
    >>> saving.due(19), saving.due(20)
    (False, True)
    """

    SHARE = 0.01

    steps: int | None = None
    minutes: float = 1.0
    _written: float = attrs.field(factory=lambda: time.monotonic(), init=False)
    _took: float = attrs.field(default=0.0, init=False)

    def due(self, step: int) -> bool:
        """Whether to write one now that `step` outer steps are made."""
        if self.steps is not None:
            return step % self.steps == 0
        wait = max(60 * self.minutes, self._took * (1 / self.SHARE - 1))
        return time.monotonic() - self._written >= wait

    def wrote(self, seconds: float) -> None:
        """To be told of each snapshot, and how long it took."""
        self._written, self._took = time.monotonic(), seconds


def write(
    folder: Path,
    step: int,
    content: Mapping[str, Any],
    identity: Mapping[str, str],
    keep: Collection[int] = (),
) -> Path:
    """Write the snapshot after `step` outer steps; older ones go then, but for the last before it and those in `keep`.

    Args:
        folder: the run's checkpoints.
        step: outer steps made.
        content: nested dicts, lists, tuples, tensors, numbers, texts, None.
        identity: what has to be the same for whoever goes on; compared by `read`.
        keep: steps whose snapshots stay.

    Raises:
        StorageFailed: it cannot be written; those before are as they were.
    """
    document, tensors = pack(dict(content))
    texts = {CONTENT: json.dumps(document), IDENTITY: json.dumps({**identity, "format": str(FORMAT)})}
    path = folder / f"step-{step:08}.safetensors"
    checkpoint.write(path, tensors, texts)
    for number, old in enumerate(listed(folder)):
        if number >= KEPT and step_of(old) not in keep:
            old.unlink(missing_ok=True)
    return path


def read(path: Path, identity: Mapping[str, str] | None = None, other_version: bool = False) -> dict[str, Any]:
    """Return the content of the snapshot at `path`, its tensors on the CPU.

    Args:
        path: the file.
        identity: what it was written with is compared with this, if given.
        other_version: versions may differ.

    Raises:
        CheckpointBroken: the file is missing or damaged.
        CannotResume: it was written by another recipe or version.
    """
    tensors, texts = checkpoint.read(path, sealed=True)
    try:
        own = json.loads(texts[IDENTITY])
        if own["format"] != str(FORMAT):
            raise CannotResume(path, f"it has format {own['format']}, and this version reads format {FORMAT}")
        if identity is not None:
            _compare(path, own, identity, other_version)
        content: dict[str, Any] = unpack(json.loads(texts[CONTENT]), tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointBroken(path, f"it is no snapshot of a run: {error!r}") from error
    return content


def _compare(path: Path, own: Mapping[str, str], wanted: Mapping[str, str], other_version: bool) -> None:
    for what, value in wanted.items():
        if own.get(what) == value:
            continue
        if what.endswith("_sha256"):
            raise CannotResume(
                path,
                f"it is of another {what.removesuffix('_sha256')} than the run's directory holds "
                f"(sha256 {own.get(what)}, and here {value}); give it the checkpoints of its own run back",
            )
        if not other_version:
            raise CannotResume(
                path,
                f"it was written with {what} {own.get(what)}, and this is {value}, which may round otherwise; "
                f"install {what} {own.get(what)}, or give up the same bits by --other-version",
            )


def listed(folder: Path) -> list[Path]:
    """The snapshots in the folder, by their names, newest first."""
    return sorted((p for p in folder.glob("step-*") if NAME.fullmatch(p.name)), key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """How many outer steps had been made.

    >>> step_of(Path("checkpoints/step-00000120.safetensors"))
    120
    """
    matched = NAME.fullmatch(path.name)
    if matched is None:
        raise ValueError(f"{path.name} is no snapshot's name")
    return int(matched[1])


def newest(folder: Path, skip_damaged: bool = False) -> Path | None:
    """The newest snapshot, checked; None where there is none.

    Raises:
        CheckpointBroken: it is damaged; names the newest good one, which `skip_damaged` takes instead.
    """
    broken: CheckpointBroken | None = None
    for path in listed(folder):
        try:
            read(path)
        except CheckpointBroken as error:
            broken = broken or error
            continue
        if broken is None or skip_damaged:
            return path
        raise CheckpointBroken(broken.path, broken.reason, path) from broken
    if broken is not None:
        raise broken
    return None


def set_aside(folder: Path, after: int) -> list[Path]:
    """Rename the snapshots of later steps, so that nobody takes them for the newest again; their new names."""
    moved = []
    for path in listed(folder):
        if step_of(path) > after:
            moved.append(path.rename(path.with_name(path.name + DAMAGED)))
    return moved


def remove_later(folder: Path, after: int) -> None:
    """Remove the snapshots of later steps than `after`, which a run that went back will make anew."""
    for path in listed(folder):
        if step_of(path) > after:
            path.unlink(missing_ok=True)


def remove_all_but_newest(folder: Path) -> None:
    """Remove the older snapshots: of a finished run the last one is enough."""
    for path in listed(folder)[1:]:
        path.unlink(missing_ok=True)
