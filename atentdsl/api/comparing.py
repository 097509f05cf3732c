"""Comparing finished runs: one row a recipe, means and deviations over its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from atentdsl.api.finished import Finished, fingerprint, finished

# What an attack's report says of its outcome; the rest is its settings.
OUTCOME = {"attacked", "robust_accuracy", "robust_interval"}


def compare(
    folders: Sequence[str | Path], *, out: str | Path | None = None, command: str | None = None
) -> dict[str, Any]:
    """Clean and robust accuracies of finished runs, a row a recipe, with mean and sample deviation over its seeds.

    Two recipes of one name get a row each, and so do runs of one recipe that trained in another precision, for other
    steps or on other images. One attack's name under different settings, or on other images, gets a column each. What
    differs is said in `notes`. Loads no torch.

    Args:
        folders: sweeps, runs, or folders of runs. Of a sweep that names attacks their evaluation counts.
        out: writes `out.md`, `out.csv`, `out.png` and `out.svg`.
        command: what makes the table, for it to be named there.

    Returns:
        `rows`, each with `accuracies` by the names of `columns`, which have the `settings`; shares are fractions, and
        `deviation`, of the n - 1 kind, is None for one seed. `notes`, `machines`, `made_by`, `command`.

    Raises:
        NotComparable: there is no finished run.
        StorageFailed: a file cannot be written.

    >>> compare(["nowhere"])
    Traceback (most recent call last):
        ...
    atentdsl.runtime.evaluation_errors.NotComparable: no run in nowhere: name a sweep, a run or a folder of runs
    """
    from atentdsl.reporting import comparison

    notes: list[str] = []
    made_by: list[str] = []
    runs = [run for folder in folders for run in finished(Path(folder), notes, made_by)]
    found = _table(_once_a_seed(runs, notes), notes)
    found |= {"notes": notes, "made_by": list(dict.fromkeys(made_by)), "command": command}
    if out is not None:
        comparison.write(found, Path(out))
    return found


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation (n - 1) of one number a seed; None where there is one seed.

    >>> spread([0.5, 0.75, 1.0])
    {'mean': 0.75, 'deviation': 0.25, 'values': [0.5, 0.75, 1.0]}
    >>> spread([0.5])["deviation"] is None
    True
    """
    import statistics

    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "deviation": deviation, "values": list(values)}


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The keys that do not have one value in all of them, with their values; None where one is missing.

    >>> differing([{"radius": 0.1, "steps": 20}, {"radius": 0.2, "steps": 20, "loss": "margin"}])
    {'radius': [0.1, 0.2], 'loss': [None, 'margin']}
    """
    keys = dict.fromkeys(key for one in settings for key in one)
    every = {key: [one.get(key) for one in settings] for key in keys}
    return {key: values for key, values in every.items() if any(value != values[0] for value in values)}


def _once_a_seed(runs: Iterable[Finished], notes: list[str]) -> list[Finished]:
    """The newest run of each recipe and seed: a seed that was run twice is no second seed."""
    newest: dict[Any, Finished] = {}
    for run in runs:
        other = newest.get(place := (run.key, run.seed))
        if other is not None and other.path.resolve() != run.path.resolve():
            older, run = sorted((other, run), key=lambda one: str(one.manifest["started"]))
            notes.append(f"{older.path} is left out: {run.path} is a newer run of the same recipe and seed")
        newest[place] = run
    return list(newest.values())


def _table(runs: Sequence[Finished], notes: list[str]) -> dict[str, Any]:
    from atentdsl.runtime.errors import NotComparable

    if not runs:
        raise NotComparable("there is no finished run: " + "; ".join(notes))
    cells = [(run, *cell) for run in runs for cell in _cells(run)]
    columns = _columns([(name, settings) for _, name, settings, _ in cells], notes)
    rows = []
    for key in dict.fromkeys(run.key for run in runs):
        own = sorted((run for run in runs if run.key == key), key=lambda run: run.seed)
        accuracies = {}
        for column in columns:
            there = [(run, share) for run, *of, share in cells if of == [column["of"], column["settings"]]]
            shares = {run.seed: share for run, share in there if run.key == key}
            if shares:
                seeds = sorted(shares)
                accuracies[column["name"]] = {**spread([shares[seed] for seed in seeds]), "seeds": seeds}
        made = own[0].manifest
        rows.append(
            {
                "recipe": key[0],
                "sha256": key[1],
                "seeds": [run.seed for run in own],
                "accuracies": accuracies,
                "seconds": spread([run.seconds for run in own]),
                "network": made["model"],
                "data": made["data"],
                "precision": own[0].precision,
                "runs": [str(run.path) for run in own],
            }
        )
        if mixed := _told([run.machine for run in own]):
            notes.append(f"the runs of `{key[0]}` are not of one machine and one set of versions: {mixed}")
    _tell_apart(rows, runs, notes)
    machines = {fingerprint(run.machine): run.machine for run in runs}
    return {"rows": rows, "columns": columns, "machines": list(machines.values())}


def _cells(run: Finished) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Each accuracy with its name and all that it depends on but the seed."""
    told = run.evaluation
    split = told.get("split")
    images = {
        "data": told.get("data", run.manifest["data"]),
        "split": split,
        "n": told.get("n"),
        "images": (run.manifest.get("data_sha256", {}).get(split) or "")[:12],
        "precision": told.get("precision"),
    }
    yield "clean", images, told["clean_accuracy"]
    settings = {
        name: {key: value for key, value in found.items() if key not in OUTCOME}
        for name, found in told["attacks"].items()
    }
    for name, found in told["attacks"].items():
        yield name, {**settings[name], **images}, found["robust_accuracy"]
    for worst in told.get("worst", []):
        if len(worst["attacks"]) > 1:
            of = {"norm": worst["norm"], "radius": worst["radius"], "attacks": worst["attacks"]}
            of["their settings"] = fingerprint([settings[name] for name in worst["attacks"]])
            yield "worst", {**of, **images}, worst["robust_accuracy"]


def _columns(cells: Sequence[tuple[str, dict[str, Any]]], notes: list[str]) -> list[dict[str, Any]]:
    """A column for each name and its settings, told apart where a name has several: unlike things are not averaged."""
    # in the order they were met in, between the clean accuracy and the worst
    names = sorted(dict.fromkeys(name for name, _ in cells), key=lambda name: (name != "clean", name == "worst"))
    columns = []
    for name in names:
        several = list({fingerprint(settings): settings for of, settings in cells if of == name}.values())
        for suffix, settings in zip(_suffixes(several), several, strict=True):
            columns.append({"name": name + suffix, "of": name, "settings": settings})
        if len(several) > 1:
            notes.append(f"`{name}` is not the same in all runs and has {len(several)} columns: {_told(several)}")
    return columns


def _suffixes(several: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells settings of one name apart behind it: their balls, else numbers.

    >>> _suffixes([{"norm": "linf", "radius": 0.15}, {"norm": "l2", "radius": 0.7}])
    [' linf 0.15', ' l2 0.7']
    >>> _suffixes([{"norm": "l2", "radius": 0.7, "steps": 5}, {"norm": "l2", "radius": 0.7, "steps": 9}])
    [' [1]', ' [2]']
    """
    if len(several) == 1:
        return [""]
    balls = {f" {one['norm']} {one['radius']:.4g}": one for one in several if "norm" in one}
    return list(balls) if len(balls) == len(several) else [f" [{number}]" for number in range(1, len(several) + 1)]


def _tell_apart(rows: Sequence[dict[str, Any]], runs: Sequence[Finished], notes: list[str]) -> None:
    """Recipes that share a name get their sha256 behind it."""
    identities = {run.key: run.identity for run in runs}
    for name in dict.fromkeys(row["recipe"] for row in rows):
        own = [row for row in rows if row["recipe"] == name]
        if len(own) > 1:
            told = _told([identities[name, row["sha256"]] for row in own])
            notes.append(f"{len(own)} recipes are named `{name}` and have a row each: {told}")
            for row in own:
                row["recipe"] = f"{name} [{row['sha256']}]"


def _told(settings: Sequence[Mapping[str, Any]]) -> str:
    told = {key: ["none" if v is None else str(v) for v in values] for key, values in differing(settings).items()}
    return "; ".join(f"{key} {', '.join(dict.fromkeys(values))}" for key, values in told.items())
