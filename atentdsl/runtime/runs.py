"""Run directories as they lie on the disk: which there are, and how each ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import attrs

from atentdsl.runtime import lock
from atentdsl.runtime.directory import BEST, CHECKPOINTS, DIVERGED, EVALUATION, MANIFEST, METRICS, REQUIRED, UNFINISHED

__all__ = ["Summary", "found", "leftovers", "summary"]

Status = Literal["finished", "running", "diverged", "interrupted"]
# What is told of every run, and of what it reached.
TOLD = {"started", "command", "seed", "device", "versions", "recipe_sha256", "model", "data"}
REACHED = {"clean_accuracy", "attacks"}


@attrs.frozen
class Summary:
    """What a run's directory tells at a glance.

    Attributes:
        path: the directory.
        status: `finished` has an evaluation; a process is at work on `running`; `diverged` ended at a number that is
            not finite; `interrupted` can be gone on with.
        step: outer steps made, by the newest snapshot or the last line of the metrics.
        epoch: the last with a line; 0 for none.
        size: bytes.
        manifest: manifest.json.
        evaluation: evaluation.json, where it is there.
    """

    path: Path
    status: Status
    step: int
    epoch: int
    size: int
    manifest: dict[str, Any] = attrs.field(repr=False)
    evaluation: dict[str, Any] | None = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.path.parent.name


def summary(path: Path) -> Summary:
    """Read a run's directory; its checkpoints are not read.

    Raises:
        OSError, ValueError: the manifest or the evaluation cannot be read.
    """
    manifest = _read(path / MANIFEST, TOLD)
    evaluated = (path / EVALUATION).is_file()
    status: Status = "interrupted"
    if evaluated:
        status = "finished"
    elif lock.is_held(path):
        status = "running"
    elif (path / DIVERGED).is_file():
        status = "diverged"
    line = _last_line(path)
    steps = [int(p.stem.removeprefix("step-")) for p in _snapshots(path)]
    return Summary(
        path=path,
        status=status,
        step=max([line.get("step", 0), *steps]),
        epoch=line.get("epoch", 0),
        size=size(path),
        manifest=manifest,
        evaluation=_read(path / EVALUATION, REACHED) if evaluated else None,
    )


def found(root: Path, name: str | None = None) -> Iterator[Summary]:
    """Every run below `root`, or those of one name, by name and then by time; what cannot be read is left out."""
    for parent in sorted(p for p in root.glob("*") if p.is_dir() and name in (None, p.name)):
        for path in sorted(p for p in parent.glob("[!.]*") if all((p / name).is_file() for name in REQUIRED)):
            try:
                yield summary(path)
            except (OSError, ValueError):
                continue


def leftovers(root: Path, unfinished: bool = False) -> list[Path]:
    """What may be deleted without losing a result: nothing of it is needed to evaluate or to repeat a run.

    Of finished runs, their snapshots: the checkpoint kept stays. Files and directories that never got their names, and
    checkpoints set aside as damaged. With `unfinished`, the whole directories of interrupted and diverged runs too.
    What a living process is at work on is never among them.
    """
    gone = [p for p in root.glob(f"*/.{UNFINISHED}-*") if not lock.is_held(p)]
    for run in found(root):
        checkpoints = run.path / CHECKPOINTS
        if run.status == "running":
            continue
        if run.status != "finished" and unfinished:
            gone.append(run.path)
            continue
        gone += [*run.path.glob(".*.partial"), *checkpoints.glob(".*.partial"), *checkpoints.glob("*.damaged")]
        if run.status == "finished" and (checkpoints / BEST).is_file():
            gone += _snapshots(run.path)
    return sorted(gone)


def size(path: Path) -> int:
    """The bytes of a file, or of all files below a folder.

    >>> size(Path(__file__)) == Path(__file__).stat().st_size
    True
    """
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())


def _read(path: Path, wanted: set[str]) -> dict[str, Any]:
    read = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(read, dict) or not read.keys() >= wanted:
        raise ValueError(f"{path.name} lacks {', '.join(sorted(wanted))}")
    return read


def _snapshots(path: Path) -> list[Path]:
    found = (path / CHECKPOINTS).glob("step-*.safetensors")
    return [p for p in found if p.stem.removeprefix("step-").isdecimal()]


def _last_line(path: Path) -> dict[str, Any]:
    try:
        lines = (path / METRICS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            read = json.loads(line)
        except ValueError:  # a process that was killed may leave a part of one
            continue
        if isinstance(read, dict):
            return read
    return {}
