"""The files of accuracy curves: numbers as JSON and CSV, and a figure each for radius, steps and restarts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from atentdsl.reporting import figures
from atentdsl.runtime.directory import write_atomically
from atentdsl.runtime.errors import StorageFailed

__all__ = ["FILES", "csv", "require_room", "write"]

AXES = {
    "epsilon": ("radius ({norm}), inputs in [0, 1]", "symlog"),
    "steps": ("steps", "log"),
    "restarts": ("restarts", "linear"),
}
NUMBERS, TABLE = "curves.json", "curves.csv"
FILES = (NUMBERS, TABLE, *(f"{axis}.{ending}" for axis in AXES for ending in ("png", "svg")))
"""All that is written."""


def require_room(folder: Path) -> None:
    """Asks for a folder that is not there, is empty, or holds curves and nothing else: those are written over.

    Raises:
        StorageFailed: it is anything else; says what to do.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     require_room(Path(folder))
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    if not folder.is_dir():
        raise StorageFailed(folder, "it is no folder: name another by --curves")
    there = sorted(path.name for path in folder.iterdir())
    foreign = [name for name in there if name not in FILES]
    if foreign or (there and NUMBERS not in there):
        found = (foreign or there)[0]
        raise StorageFailed(folder, f"it holds `{found}`, which is of no curves: name an empty folder by --curves")


def csv(report: Mapping[str, Any]) -> str:
    """All points, a line each, accuracies as fractions.

    >>> attack = {"norm": "linf", "radius": 0.1, "steps": 50, "step_size": 0.005, "loss": "cross_entropy"}
    >>> attack |= {"start": "uniform", "restarts": 1}
    >>> point = {"at": 50, "n": 8, "stands": 4, "accuracy": 0.5, "low": 0.157, "high": 0.843, "attack": attack}
    >>> print(csv({"curves": {"steps": {"points": [point]}}}), end="")
    curve,at,n,stands,accuracy,low,high,norm,radius,steps,step_size,loss,start,restarts
    steps,50,8,4,0.5,0.157,0.843,linf,0.1,50,0.005,cross_entropy,uniform,1
    """
    own = ("at", "n", "stands", "accuracy", "low", "high")
    attack = ("norm", "radius", "steps", "step_size", "loss", "start", "restarts")
    lines = [",".join(("curve", *own, *attack))]
    for name, curve in report["curves"].items():
        for point in curve["points"]:
            cells = [name, *(point[key] for key in own), *(point["attack"][key] for key in attack)]
            lines.append(",".join(map(str, cells)))
    return "\n".join(lines) + "\n"


def write(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes `curves.json`, `curves.csv` and the figures, with 95 % bands; the files.

    Args:
        report: `curves` by name, and the settings: `norm`, `radius`, `n`, `split`, `seed`.
        folder: is made where it is not there.

    Raises:
        StorageFailed: the folder holds other things, or a file cannot be written.
        ImportError: matplotlib is not installed.
    """
    require_room(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(folder, error.strerror or str(error)) from error
    paths = [folder / NUMBERS, folder / TABLE]
    # the numbers first: by them a folder whose figures were not finished is known as curves'
    text = json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(paths[0], text.encode())
    write_atomically(paths[1], csv(report).encode())
    for name, curve in report["curves"].items():
        paths += figures.write(folder, name, partial(_draw, name=name, curve=curve, report=report))
    return paths


def _draw(axes: Any, *, name: str, curve: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    at = [point["at"] for point in curve["points"]]
    low, middle, high = ([100 * point[key] for point in curve["points"]] for key in ("low", "accuracy", "high"))
    axes.fill_between(at, low, high, alpha=0.25, linewidth=0, label="95 % interval")
    axes.plot(at, middle, marker="o", markersize=3, label="accuracy under attack")
    label, scale = AXES[name]
    if name == "epsilon":
        # from 0 to the radius that is evaluated there is as much to see as beyond it
        axes.set_xscale(scale, linthresh=report["radius"])
        ticks = _apart([0.0, report["radius"], *(one for one in at if one >= 2 * report["radius"])])
        axes.set_xticks(ticks, [f"{one:.3g}" for one in ticks])
        axes.axvline(report["radius"], color="grey", linestyle="--", linewidth=1, label="evaluated")
    else:
        axes.set_xscale(scale)
        axes.set_xticks(at, [f"{one:g}" for one in at])
    axes.set(xlabel=label.format(norm=report["norm"]), ylabel="%", ylim=(0, 100), xlim=(at[0], at[-1]))
    axes.set_title(_settings(name, curve, report), fontsize=8)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="best", frameon=False)


def _apart(ticks: Sequence[float]) -> list[float]:
    """Ticks whose labels do not meet, the last one among them."""
    return [a for a, b in pairwise(ticks) if b > 1.4 * a] + [ticks[-1]]


def _settings(name: str, curve: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    attack = curve["points"][-1]["attack"]
    fixed = {
        "epsilon": f"{attack['steps']} steps, 1 restart",
        "steps": f"{attack['norm']} radius {attack['radius']:g}, 1 restart",
        "restarts": f"{attack['norm']} radius {attack['radius']:g}, {attack['steps']} steps",
    }[name]
    rest = f"{report['n']:,} images ({report['split']}); seed {report['seed']}"
    return f"PGD, {fixed}, step size 2.5 radius / steps; {rest}: {curve['verdict']}"
