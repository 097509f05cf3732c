"""Sweeps: recipes trained with several seeds each, in processes side by side, and compared.

<out>/sweep.json            what is swept; there before the first run
      <name>/<id>/          the runs
      logs/                 what each run said
      evaluations/          each run under the sweep's attacks, if it has some
      comparison.*          the table, as Markdown, CSV, PNG and SVG
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.api.beginnings import named
from atentdsl.api.comparing import compare
from atentdsl.api.finished import SWEEP
from atentdsl.api.recipes import load

if TYPE_CHECKING:
    from atentdsl.api.sweep_runs import Failure, Job

TABLE = "comparison"
STOPPING = b"atentdsl: stopping the runs at their next steps, with checkpoints; a second signal stops at once\n"
# What makes a sweep another one.
ASKED = ("overrides", "device")


@attrs.frozen
class Sweep:
    """What came of a sweep.

    Attributes:
        path: its folder.
        failures: the runs that did not come to their end.
        comparison: as `compare` gives it; None where no run is finished.
    """

    path: Path
    failures: list[Failure]
    comparison: dict[str, Any] | None = attrs.field(repr=False)


def sweep(
    recipes: Sequence[str | Path],
    *,
    seeds: int | Sequence[int] = 3,
    overrides: Sequence[str] = (),
    attacked_by: Sequence[str] = (),
    first: int | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    user_code: bool = True,
    command: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Sweep:
    """Trains every recipe with every seed, each in a process of its own, and compares them.

    What is finished is not done again, and what was interrupted goes on to the same bits. With more recipes or seeds
    than before a sweep grows by them. A run that fails stops no other. A run that diverged would do so again and is not
    repeated. SIGINT and SIGTERM stop all of them with checkpoints.

    Args:
        recipes: paths, or names of shipped recipes.
        seeds: how many, from 0 on, or which.
        overrides: as for `load`, for all recipes.
        attacked_by: as for `evaluate`: every run is evaluated by these, each on every image it gets right, and these
            figures are compared, not those of its `evaluation.json`. They may be others when a sweep is gone on with.
        first: of how many images, the first ones; all where not given.
        out: the sweep's folder; else one named after the recipes in `runs/sweeps`.
        jobs: runs at work at once; None for as many as there are cores, with OMP_NUM_THREADS threads each, one where
            it is not set, and one at a time on a GPU.
        data_root, device, user_code: as for `train`.
        command: what goes on with the sweep and makes its table, for it to be named there.
        tell: is given a line for each run that ends.

    Raises:
        RecipeError: everything that is wrong with a recipe, before any is trained.
        ValueError: there is no recipe, no seed or no job; or `first` without attacks.
        CannotResume: the folder's sweep is another one.
        RunBusy: another process is at work on it.
        SweepInterrupted: a signal asked for it. A KeyboardInterrupt.
        StorageFailed: a file cannot be written.
        DeviceUnavailable: the device is not there.

    >>> sweep(["sgd"], seeds=0)
    Traceback (most recent call last):
        ...
    ValueError: a sweep has a recipe, a seed and a job at least
    """
    from atentdsl.api.sweep_runs import Doing
    from atentdsl.runtime import lock
    from atentdsl.runtime.errors import NotComparable, SweepInterrupted
    from atentdsl.runtime.interruption import interruptions_heeded
    from atentdsl.runtime.side_by_side import side_by_side

    numbers = list(range(seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    if not recipes or not numbers or (jobs is not None and jobs < 1):
        raise ValueError("a sweep has a recipe, a seed and a job at least")
    wanted = _jobs(recipes, overrides, numbers)
    if first is not None and (first < 1 or not attacked_by):
        raise ValueError("the first images are those of a sweep's own attacks: name one, and one image at least")
    folder = Path("runs/sweeps") / _named(wanted) if out is None else Path(out)
    threads, most = _shared(jobs, device, len(wanted))
    environment = os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    shared = [*(["--data-root", str(data_root)] if data_root else []), "--device", device]
    shared += [] if user_code else ["--no-user-code"]
    settings = {
        "seeds": numbers,
        "overrides": list(overrides),
        "attacks": list(attacked_by),
        "first": first,
        "device": device,
        "command": command,
        "jobs": [attrs.asdict(job) for job in wanted],
    }
    doing = Doing(folder, list(overrides), list(attacked_by), first, shared, environment, len(wanted), tell)
    with interruptions_heeded(STOPPING) as asked:
        held = _begun(folder, settings)
        interrupted = True
        try:
            with suppress(KeyboardInterrupt):
                interrupted = not side_by_side([doing.work(job) for job in wanted], most, asked)
        finally:
            lock.release(held)
    if interrupted:
        raise SweepInterrupted(folder, doing.done, len(wanted), command)
    comparison = None
    with suppress(NotComparable):
        comparison = compare([folder], out=folder / TABLE, command=command)
    return Sweep(folder, doing.failures, comparison)


def _jobs(recipes: Sequence[str | Path], overrides: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """The recipes' jobs in turns, seed by seed, so that a sweep that is stopped has a figure of each; none twice.

    Those that begin from another recipe's run come last: it may be there by then.
    """
    from atentdsl.api.sweep_runs import Job

    jobs: dict[str, Job] = {}
    for seed in seeds:
        loaded = [(source, load(source, [*overrides, f"recipe.seed={seed}"])) for source in recipes]
        for source, checked in sorted(loaded, key=lambda pair: named(pair[1]) is not None):
            sha256 = hashlib.sha256(checked.resolved.encode()).hexdigest()
            jobs.setdefault(sha256, Job(checked.name, str(source), seed, sha256))
    return list(jobs.values())


def _named(jobs: Sequence[Job]) -> str:
    """A folder's name that tells the recipes, as far as it can.

    >>> from atentdsl.api.sweep_runs import Job
    >>> _named([Job("sgd", "sgd", 0, ""), Job("sgd", "sgd", 1, ""), Job("mart", "mart", 0, "")])
    'sgd-mart'
    """
    names = list(dict.fromkeys(job.name for job in jobs))
    return "-".join(names) if len(names) <= 3 else f"{names[0]}-and-{len(names) - 1}-more"


def _shared(jobs: int | None, device: str, wanted: int) -> tuple[int | None, int]:
    """How many threads each run gets, None for as many as torch likes, and how many runs there are at once.

    Runs whose threads wait for one another's cores are a hundred times slower: several at once get one thread each.
    """
    own = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(own) if own.isdecimal() and int(own) > 0 else None
    if jobs is None:
        from atentdsl.runtime.health.allowance import cores

        jobs = 1 if _on_gpu(device) else max(1, int(cores()) // (threads or 1))
    jobs = min(jobs, wanted)
    return threads or (1 if jobs > 1 else None), jobs


def _on_gpu(device: str) -> bool:
    if device == "cpu":
        return False
    from atentdsl.runtime import devices

    return devices.choose(device).type == "cuda"


def _begun(folder: Path, settings: Mapping[str, Any]) -> int:
    """Takes the folder for this process, and writes what is swept or asks it to be what is there; the lock."""
    from atentdsl.runtime import lock
    from atentdsl.runtime.directory import write_atomically
    from atentdsl.runtime.errors import StorageFailed

    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = lock.hold(folder)
    except OSError as error:
        raise StorageFailed(folder, (error.strerror or str(error)).lower()) from error
    try:
        if (folder / SWEEP).exists():
            is_new = _agree(folder, settings)
        elif foreign := sorted(path.name for path in folder.iterdir() if path.name != lock.LOCK):
            reason = f"it holds `{foreign[0]}`, which is of no sweep: name an empty folder by --out"
            raise StorageFailed(folder, reason)
        else:
            is_new = True
        if is_new:
            text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
            write_atomically(folder / SWEEP, text.encode())
    except BaseException:
        lock.release(held)
        raise
    return held


def _agree(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Asks a sweep to be the one that the folder was begun with, or one that has it in it; whether it is another."""
    from atentdsl.runtime.errors import CannotResume

    mend = "ask for that again, or name another folder by --out"
    try:
        before = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
        told = [f"{key} {before[key]}, not {settings[key]}" for key in ASKED if before[key] != settings[key]]
        old, new = ({job["recipe_sha256"]: job["recipe"] for job in one["jobs"]} for one in (before, settings))
        fewer = not set(before["seeds"]) <= set(settings["seeds"])
    except (ValueError, KeyError, TypeError) as error:
        raise CannotResume(folder, f"its {SWEEP} cannot be read; name another folder by --out") from error
    if fewer:
        told.append(f"seeds {before['seeds']}, not {settings['seeds']}, and more can be added, none left out")
    if told:
        raise CannotResume(folder, f"the sweep was begun with {'; '.join(told)}: {mend}")
    if left_out := [recipe for sha256, recipe in old.items() if sha256 not in new]:
        names = ", ".join(dict.fromkeys(left_out))
        changed = f"{names} as it was before it was changed" if set(left_out) <= set(new.values()) else names
        why = f"the sweep was begun with {changed}, which is not asked for now; more can be added, none left out"
        raise CannotResume(folder, f"{why}: {mend}")
    return old.keys() != new.keys() or any(before.get(key) != settings[key] for key in ("attacks", "first"))
