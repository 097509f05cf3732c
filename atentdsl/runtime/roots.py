"""Where data sets on disk are looked for, and how one gets into the user's cache.

The first of these that is given is the root, and no other is looked at, so that nobody trains on data of a folder that
they did not mean: the folder named by the caller (`--data-root`), the environment's ATENTDSL_DATA, the user's cache.
Only the cache is ever written into.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["VARIABLE", "NotDownloaded", "Root", "cache", "data_root", "download"]

VARIABLE = "ATENTDSL_DATA"
STALL = 5.0
LIMIT = 120.0
# A process of its own can be stopped whatever it waits for, keeps what torchvision prints, and its timeout for sockets
# is nobody else's.
SCRIPT = (
    "import socket, sys; socket.setdefaulttimeout(float(sys.argv[1]));"
    "from torchvision import datasets; getattr(datasets, sys.argv[2])(sys.argv[3], download=True)"
)


@attrs.frozen
class Root:
    """A folder that data sets are looked for in.

    Attributes:
        path: the folder, which need not exist.
        source: `the folder given`, `ATENTDSL_DATA` or `the cache`: what it was taken from.
    """

    path: Path
    source: str

    @property
    def is_cache(self) -> bool:
        """Whether data may be downloaded into it."""
        return self.source == "the cache"


class NotDownloaded(Exception):
    """A download did not succeed; says why. Nothing of it is left."""


def data_root(given: Path | None = None) -> Root:
    """Return the caller's folder where one is given, else the environment's, else the cache.

    An empty variable counts as none; `~` is the home folder.

    >>> data_root(Path("data"))
    Root(path=PosixPath('data'), source='the folder given')
    """
    if given is not None:
        return Root(given.expanduser(), "the folder given")
    if named := os.environ.get(VARIABLE):
        return Root(Path(named).expanduser(), VARIABLE)
    return Root(cache(), "the cache")


def cache() -> Path:
    """Return `atentdsl` in the folder that XDG_CACHE_HOME names, or else in `~/.cache`; a relative name counts as none.

    The XDG Base Directory Specification says so.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path("~/.cache").expanduser()) / "atentdsl"


def torchvision_command(name: str) -> list[str]:
    """Return the command by which torchvision downloads its data set called `name`; the folder comes last.

    torchvision compares every file with its checksum. A server that is silent for `STALL` seconds is given up.
    """
    return [sys.executable, "-P", "-c", SCRIPT, str(STALL), name]


def download(command: Sequence[str], files: Sequence[str], into: Path, limit: float = LIMIT) -> None:
    """Get `files`, named relative to `into`, by a command that writes them below the folder it is given last.

    They are moved into place when the command has ended well, each at once: an interrupted download leaves nothing that
    could be taken for data. What is there already is replaced.

    Args:
        command: run with the name of a temporary folder in `into` as its last word; its output is not shown.
        files: with folders, for example `MNIST/raw/t10k-labels-idx1-ubyte`.
        into: made where it is not there.
        limit: seconds, after which the command is stopped.

    Raises:
        NotDownloaded: the command failed or took too long, files are missing, or `into` cannot be written.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=into, ignore_cleanup_errors=True) as folder:
            done = subprocess.run(
                [*command, folder],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                timeout=limit,
                check=False,
            )
            if done.returncode:
                said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
                raise NotDownloaded(said[-1] if said else f"the download ended with status {done.returncode}")
            missing = [name for name in files if not (Path(folder) / name).is_file()]
            if missing:
                raise NotDownloaded(f"the download brought no {missing[0]}")
            for name in files:
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(folder) / name, into / name)
    except subprocess.TimeoutExpired as error:
        raise NotDownloaded(f"it was stopped after {limit:g} s") from error
    except OSError as error:
        raise NotDownloaded(str(error)) from error
