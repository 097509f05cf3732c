"""Programs side by side, in processes of their own: only so many at once, and stopped gently."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import attrs

from atentdsl.runtime.errors import StorageFailed

__all__ = ["Task", "Work", "side_by_side"]

BETWEEN_LOOKS = 0.05
# What is at work when even a second signal does not stop it is ended.
PATIENCE = 10.0


@attrs.frozen
class Task:
    """A program to run.

    Attributes:
        words: its path and arguments.
        log: the file that what it says is appended to, and what it prints unless `out` is given.
        environment: its whole environment; this process's where None.
        out: the file that what it prints becomes, whole, and only if it ends with exit code 0.
    """

    words: Sequence[str]
    log: Path
    environment: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    out: Path | None = None


Work = Generator[Task, int, None]
"""Tasks one after another: each is yielded, and its exit code is sent back."""


def side_by_side(works: Sequence[Work], most: int, asked: Callable[[], bool] = lambda: False) -> bool:
    """Does all works, at most `most` of their tasks at once, each work's in its order; whether all came to their end.

    When `asked` says so, or an exception ends it, what runs gets SIGTERM, which a run of this package answers with a
    checkpoint, and is waited for. The processes are sessions of their own: Ctrl-C at the terminal does not reach them,
    which would be a second signal, at which a run stops without one.

    Raises:
        StorageFailed: a log or an output cannot be written.

    >>> import sys, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     def work(number):
    ...         code = yield Task([sys.executable, "-c", f"exit({number})"], Path(folder) / "log")
    ...         print(f"{number} ended with {code}")
    ...     side_by_side([work(0), work(3)], most=1)
    0 ended with 0
    3 ended with 3
    True
    """
    waiting = deque(works)
    alive: list[tuple[_Process, Work]] = []
    try:
        while waiting or alive:
            if asked():
                return False
            while waiting and len(alive) < most:
                _go_on(waiting.popleft(), None, alive)
            ended = [pair for pair in alive if pair[0].poll() is not None]
            for pair in ended:
                alive.remove(pair)
                _go_on(pair[1], pair[0].close(), alive)
            if not ended:
                time.sleep(BETWEEN_LOOKS)
        return True
    finally:
        _stop([process for process, _ in alive])


def _go_on(work: Work, code: int | None, alive: list[tuple[_Process, Work]]) -> None:
    """Begins the work's next task, if there is one."""
    with suppress(StopIteration):
        task = next(work) if code is None else work.send(code)
        alive.append((_Process(task), work))


def begun(words: Sequence[str], out: IO[bytes], said: IO[bytes], environment: Mapping[str, str] | None) -> _Popen:
    """A process of its own session, which reads nothing."""
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=out, stderr=said, env=environment, start_new_session=True
    )


_Popen = subprocess.Popen[bytes]


class _Process:
    """A task that runs."""

    def __init__(self, task: Task) -> None:
        self._out = task.out
        self._partial = task.out and task.out.with_name(
            f".{task.out.name}.{os.getpid()}-{secrets.token_hex(4)}.partial"
        )
        try:
            for path in filter(None, (task.log, task.out)):
                path.parent.mkdir(parents=True, exist_ok=True)
            with task.log.open("ab") as said:
                if self._partial is None:
                    self._process = begun(task.words, said, said, task.environment)
                else:
                    with self._partial.open("xb") as out:
                        self._process = begun(task.words, out, said, task.environment)
        except OSError as error:
            raise StorageFailed(task.log, (error.strerror or str(error)).lower()) from error

    def poll(self) -> int | None:
        return self._process.poll()

    def signal(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def close(self, within: float | None = None) -> int:
        """The exit code, once it has ended; what it printed gets its name, or is put away."""
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._out is not None and self._partial is not None:
            if code == 0:
                os.replace(self._partial, self._out)
            self._partial.unlink(missing_ok=True)
        return code


def _stop(processes: Sequence[_Process]) -> None:
    """Stops them with checkpoints; at a further interrupt at once."""
    for process in processes:
        process.signal()
    try:
        for process in processes:
            process.close()
    except KeyboardInterrupt:
        for process in processes:
            process.signal()
        for process in processes:
            process.close(within=PATIENCE)
        raise
