"""The command line at a terminal of its own, where it is asked and answered as by a user."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path


def at_terminal(words: list[str], cwd: Path, *answers: tuple[str, str], meanwhile=lambda: None) -> tuple[int, str]:
    """Runs the words; its exit code and all that was shown.

    Args:
        words: after `atentdsl`.
        cwd: where.
        answers: what is waited for on the screen, and what is typed then, one after another.
        meanwhile: called when the first question stands there, before it is answered.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "atentdsl", *words],
        cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TERM": "dumb", "COLUMNS": "200"},
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    try:
        shown, seen = "", 0
        for question, answer in answers:
            while question not in shown[seen:]:
                more = _read(ours)
                assert more, f"{question!r} was not asked: {shown}"
                shown += more
            seen = len(shown)
            meanwhile()
            time.sleep(0.3)  # nobody types sooner, and Python hears no interrupt just before it begins to read
            os.write(ours, answer.encode())
        while more := _read(ours):
            shown += more
        return process.wait(60), shown.replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(terminal: int, seconds: float = 60.0) -> str:
    """What is shown next; nothing when the process has closed the terminal."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                return os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # how Linux says that nobody has it open any more
                return ""
    raise AssertionError(f"nothing was shown for {seconds} s")
