"""The command line, with the phase that it is in written where another process can read it at any moment.

    python phases.py BOARD run RECIPE ...

Nothing is changed but this: each phase's entry and exit are noted, and two moments are stretched to some milliseconds,
so that a signal can meet them: that between a checkpoint's sync and its rename, and the evaluation's beginning.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

PHASES = (
    "before the first step",
    "in a step",
    "in validation",
    "in a checkpoint write",
    "between sync and rename",
    "in evaluation",
    "elsewhere",
)
STRETCHED = 0.03
LAYOUT = struct.Struct(f"<q{len(PHASES)}q{len(PHASES)}d")


class Board:
    """The current phase, how often each was entered, and how long the last of each took, in shared memory."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(LAYOUT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), LAYOUT.size)

    def read(self):
        values = LAYOUT.unpack(self._memory[:])
        return values[0], list(values[1 : 1 + len(PHASES)]), list(values[1 + len(PHASES) :])

    def enter(self, phase: str) -> int:
        before, counts, seconds = self.read()
        number = PHASES.index(phase)
        counts[number] += 1
        self._memory[:] = LAYOUT.pack(number, *counts, *seconds)
        return before

    def leave(self, back: int, phase: str, took: float) -> None:
        _, counts, seconds = self.read()
        seconds[PHASES.index(phase)] = took
        self._memory[:] = LAYOUT.pack(back, *counts, *seconds)


def noted(board: Board, phase: str, function, stretch: float = 0.0):
    def wrapper(*args, **kwargs):
        back, begin = board.enter(phase), time.monotonic()
        # After the first step there is no way back to "before the first step".
        back = PHASES.index("elsewhere") if phase == "in a step" else back
        try:
            if stretch:
                time.sleep(stretch)
            return function(*args, **kwargs)
        finally:
            board.leave(back, phase, time.monotonic() - begin)

    return wrapper


def main() -> None:
    board = Board(Path(sys.argv[1]))
    board.enter("before the first step")
    from atentdsl import evaluation
    from atentdsl.cli import run
    from atentdsl.runtime import directory, loop, running, snapshot

    running.Running.advance = noted(board, "in a step", running.Running.advance)
    loop._Fit.measured = noted(board, "in validation", loop._Fit.measured)
    snapshot.write = noted(board, "in a checkpoint write", snapshot.write)
    evaluation.evaluation = noted(board, "in evaluation", evaluation.evaluation, STRETCHED)
    replace = directory.os.replace

    def renamed(source, target):
        if "checkpoints" in str(target):
            return noted(board, "between sync and rename", replace, STRETCHED)(source, target)
        return replace(source, target)

    directory.os.replace = renamed
    sys.argv = ["atentdsl", *sys.argv[2:]]
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
