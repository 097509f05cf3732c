"""A comparison of recipes as a table, as CSV and as a figure."""

from __future__ import annotations

import csv as separated
import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from atentdsl.reporting import figures
from atentdsl.runtime.directory import write_atomically
from atentdsl.runtime.errors import StorageFailed

__all__ = ["csv", "markdown", "write"]

ENDINGS = (".md", ".csv", ".png", ".svg")
MARKERS = "osD^vPX*<>"


def markdown(found: Mapping[str, Any]) -> str:
    r"""The table, one for each ball that recipes were attacked in, and below it all that its figures depend on, once.

    Args:
        found: as `atentdsl.compare` gives it.

    >>> seconds = {"mean": 1.25, "deviation": 0.5, "values": [0.75, 1.75]}
    >>> clean = {"mean": 0.986, "deviation": 0.003, "values": [0.983, 0.989], "seeds": [0, 1]}
    >>> row = {"recipe": "sgd", "seeds": [0, 1], "accuracies": {"clean": clean}, "seconds": seconds}
    >>> row |= {"network": "mlp", "data": "digits", "precision": "float32"}
    >>> images = {"data": "digits", "split": "test", "n": 359, "images": "ab12", "precision": "float32"}
    >>> found = {"rows": [row], "columns": [{"name": "clean", "settings": images}], "notes": [], "machines": []}
    >>> print("\n".join(markdown(found | {"made_by": [], "command": "atentdsl compare runs"}).splitlines()[:3]))
    | recipe | seeds | clean | seconds | network | data | precision |
    | :--- | ---: | ---: | ---: | :--- | :--- | :--- |
    | `sgd` | 2 | 98.6 ± 0.3 | 1.2 ± 0.5 | mlp | digits | float32 |
    """
    lines = [line for rows in _by_ball(found) for line in ["", *_table(rows, found["columns"])]][1:]
    several = any(len(row["seeds"]) > 1 for row in found["rows"])
    spread = (
        "mean ± sample standard deviation (n - 1) over seeds, for one seed its figure alone" if several else "one seed"
    )
    seeds = sorted({seed for row in found["rows"] for seed in row["seeds"]})
    lines += [
        "",
        f"Accuracies in per cent, {spread}; seeds {', '.join(map(str, seeds))}, of training and attacks alike. "
        "Seconds are those of training's steps, without measurements; precision is training's.",
        "",
        *(f"- `{column['name']}`: {settings(column['settings'])}" for column in found["columns"]),
    ]
    lines += ["", *(f"- Note: {note}" for note in found["notes"])] if found["notes"] else []
    lines += ["", *(f"- Made on: {_told(machine)}" for machine in found["machines"])] if found["machines"] else []
    made_by = [command for command in found["made_by"] if command != found["command"]]
    lines += ["", *(f"- Runs: `{command}`" for command in made_by)] if made_by else []
    lines += ["", f"Made by: `{found['command']}`"] if found["command"] else []
    return "\n".join(lines) + "\n"


def _by_ball(found: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """The rows, those that were attacked in the same balls together."""
    balls = {
        column["name"]: (column["settings"].get("norm"), column["settings"].get("radius"))
        for column in found["columns"]
        if "norm" in column["settings"]
    }
    groups: dict[frozenset[Any], list[Mapping[str, Any]]] = {}
    for row in found["rows"]:
        groups.setdefault(frozenset(balls[name] for name in row["accuracies"] if name in balls), []).append(row)
    return list(groups.values())


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """One table, with the columns of which one of its rows has a figure."""
    names = [column["name"] for column in columns if any(column["name"] in row["accuracies"] for row in rows)]
    lines = [
        _line(["recipe", "seeds", *names, "seconds", "network", "data", "precision"]),
        _line([":---", "---:", *("---:" for _ in names), "---:", ":---", ":---", ":---"]),
    ]
    for row in rows:
        shares = [_share(row["accuracies"].get(name), row["seeds"]) for name in names]
        told = [row["network"], row["data"], row["precision"]]
        lines.append(_line([f"`{row['recipe']}`", str(len(row["seeds"])), *shares, _spread(row["seconds"]), *told]))
    return lines


def settings(column: Mapping[str, Any]) -> str:
    """All that a column's figures depend on but the seed, in a line.

    >>> settings({"norm": "linf", "radius": 0.1, "data": "digits", "split": "test", "n": 1797, "precision": "float32"})
    'norm linf, radius 0.1; 1,797 test images of digits; float32'
    """
    own = {key: value for key, value in column.items() if key not in ("data", "split", "n", "images", "precision")}
    number = "an unknown number of" if column.get("n") is None else f"{column['n']:,}"
    images = f"{number} {column['split']} images of {column['data']}"
    if column.get("images"):
        images += f" (sha256 {column['images']})"
    return "; ".join(filter(None, [_told(own), images, str(column["precision"])]))


def csv(found: Mapping[str, Any]) -> str:
    """A line for each recipe and column, accuracies as fractions, seconds too, with each seed's figure.

    >>> clean = {"mean": 0.5, "deviation": None, "values": [0.5], "seeds": [3]}
    >>> seconds = {"mean": 1.2, "deviation": None, "values": [1.2]}
    >>> row = {"recipe": "sgd", "sha256": "ab12", "network": "mlp", "data": "digits", "precision": "float32"}
    >>> row |= {"seeds": [3], "accuracies": {"clean": clean}, "seconds": seconds}
    >>> print(csv({"rows": [row]}), end="")
    recipe,sha256,network,data,precision,measure,n,mean,deviation,seeds,values
    sgd,ab12,mlp,digits,float32,clean,1,0.5,,3,0.5
    sgd,ab12,mlp,digits,float32,seconds,1,1.2,,3,1.2
    """
    text = io.StringIO()
    writer = separated.writer(text, lineterminator="\n")
    own = ("recipe", "sha256", "network", "data", "precision")
    writer.writerow([*own, "measure", "n", "mean", "deviation", "seeds", "values"])
    for row in found["rows"]:
        for measure, one in {**row["accuracies"], "seconds": {**row["seconds"], "seeds": row["seeds"]}}.items():
            deviation = "" if one["deviation"] is None else repr(one["deviation"])
            lists = [" ".join(map(repr, one[key])) for key in ("seeds", "values")]
            writer.writerow(
                [*(row[key] for key in own), measure, len(one["values"]), repr(one["mean"]), deviation, *lists]
            )
    return text.getvalue()


def write(found: Mapping[str, Any], stem: Path) -> list[Path]:
    """Writes the table as Markdown, as CSV and as a figure, PNG and SVG; the files.

    Args:
        found: as `atentdsl.compare` gives it.
        stem: the files' path but for the ending; one of theirs is taken off. Its folder is made.

    Raises:
        StorageFailed: a file cannot be written.
        ImportError: matplotlib is not installed.
    """
    folder, name = stem.parent, stem.stem if stem.suffix in ENDINGS else stem.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(folder, error.strerror or str(error)) from error
    paths = [folder / f"{name}.md", folder / f"{name}.csv"]
    for path, text in zip(paths, (markdown(found), csv(found)), strict=True):
        write_atomically(path, text.encode())
    size = (7.0, 1.6 + 0.18 * len(found["rows"]) * max(2, len(found["columns"])))
    return paths + figures.write(folder, name, partial(_draw, found=found), size)


def _draw(axes: Any, *, found: Mapping[str, Any]) -> None:
    """A dot for each accuracy, a line through it of one deviation to each side; the first recipe on top."""
    columns = [column["name"] for column in found["columns"]]
    for number, name in enumerate(columns):
        places, means, deviations = [], [], []
        for row, told in enumerate(found["rows"]):
            if (one := told["accuracies"].get(name)) is not None:
                places.append(row + 0.6 * ((number + 0.5) / len(columns) - 0.5))
                means.append(100 * one["mean"])
                deviations.append(100 * (one["deviation"] or 0.0))
        marker = MARKERS[number % len(MARKERS)]
        axes.errorbar(means, places, xerr=deviations, fmt=marker, markersize=5, capsize=2, linewidth=1, label=name)
    axes.set_yticks(range(len(found["rows"])), [row["recipe"] for row in found["rows"]])
    axes.set(
        xlabel="accuracy, % (mean, and a sample standard deviation over seeds to each side)",
        xlim=(-2, 102),
        ylim=(len(found["rows"]) - 0.5, -0.5),
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)
    for row in range(1, len(found["rows"])):
        axes.axhline(row - 0.5, color="grey", linewidth=0.5, alpha=0.5)
    axes.figure.legend(loc="outside upper center", ncols=min(3, len(columns)), frameon=False)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _share(one: Mapping[str, Any] | None, seeds: list[int]) -> str:
    if one is None:
        return "–"
    told = _spread(one, 100)
    return told if one["seeds"] == seeds else f"{told} ({len(one['seeds'])} of {len(seeds)} seeds)"


def _spread(one: Mapping[str, Any], unit: float = 1) -> str:
    deviation = "" if one["deviation"] is None else f" ± {unit * one['deviation']:.1f}"
    return f"{unit * one['mean']:.1f}{deviation}"


def _told(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in settings.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " + ".join(map(_value, value)) or "none"
    if isinstance(value, dict):
        return f"({_told(value)})"
    return str(value)
