"""Runs that are killed at a random moment and gone on with, beside one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import torch
from forked import COMMAND_LINE, Forked, ran
from survival.phases import PHASES, STRETCHED, Board

from atentdsl import cli
from atentdsl.runtime import checkpoint, snapshot

TIMES = ("seconds", "images_per_second")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def command(*words: str, board: Path | None = None) -> tuple[str, list[str]]:
    """A program and its arguments: the command line, or what notes its phases on a board."""
    if board is None:
        return COMMAND_LINE, list(words)
    return str(Path(__file__).with_name("phases.py")), [str(board), *words]


def finished(words: tuple[str, list[str]], cwd: Path) -> Path:
    """Runs to the end; the run's directory."""
    done = ran(*words, cwd, ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return cwd / done.stdout.splitlines()[-1]


def resumed(run: Path, *words: str) -> int:
    """Goes on with the run in this process, which is as far from the one that was killed, and has torch loaded."""
    torch.set_num_threads(1)
    return cli.run(["run", "--resume", str(run), *words])


def without_times(line: dict) -> dict:
    return {name: value for name, value in line.items() if name not in TIMES}


def outcome(run: Path) -> dict:
    """All that a run ended with, but for times: tensors as bytes."""
    (last,) = snapshot.listed(run / "checkpoints")
    tensors, texts = checkpoint.read(last, sealed=True)
    content = snapshot.read(last)
    best, kept = checkpoint.read(run / "checkpoints/best.safetensors", sealed=True)
    return {
        "last": (last.name, {name: bytes_of(t) for name, t in tensors.items()}, texts["identity"]),
        "numbers": {n: content[n] for n in ("step", "epoch", "taken", "rollbacks")},
        "optimizer": json.dumps(content["optimizer"]["param_groups"], sort_keys=True),
        "lines": [without_times(line) for line in content["lines"]],
        "metrics": [without_times(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()],
        "best": ({name: bytes_of(t) for name, t in best.items()}, kept),
        "evaluation": json.loads((run / "evaluation.json").read_text()),
        "files": sorted(str(p.relative_to(run)) for p in run.rglob("*")),
    }


def bytes_of(tensor) -> tuple:
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().view(-1).numpy().tobytes()


def same(one: dict, other: dict) -> None:
    """A run and another ended alike."""
    for name in one:
        assert one[name] == other[name], f"{name} differ"


class Killer:
    """Kills runs of one command, each at a moment drawn anew: a phase, an entry into it, and a time within it."""

    def __init__(self, words: list[str], folder: Path, seed: int) -> None:
        self.words, self.folder, self.draw = words, folder, random.Random(seed)
        board = folder / "board-whole"
        self.whole = outcome(finished(command(*words, "--out", "whole", board=board), folder))
        _, self.counts, self.seconds = Board(board).read()
        self.number = 0

    def kill_once(self, phase: str) -> tuple[str, Path]:
        """Aims at the phase and kills; the phase in which the process died, and the folder that it left runs in."""
        aimed = PHASES.index(phase)
        while True:
            self.number += 1
            out, board = self.folder / f"out-{self.number}", self.folder / f"board-{self.number}"
            entry = self.draw.randint(1, max(1, self.counts[aimed]))
            share = self.draw.random()
            shared = Board(board)
            process = Forked(*command(*self.words, "--out", str(out), board=board), self.folder, ENVIRONMENT)
            while shared.read()[1][aimed] < entry and process.poll() is None:
                time.sleep(0.0005)
            if phase == "before the first step":
                time.sleep(share * 0.5)  # about as long as it is
            else:
                # A checkpoint's write is over, for this aim, where the stretched moment before its rename begins.
                stretched = STRETCHED if phase == "in a checkpoint write" else 0.0
                time.sleep(share * max(0.0, self.seconds[aimed] - stretched))
            process.send_signal(signal.SIGKILL)
            if process.wait() == -signal.SIGKILL:
                return PHASES[shared.read()[0]], out
            # It ended before it was killed, which is no trial.

    def gone_on_with(self, out: Path) -> Path:
        """Resumes what is in the folder, or begins where nothing had begun; the run that is finished then."""
        runs = [p for p in out.glob("*/*") if not p.name.startswith(".")]
        if not runs:
            return finished(command(*self.words, "--out", str(out)), self.folder)
        (run,) = runs
        if (run / "evaluation.json").exists():
            return run
        assert resumed(run, *cadence(self.words)) == 0
        return run


def cadence(words: list[str]) -> list[str]:
    """The part of the command that says when checkpoints are written."""
    return words[words.index("--checkpoint-steps") :][:2]
