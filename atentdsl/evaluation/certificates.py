"""Certificates in a file, image by image, so that what was interrupted goes on where it stopped.

<folder>/settings.json    all that the certificates depend on; there before the first of them
         images.csv       a line an image, written whole
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from atentdsl.evaluation.certification import Certificate
from atentdsl.runtime import lock
from atentdsl.runtime.directory import write_atomically
from atentdsl.runtime.errors import CannotResume, StorageFailed

__all__ = ["CERTIFICATES", "HEADER", "SETTINGS", "CertificateFile"]

CERTIFICATES, SETTINGS = "images.csv", "settings.json"
HEADER = "index,label,prediction,radius,correct,n0_votes,n_votes,seconds"


@attrs.define
class CertificateFile:
    """The certificates of one folder; make it with `open`, and `close` it."""

    path: Path
    done: list[dict[str, Any]]
    _descriptor: int
    _lock: int

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any]) -> CertificateFile:
        """Begins the folder's file, or takes it up after its last whole line; what follows that is cut off.

        Args:
            folder: is made where it is not there, and held for this process.
            settings: what the certificates depend on, as JSON can say it.

        Raises:
            CannotResume: the folder's certificates are of other settings, or lines of its file are none.
            RunBusy: another process is at work in it.
            StorageFailed: it cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = lock.hold(folder)
        except OSError as error:
            raise StorageFailed(folder, _reason(error)) from error
        try:
            for left in folder.glob(".*.partial"):
                left.unlink(missing_ok=True)
            _agree(folder, json.loads(json.dumps(settings)))
            path = folder / CERTIFICATES
            try:
                # A link would lead elsewhere: a run's directory may come from anywhere.
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise StorageFailed(path, _reason(error)) from error
            try:
                done = _taken_up(path, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except BaseException:
            lock.release(held)
            raise
        return cls(path, done, descriptor, held)

    def append(self, one: Certificate) -> None:
        """Writes one image's line, whole.

        Raises:
            StorageFailed: it cannot be written; the lines before it stay.
        """
        told, correct = one.verdict, int(one.correct)
        votes = f"{told.n0_votes},{told.n_votes}"
        line = f"{one.index},{one.label},{told.prediction},{told.radius!r},{correct},{votes},{one.seconds:.4f}"
        _write(self.path, self._descriptor, line + "\n")
        self.done.append(_row(line))

    def close(self) -> None:
        """Forces the lines to the disk and gives the folder back."""
        try:
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)
            lock.release(self._lock)


def _agree(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings, or asks them to be those that are there."""
    path = folder / SETTINGS
    if not path.exists():
        if (folder / CERTIFICATES).exists():
            raise CannotResume(folder, f"its {SETTINGS} is missing; name another folder by --out")
        write_atomically(path, (json.dumps(settings, indent=2) + "\n").encode())
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in settings.keys() | found.keys() if settings.get(name) != found.get(name)]
    except (ValueError, AttributeError) as error:
        raise CannotResume(folder, f"its {SETTINGS} cannot be read; name another folder by --out") from error
    if differing:
        told = ", ".join(f"{name} {found.get(name)}, not {settings.get(name)}" for name in sorted(differing))
        raise CannotResume(folder, f"it was begun with {told}; ask for that again, or name another folder by --out")


def _taken_up(path: Path, descriptor: int) -> list[dict[str, Any]]:
    """The whole lines; the rest of a line that was torn is cut off, and a header that is missing written."""
    whole, newline, torn = path.read_bytes().rpartition(b"\n")
    if torn:
        os.ftruncate(descriptor, len(whole) + len(newline))
    if not newline:
        _write(path, descriptor, HEADER + "\n")
        return []
    try:
        header, *lines = whole.decode("utf-8").split("\n")
        rows = [_row(line) for line in lines]
        if header != HEADER or [row["index"] for row in rows] != list(range(len(rows))):
            raise ValueError
    except ValueError as error:
        reason = f"its {CERTIFICATES} holds other lines than certificates in their order; name another folder by --out"
        raise CannotResume(path.parent, reason) from error
    return rows


def _row(line: str) -> dict[str, Any]:
    """A line's values by their names.

    Raises:
        ValueError: it is no certificate.
    """
    names, cells = HEADER.split(","), line.split(",")
    if len(cells) != len(names):
        raise ValueError(line)
    row = dict(zip(names, cells, strict=True))
    return {name: float(cell) if name in ("radius", "seconds") else int(cell) for name, cell in row.items()}


def _write(path: Path, descriptor: int, text: str) -> None:
    before, left = os.fstat(descriptor).st_size, text.encode()
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError as error:
        os.ftruncate(descriptor, before)  # a disk that is full takes a part of the line
        raise StorageFailed(path, _reason(error)) from error


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{reason[:1].lower()}{reason[1:]}; name another folder by --out, or make it possible"
