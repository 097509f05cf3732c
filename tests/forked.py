"""Programs in processes of their own that have torch loaded already: importing it anew takes each one seconds.

A server, one for each test process, has imported what a run imports and done nothing with it, and forks for each. What
such a program does from there on it does itself, and it can be killed and sent signals like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["torch", "torch._dynamo", "torchvision", "atentdsl.cli", "atentdsl.evaluation"])

COMMAND_LINE = "-m atentdsl"


class Forked:
    """One program, as `subprocess.Popen` has it.

    Args:
        program: a script's path, or `COMMAND_LINE`.
        words: its arguments.
        cwd, env: as for `subprocess.Popen`.
        terminal: the path of the one that it is to have; without one what it prints and says is kept.
    """

    def __init__(
        self, program: str | Path, words: Sequence[str], cwd: Path, env: Mapping[str, str], terminal: str | None = None
    ) -> None:
        self._said = [tempfile.NamedTemporaryFile() for _ in range(2)]  # noqa: SIM115
        paths = [terminal] * 3 if terminal else [os.devnull, *(file.name for file in self._said)]
        self._process = _SERVER.Process(
            target=_become, args=(str(program), [str(word) for word in words], str(cwd), dict(env), paths)
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self._process.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked program", timeout)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed and what it said, when it has ended."""
        self.wait(timeout)
        out, said = (Path(file.name).read_text() for file in self._said)
        return out, said


def ran(
    program: str | Path, words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs to the end, as `subprocess.run` does."""
    process = Forked(program, words, cwd, env)
    out, said = process.communicate(timeout)
    return subprocess.CompletedProcess([str(program), *words], process.returncode, out, said)


def _become(program: str, words: list[str], cwd: str, env: dict[str, str], paths: list[str]) -> None:
    """In the process that was forked: what a fresh interpreter would find, then the program."""
    os.setsid()  # the first terminal that it opens is its own
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, path in enumerate(paths):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, buffering=1 if os.isatty(1) else -1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, errors="backslashreplace", buffering=1)  # noqa: SIM115
    if program == COMMAND_LINE:
        from atentdsl.__main__ import main

        sys.argv = ["atentdsl", *words]
        main()
    else:
        sys.argv = [program, *words]
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
