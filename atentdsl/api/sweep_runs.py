"""What a sweep does for each of its runs: train or go on, evaluate, and say what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from atentdsl.api.finished import evaluation_of
from atentdsl.runtime.runs import Summary, found
from atentdsl.runtime.side_by_side import Task, Work

LOGS = "logs"
DIVERGED = 4


@attrs.frozen
class Failure:
    """A run that did not come to its end: which, the exit code, why, and the log that has all of it."""

    run: str
    code: int
    reason: str
    log: Path


@attrs.frozen
class Job:
    """One recipe with one seed; a run is its own if it has the sha256."""

    name: str
    recipe: str
    seed: int
    recipe_sha256: str

    @property
    def label(self) -> str:
        """As the user named it."""
        return f"{self.recipe} seed {self.seed}"


@attrs.define
class Doing:
    """A sweep at work.

    Attributes:
        folder: the sweep's.
        overrides, attacks, first: as the sweep was given them.
        shared: what every command of it gets, for the command line.
        environment: of the processes.
        wanted: how many runs there are to be.
        tell: is given a line for each that ends.
        failures, done, ended: what came of it so far.
    """

    folder: Path
    overrides: list[str]
    attacks: list[str]
    first: int | None
    shared: list[str]
    environment: dict[str, str]
    wanted: int
    tell: Callable[[str], None]
    failures: list[Failure] = attrs.Factory(list)
    done: int = 0
    ended: int = 0

    def work(self, job: Job) -> Work:
        """Trains, or goes on, or does nothing; then evaluates, if that is asked for and not done."""
        log = self.folder / LOGS / f"{job.name}-{job.recipe_sha256[:8]}-seed-{job.seed}.log"
        before = run = self.run(job)
        if run is not None and run.status == "diverged":
            return self.failed(job, DIVERGED, f"it diverged; remove {run.path} to train it again", log)
        if run is None or run.status != "finished":
            begin = _end(log)
            which = ["--resume", str(run.path)] if run is not None else self.anew(job)
            code = yield Task(_atentdsl("run", *which, *self.shared), log, self.threads(run))
            run = self.run(job)
            if code or run is None or run.status != "finished":
                why = _reason(log, begin) if code else f"{job.recipe} was changed meanwhile"
                return self.failed(job, code or 1, why, log)
        kept = evaluation_of(self.folder, self.attacks, self.first, run.path)
        if self.attacks and not kept.is_file():
            begin = _end(log)
            words = [word for name in self.attacks for word in ("--attack", name)]
            words += [] if self.first is None else ["--first", str(self.first)]
            words = _atentdsl("eval", str(run.path), *words, "--set", "evaluate.independent=true", *self.shared)
            if code := (yield Task(words, log, self.environment, kept)):
                return self.failed(job, code, f"its evaluation: {_reason(log, begin)}", log)
        try:
            reached = _reached(json.loads(kept.read_text(encoding="utf-8")) if self.attacks else run.evaluation)
        except (ValueError, LookupError, TypeError):  # code of the user's own may print too
            kept.unlink(missing_ok=True)
            return self.failed(job, 1, "its evaluation printed what is no report", log)
        self.done += 1
        self.ended += 1
        again = ", finished before" if before is not None and before.status == "finished" else ""
        self.tell(f"[{self.ended}/{self.wanted}] {job.label}: {reached}{again}")

    def threads(self, run: Summary | None) -> dict[str, str]:
        """The environment; where a run goes on, with its threads, on which its bits depend."""
        number = run and run.manifest.get("hardware", {}).get("torch_threads")
        return self.environment | ({"OMP_NUM_THREADS": str(number)} if number else {})

    def anew(self, job: Job) -> list[str]:
        """What begins the job's run."""
        overrides = [word for override in self.overrides for word in ("--set", override)]
        return [job.recipe, "--seed", str(job.seed), *overrides, "--out", str(self.folder), "--new"]

    def run(self, job: Job) -> Summary | None:
        """The job's run: the finished one, or else the newest."""
        own = [run for run in found(self.folder, job.name) if run.manifest["recipe_sha256"] == job.recipe_sha256]
        return max(own, key=lambda run: (run.status == "finished", run.manifest["started"]), default=None)

    def failed(self, job: Job, code: int, reason: str, log: Path) -> None:
        """Notes it, and says so."""
        self.ended += 1
        if code < 0:
            code, reason = 128 - code, f"it was ended by signal {-code}"
        self.failures.append(Failure(job.label, code, reason, log))
        self.tell(f"[{self.ended}/{self.wanted}] {job.label} failed with exit code {code}: {reason}")


def _atentdsl(*words: str) -> list[str]:
    return [sys.executable, "-m", "atentdsl", *words]


def _end(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _reason(log: Path, begin: int) -> str:
    """The last line that a program said of itself, of those from there on in its log; its last one else."""
    said = log.read_bytes()[begin:].decode(errors="replace").splitlines() if log.exists() else []
    lines = [line.strip() for line in said if line.strip() and not line.startswith("atentdsl: the log is")]
    told = [line for line in lines if line.startswith(("atentdsl: ", "error", "Error: "))]
    return next(iter([*told[-1:], *lines[-1:]]), "it said nothing").removeprefix("atentdsl: ").removeprefix("Error: ")


def _reached(evaluation: Any) -> str:
    """Clean and robust accuracy in a few words.

    >>> _reached({"clean_accuracy": 0.986, "attacks": {"pgd-20": {"robust_accuracy": 0.5}}})
    'clean 98.6 %, pgd-20 50.0 %'
    """
    shares = {"clean": evaluation["clean_accuracy"]}
    shares |= {name: attack["robust_accuracy"] for name, attack in evaluation["attacks"].items()}
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
