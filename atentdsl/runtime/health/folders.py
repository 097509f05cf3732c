"""Folders that are written into: whether they can be, what their file system can do, and how much is free."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

import attrs

from atentdsl.runtime.health.finding import Finding

__all__ = ["LITTLE", "Folder", "free", "little", "out", "standing"]

LITTLE = 10**9


@attrs.frozen
class Folder:
    """A folder that need not exist; `free` is in bytes, of the file system it is on, None where that is not known."""

    path: str
    free: int | None


def out(path: Path) -> tuple[Folder, tuple[Finding, ...]]:
    """Describe the folder that runs are written below, and find what keeps them from it; nothing is left there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder, findings = out(Path(place) / "runs")
    ...     list(Path(place).iterdir())
    []
    >>> folder.path.endswith("runs")
    True
    """
    place = standing(path)
    folder = Folder(str(path), free(place))
    if not place.is_dir():
        wrong = f"{path} cannot be made: {place} is no folder" if place != path.absolute() else f"{path} is no folder"
        return folder, (Finding("out", wrong, "name another folder by --out, or move what stands there"),)
    # A full one says so when it is written.
    return folder, _written(path, place) or little("out", path, folder.free, "name another folder by --out")


def standing(path: Path) -> Path:
    """Return what there is of `path`: itself, or the nearest above it that is there.

    >>> standing(Path("/no-such-folder/runs"))
    PosixPath('/')
    """
    place = path.absolute()
    # A link that leads nowhere is there too: no folder can be made in its place.
    while not os.path.lexists(place):
        place = place.parent
    return place


def free(place: Path) -> int | None:
    """Return how many bytes this user may still write to the file system of `place`.

    >>> free(Path("/no-such-folder")) is None
    True
    """
    try:
        usage = shutil.disk_usage(place)
    except OSError:
        return None
    return usage.free if usage.total else None  # not a file system that holds files, such as proc


def little(about: str, path: Path, number: int | None, otherwise: str) -> tuple[Finding, ...]:
    """Find that too few bytes are free at `path`; `otherwise` is what else than freeing some would help.

    >>> [finding.wrong for finding in little("out", Path("runs"), 2_400_000, "name another folder by --out")]
    ['2.4 MB are free at runs, less than 1 GB']
    """
    if number is None or number >= LITTLE:
        return ()
    wrong = f"{number / 1e6:.1f} MB are free at {path}, less than 1 GB"
    return (Finding(about, wrong, f"free some space there, or {otherwise}"),)


def _written(path: Path, place: Path) -> tuple[Finding, ...]:
    """Try in a temporary folder of `place` what a run does there."""
    found: list[Finding] = []
    otherwise = "name a folder of a local file system by --out"
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as folder:
            old, new = Path(folder, "old"), Path(folder, "new")
            for file, text in ((old, "old"), (new, "new")):
                file.write_text(text)
            if wrong := _not_replaced(new, old):
                found.append(Finding("out", f"{path}: a file cannot be replaced in one step: {wrong}", otherwise))
            if wrong := _not_locked(old):
                found.append(Finding("out", f"{path}: a file cannot be locked: {wrong}", otherwise))
    except OSError as error:
        wrong = f"{path} cannot be written: {error.strerror or error}"
        return (*found, Finding("out", wrong, "name another folder by --out, or make this one writable"))
    return tuple(found)


def _not_replaced(new: Path, old: Path) -> str | None:
    """Why renaming over a file that is there does not do; None where it does."""
    try:
        os.replace(new, old)
        return None if old.read_text() == "new" and not new.exists() else "the old file is still there"
    except OSError as error:
        return error.strerror or str(error)


def _not_locked(path: Path) -> str | None:
    """Why flock does not keep a second one out; None where it does."""
    with path.open("rb") as first, path.open("rb") as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror or str(error)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        return "a lock keeps nobody out"
