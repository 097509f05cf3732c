"""Finished runs as they are compared: what each is, but for its seed, and what it reached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.api.subjects import GIVEN

if TYPE_CHECKING:
    from atentdsl.runtime.runs import Summary

SWEEP, EVALUATIONS = "sweep.json", "evaluations"


@attrs.frozen
class Finished:
    """A finished run: what it is, but for its seed, and what it reached."""

    path: Path
    name: str
    seed: int
    identity: dict[str, Any]
    manifest: dict[str, Any]
    evaluation: dict[str, Any]
    seconds: float

    @property
    def key(self) -> tuple[str, str]:
        """Its recipe: the name, and a hash of what else it is."""
        return self.name, fingerprint(self.identity)

    @property
    def precision(self) -> str:
        """What it trained in."""
        return _precision(self.manifest)

    @property
    def machine(self) -> dict[str, Any]:
        """Versions, device and processor."""
        hardware = self.manifest.get("hardware", {})
        gpus = ", ".join(str(gpu.get("name", gpu)) for gpu in hardware.get("gpus", []))
        told = {"processor": hardware.get("cpu"), "threads": hardware.get("torch_threads"), "gpus": gpus or None}
        return {**self.manifest["versions"], "device": self.manifest["device"], **told}


def fingerprint(settings: Any) -> str:
    """The beginning of a sha256 of what JSON can say, whatever the order of its keys.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]


def finished(folder: Path, notes: list[str], made_by: list[str]) -> Iterator[Finished]:
    """The finished runs of a sweep, of a folder of runs, or the one that the folder is.

    Args:
        folder: of a sweep that names attacks their evaluation is what a run reached.
        notes: gets a line for each run that is left out, with why.
        made_by: gets the commands that made the runs.

    Raises:
        NotComparable: there is no run, or a file of one cannot be read.
    """
    from atentdsl.runtime import runs
    from atentdsl.runtime.directory import REQUIRED
    from atentdsl.runtime.errors import NotComparable

    sweep: dict[str, Any] = {}
    if all((folder / name).is_file() for name in REQUIRED):
        found = [_summary(folder)]
    elif (folder / SWEEP).is_file():
        sweep = _json(folder / SWEEP)
        try:
            jobs = [job["recipe_sha256"] for job in sweep["jobs"]]
        except (KeyError, TypeError) as error:
            raise NotComparable(f"{folder / SWEEP} is of no sweep") from error
        own = [run for run in runs.found(folder) if run.manifest["recipe_sha256"] in jobs]
        found = sorted(own, key=lambda run: jobs.index(run.manifest["recipe_sha256"]))
        made_by.extend(filter(None, [sweep.get("command")]))
    else:
        below = [path.parent for path in sorted(folder.glob(f"*/{REQUIRED[0]}"))]
        found = [*runs.found(folder), *(_summary(p) for p in below if all((p / name).is_file() for name in REQUIRED))]
    if not found:
        raise NotComparable(f"no run in {folder}: name a sweep, a run or a folder of runs")
    for run in found:
        evaluation = run.evaluation
        if run.status != "finished" or evaluation is None:
            notes.append(f"{run.path} is left out: it is {run.status}")
            continue
        if sweep.get("attacks"):
            path = evaluation_of(folder, sweep["attacks"], sweep.get("first"), run.path)
            if not path.is_file():
                notes.append(f"{run.path} is left out: it was not evaluated by the sweep's attacks")
                continue
            evaluation = _json(path)
        if run.manifest["model"] == GIVEN:
            notes.append(f"{run.path} is left out: it trained a network of the caller's own, which nothing identifies")
            continue
        if not sweep:
            made_by.append(" ".join(run.manifest["command"] or ["`train` in Python"]))
        yield _identified(run, evaluation)


def evaluation_of(sweep: Path, attacks: Sequence[str], first: int | None, run: Path) -> Path:
    """The file of a sweep with a run's evaluation by these attacks on so many images; other attacks, another folder.

    >>> print(evaluation_of(Path("sweep"), ["fgsm", "autoattack"], 1000, Path("sweep/sgd/20260102-030405")))
    sweep/evaluations/d0679f8a/sgd/20260102-030405.json
    """
    return sweep / EVALUATIONS / fingerprint([list(attacks), first]) / run.parent.name / f"{run.name}.json"


def _identified(run: Summary, evaluation: dict[str, Any]) -> Finished:
    import tomllib

    from atentdsl.runtime.directory import METRICS, RECIPE

    tables = tomllib.loads((run.path / RECIPE).read_text(encoding="utf-8"))
    tables["recipe"].pop("seed", None)
    made = run.manifest
    identity = dict(_flat(tables))
    identity |= {
        "max_steps": made.get("max_steps"),
        "precision of training": _precision(made),
        "training images": made.get("data_sha256", {}).get("training"),
        # those of another recipe differ from seed to seed, as random ones do
        "initial weights": made.get("init", {}).get("values_sha256") or made.get("init", {}).get("sha256"),
    }
    lines = (run.path / METRICS).read_text(encoding="utf-8").splitlines() if (run.path / METRICS).is_file() else []
    seconds = sum(json.loads(line).get("seconds", 0.0) for line in lines)
    return Finished(run.path, tables["recipe"]["name"], made["seed"], identity, made, evaluation, seconds)


def _precision(made: Mapping[str, Any]) -> str:
    return str(made.get("policy", {}).get("precision", "float32"))


def _summary(path: Path) -> Summary:
    from atentdsl.runtime import runs
    from atentdsl.runtime.errors import NotComparable

    try:
        return runs.summary(path)
    except (OSError, ValueError) as error:
        raise NotComparable(f"{path} cannot be read: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    from atentdsl.runtime.errors import NotComparable

    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise NotComparable(f"{path} cannot be read: {error}") from error


def _flat(tables: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables by dotted keys."""
    if isinstance(tables, dict):
        for name, value in tables.items():
            yield from _flat(value, f"{key}.{name}" if key else name)
    else:
        yield key, tables
