"""One process at a time in a run's directory: a lock that ends with its holder, however that one dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from atentdsl.runtime.errors import RunBusy

__all__ = ["LOCK", "hold", "is_held", "release"]

LOCK = ".lock"
# Whoever only asks whether the lock is held holds it for a moment.
PATIENCE = 1.0


def hold(folder: Path) -> int:
    """Takes the folder's lock; the descriptor to give to `release`.

    Raises:
        RunBusy: another process holds it.
        OSError: the folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     held = hold(Path(folder))
    ...     print(is_held(Path(folder)))
    ...     release(held)
    ...     print(is_held(Path(folder)))
    True
    False
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError as error:
            if time.monotonic() > limit:
                os.close(descriptor)
                raise RunBusy(folder) from error
        except OSError:
            # A file system without locks, such as some network ones: one run there is better than none.
            return descriptor
        time.sleep(0.02)


def release(descriptor: int) -> None:
    """Gives the lock back."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process that was forked has the descriptor too
    with contextlib.suppress(OSError):
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a living process is at work in the folder."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
