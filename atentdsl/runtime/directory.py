"""A run's own directory: everything that a run leaves, and all that is needed to repeat it.

    <root>/<name>/<id>/
        recipe.toml, module.py, manifest.json     there from the beginning
        metrics.jsonl                             one line an epoch
        checkpoints/                              see `atentdsl.runtime.snapshot` and `atentdsl.runtime.checkpoint`
        .lock                                     held by the process at work; see `atentdsl.runtime.lock`

Whole files are written beside their place and renamed, and so is the directory itself: a reader meets the old one or
the new one, never a part.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.runtime import lock
from atentdsl.runtime.errors import NotARunDirectory, StorageFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "BEST",
    "CHECKPOINTS",
    "DIVERGED",
    "EVALUATION",
    "MANIFEST",
    "METRICS",
    "MODULE",
    "RECIPE",
    "RunDirectory",
    "write_atomically",
]

RECIPE = "recipe.toml"
MODULE = "module.py"
MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
EVALUATION = "evaluation.json"
CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
DIVERGED = "diverged.safetensors"  # the batch that ended the run
# What a directory is called, behind a dot, until all is in it that a run cannot be repeated without.
UNFINISHED = "unfinished"

REMOVED = "it is gone: was the run's directory removed while the run was at work?"

MANIFEST_KEYS = {"data", "data_sha256", "device", "max_steps", "model", "recipe_sha256", "versions"}

# What a run cannot be repeated without.
REQUIRED = (RECIPE, MODULE, MANIFEST)


@attrs.define
class RunDirectory:
    """The directory of one run; make it with `create` or `open`."""

    path: Path
    _lock: int | None = attrs.field(default=None, eq=False, repr=False)

    @classmethod
    def create(cls, root: Path, name: str, texts: Mapping[str, str] | None = None) -> RunDirectory:
        """Make `root/name/<id>/` with these files in it, where the id is the time in UTC, such as 20260102-030405.

        Of runs that start in the same second the later get -2, -3, ... after it. The directory appears with its files
        in it, or not at all, and its lock is held until `release`.

        Raises:
            ValueError: `name` is not plain (letters, digits, `.`, `_`, `-`; no leading dot).
            StorageFailed: the directory cannot be made.
        """
        parent = Path(root) / _plain(name)
        unfinished = parent / f".{UNFINISHED}-{os.getpid()}-{secrets.token_hex(4)}"
        made = cls(unfinished)
        try:
            (unfinished / CHECKPOINTS).mkdir(parents=True)
            made.hold()
            for relative, text in (texts or {}).items():
                made.write_text(relative, text)
            made._appear(parent)
        except BaseException as error:
            made.release()
            shutil.rmtree(unfinished, ignore_errors=True)
            if isinstance(error, OSError) and not isinstance(error, StorageFailed):
                raise _failed(parent, error) from error
            raise
        return made

    def _appear(self, parent: Path) -> None:
        """Takes the first id that is free. A rename fails if a directory with files in it has the name already."""
        time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for number in itertools.count(1):
            path = parent / (time if number == 1 else f"{time}-{number}")
            try:
                os.rename(self.path, path)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    continue
                raise
            self.path = path
            _to_disk(parent)
            return

    def hold(self) -> None:
        """Take the directory's lock, for the process that is at work in it.

        Raises:
            RunBusy: another process holds it.
            StorageFailed: the directory cannot be written.
        """
        try:
            self._lock = lock.hold(self.path)
        except OSError as error:
            raise _failed(self.path, error) from error

    def leading_out(self) -> list[str]:
        """The entries that are links to somewhere else, through which a write would leave the directory."""
        home = self.path.resolve()
        entries = [*self.path.rglob("*")]
        return sorted(
            str(p.relative_to(self.path)) for p in entries if p.is_symlink() and not p.resolve().is_relative_to(home)
        )

    def require(self) -> None:
        """Ask for the directory to be the one that was taken up, as its lock's file tells.

        Raises:
            StorageFailed: it was removed, or its files were.
        """
        if self._lock is not None and not (self.path / lock.LOCK).exists():
            raise StorageFailed(self.path, REMOVED)

    def sweep(self) -> None:
        """Remove what a process left that was killed while it wrote: files that never got their names."""
        for left in [*self.path.glob(".*.partial"), *self.checkpoints.glob(".*.partial")]:
            left.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._lock is not None:
            lock.release(self._lock)
            self._lock = None

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Take up the run directory at `path`.

        Raises:
            NotARunDirectory: it lacks the recipe, the module or the manifest; the message lists what is missing.
        """
        missing = tuple(name for name in REQUIRED if not (Path(path) / name).is_file())
        if missing:
            raise NotARunDirectory(Path(path), missing)
        return cls(Path(path))

    def write_text(self, relative: str, text: str) -> Path:
        """Write `text` as UTF-8 to the file `relative`, atomically; its path.

        Raises:
            ValueError: `relative` leads out of the directory.
        """
        target = self.path / relative
        home = self.path.resolve()
        if not target.resolve().is_relative_to(home) or target.resolve() == home:
            raise ValueError(f"{relative!r} leads out of the run directory")
        if self.path.is_dir():  # a directory that was removed is not made again
            target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text.encode())
        return target

    def read_text(self, relative: str) -> str:
        """Return what the file `relative` holds, as it was written by `write_text`."""
        return (self.path / relative).read_text(encoding="utf-8", errors="replace")

    def manifest(self) -> dict[str, Any]:
        """Return what manifest.json says.

        Raises:
            NotARunDirectory: it cannot be read, or lacks what every run's has.
        """
        try:
            found = json.loads(self.read_text(MANIFEST))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not found.keys() >= MANIFEST_KEYS:
            raise NotARunDirectory(self.path, (f"a {MANIFEST} that can be read",))
        return found

    def write_json(self, relative: str, obj: Any) -> Path:
        """Write `obj` as JSON, indented by 2, in its own order of keys, atomically; its path.

        Raises:
            ValueError: a number is not finite (JSON has none), or `relative` leads out of the directory.
            TypeError: something that JSON cannot say.
        """
        return self.write_text(relative, json.dumps(obj, indent=2, allow_nan=False, ensure_ascii=False) + "\n")

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append `record` to metrics.jsonl as one line, which is out of this process when the call returns.

        Raises:
            ValueError: a number is not finite; nothing is written.
            StorageFailed: it cannot be written; what stood there before still does.
        """
        line = json.dumps(dict(record), allow_nan=False, ensure_ascii=False) + "\n"
        path = self.path / METRICS
        self.require()
        try:
            # Without a buffer, whose rest would be written when the file is closed.
            with path.open("ab", buffering=0) as file:
                before, left = file.tell(), line.encode()
                try:
                    while left:
                        left = left[file.write(left) :]
                except OSError:
                    # A disk that is full takes a part of the line; what stood there stays readable.
                    os.truncate(path, before)
                    raise
        except OSError as error:
            raise _failed(path, error, len(line)) from error

    def metrics(self) -> list[dict[str, Any]]:
        """Return the records of metrics.jsonl; none where it is not there.

        Raises:
            ValueError: a line is no JSON.
        """
        path = self.path / METRICS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def rewrite_metrics(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Make these records all that metrics.jsonl holds, atomically.

        Raises:
            ValueError: a number is not finite.
        """
        lines = [json.dumps(dict(record), allow_nan=False, ensure_ascii=False) + "\n" for record in records]
        self.write_text(METRICS, "".join(lines))

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / CHECKPOINTS

    def checkpoint(self, name: str) -> Path:
        """Return the path of the checkpoint file `name`, such as "last.safetensors", which need not exist.

        Raises:
            ValueError: `name` is not plain.
        """
        return self.path / CHECKPOINTS / _plain(name)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that, whenever the process or the machine stops, the old file or the new one is there.

    The data is written beside it, forced to the disk and renamed; then the folder is forced to the disk.

    Raises:
        StorageFailed: it cannot be written; the old file is as it was, and nothing is left beside it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _to_disk(path.parent)
    except OSError as error:
        raise _failed(path, error, len(data)) from error


def _to_disk(path: Path) -> None:
    """Forces a folder's entries to the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _failed(path: Path, error: OSError, size: int | None = None) -> StorageFailed:
    """What the system said, as what to do about it."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        wanted = "" if size is None else f", and {size:,} bytes are to be written"
        return StorageFailed(path, f"the disk is full{wanted}; make room (what was written before is safe)")
    if error.errno == errno.EROFS:
        return StorageFailed(path, "the file system is read-only; name another folder by --out, or remount it")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageFailed(path, "permission is denied; name another folder by --out, or ask for the right to write")
    if error.errno == errno.ENOENT and not path.parent.exists():
        return StorageFailed(path.parent, REMOVED)
    return StorageFailed(path, reason[:1].lower() + reason[1:])


def _plain(name: str) -> str:
    """Give `name` back if it can only name something directly in a folder, and nothing hidden."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise ValueError(f"{name!r} is no plain name: use letters, digits, '.', '_' and '-', and no leading dot")
    return name
