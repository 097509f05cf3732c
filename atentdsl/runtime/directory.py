"""A run's own directory: everything that a run leaves, and all that is needed to repeat it.

    <root>/<name>/<id>/
        recipe.toml, module.py, manifest.json     written before the first step
        metrics.jsonl                             one line an epoch
        checkpoints/                              see `atentdsl.runtime.checkpoint`

Whole files are written beside their place and renamed, so a reader meets the old file or the new one, never a part.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.runtime.errors import NotARunDirectory

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CHECKPOINTS", "MANIFEST", "METRICS", "MODULE", "RECIPE", "RunDirectory", "write_atomically"]

RECIPE = "recipe.toml"
MODULE = "module.py"
MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"

# What a run cannot be repeated without.
REQUIRED = (RECIPE, MODULE, MANIFEST)


@attrs.frozen
class RunDirectory:
    """The directory of one run; make it with `create` or `open`."""

    path: Path

    @classmethod
    def create(cls, root: Path, name: str) -> RunDirectory:
        """Make `root/name/<id>/`, where the id is the time in UTC, such as 20260102-030405, or -2, -3, ... after it.

        Two runs that start in the same second get two directories.

        Raises:
            ValueError: `name` is not plain (letters, digits, `.`, `_`, `-`; no leading dot).
            OSError: the directory cannot be made.
        """
        parent = Path(root) / _plain(name)
        parent.mkdir(parents=True, exist_ok=True)
        time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for number in itertools.count(1):
            path = parent / (time if number == 1 else f"{time}-{number}")
            try:
                # mkdir either makes the directory or fails: no other process can be given the same one.
                os.mkdir(path)
            except FileExistsError:
                continue
            (path / CHECKPOINTS).mkdir()
            return cls(path)
        raise AssertionError("unreachable: the numbers do not end")

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
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text.encode())
        return target

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
        """
        line = json.dumps(dict(record), allow_nan=False, ensure_ascii=False) + "\n"
        with (self.path / METRICS).open("ab") as file:
            file.write(line.encode())

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
        OSError: it cannot be written; the old file is as it was, and nothing is left beside it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _plain(name: str) -> str:
    """Give `name` back if it can only name something directly in a folder, and nothing hidden."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise ValueError(f"{name!r} is no plain name: use letters, digits, '.', '_' and '-', and no leading dot")
    return name
