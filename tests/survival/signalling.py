"""A run that gets signals in a phase of its own choosing."""

from __future__ import annotations

import time

from forked import Forked
from survival.killing import ENVIRONMENT, command
from survival.phases import PHASES, Board


def signalled(tmp_path, phase, *numbers, words, pause=0.0):
    """A process that gets these signals when it enters the phase; what it printed and said, and how long it took."""
    board = tmp_path / "board"
    shared = Board(board)
    process = Forked(*command(*words, "--out", "runs", board=board), tmp_path, ENVIRONMENT)
    while not shared.read()[1][PHASES.index(phase)] and process.poll() is None:
        time.sleep(0.001)
    for number in numbers:
        process.send_signal(number)
        time.sleep(pause)
    begin = time.monotonic()
    out, said = process.communicate(timeout=120)
    return process, out, said, time.monotonic() - begin
