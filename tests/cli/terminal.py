"""The command line at a terminal of its own, where it is asked and answered as by a user."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from pathlib import Path

from forked import COMMAND_LINE, Forked


def at_terminal(words: list[str], cwd: Path, *answers: tuple[str, str], meanwhile=lambda: None) -> tuple[int, str]:
    """Runs the words; its exit code and all that was shown.

    Args:
        words: after `atentdsl`.
        cwd: where.
        answers: what is waited for on the screen, and what is typed then, one after another.
        meanwhile: called when the first question stands there, before it is answered.
    """
    ours, theirs = pty.openpty()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TERM": "dumb", "COLUMNS": "200"}
    process = Forked(COMMAND_LINE, words, cwd, environment, terminal=os.ttyname(theirs))
    try:
        shown, seen = "", 0
        for question, answer in answers:
            while question not in shown[seen:]:
                more = _read(ours, process)
                assert more, f"{question!r} was not asked: {shown}"
                shown += more
            seen = len(shown)
            meanwhile()
            time.sleep(0.3)  # nobody types sooner, and Python hears no interrupt just before it begins to read
            os.write(ours, answer.encode())
        while more := _read(ours, process):
            shown += more
        return process.wait(60), shown.replace("\r\n", "\n")
    finally:
        process.send_signal(signal.SIGKILL)
        os.close(theirs)
        os.close(ours)


def _read(terminal: int, process: Forked, seconds: float = 60.0) -> str:
    """What is shown next; nothing when the process has ended and all that it showed was read."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        ended = process.poll() is not None
        if select.select([terminal], [], [], 0.05)[0]:
            return os.read(terminal, 65536).decode(errors="replace")
        if ended:
            return ""
    raise AssertionError(f"nothing was shown for {seconds} s")
