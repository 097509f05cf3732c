"""What a set of certificates comes to: certified accuracy against radius, as numbers, a table and a figure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atentdsl.evaluation.certification import largest_radius
from atentdsl.evaluation.intervals import interval
from atentdsl.reporting import figures

__all__ = ["accuracies", "csv", "figure", "markdown", "proven", "steps"]

CONFIDENCE = 0.95


def steps(sigma: float, n: int, alpha: float) -> list[float]:
    """The radii that are reported where none are asked for: multiples of sigma / 2, as far as n draws certify any.

    Raises:
        NotCertifiable: as for `largest_radius`.

    >>> steps(sigma=0.25, n=1000, alpha=0.001)
    [0.0, 0.125, 0.25, 0.375, 0.5]
    """
    most = math.floor(2 * largest_radius(n, alpha, sigma) / sigma)
    return [round(i * sigma / 2, 12) for i in range(most + 1)]


def accuracies(rows: Sequence[Mapping[str, Any]], radii: Sequence[float]) -> list[dict[str, Any]]:
    """For each radius the share of images whose certificate is right and reaches it, with its 95 % interval.

    The interval is Clopper & Pearson's, of the images as a sample; that each certificate errs with probability alpha is
    not in it.

    Args:
        rows: with `correct` and `radius`, one an image; at least one.
        radii: l2, in units of inputs in [0, 1]; at 0 an image counts that is right and not abstained from.

    >>> (one,) = accuracies([{"correct": 1, "radius": 0.3}, {"correct": 0, "radius": 0.0}], [0.25])
    >>> {name: round(number, 4) for name, number in one.items()}
    {'radius': 0.25, 'certified': 1, 'accuracy': 0.5, 'low': 0.0126, 'high': 0.9874}
    """
    reached = sorted(row["radius"] for row in rows if row["correct"])
    found = []
    for radius in radii:
        k = len(reached) - bisect_left(reached, radius)
        low, high = interval(k, len(rows), CONFIDENCE)
        found.append({"radius": radius, "certified": k, "accuracy": k / len(rows), "low": low, "high": high})
    return found


def markdown(summary: Mapping[str, Any]) -> str:
    """The summary's table: a line a radius, and a line with all that it was measured with.

    >>> told = {"sigma": 0.25, "n0": 100, "n": 1000, "alpha": 0.001, "images": 2, "split": "test", "abstained": 1,
    ...         "seed": 0, "certified": accuracies([{"correct": 1, "radius": 0.3}] * 2, [0.25])}
    >>> print(markdown(told))
    | radius (l2) | certified accuracy | 95 % interval |
    | ---: | ---: | :---: |
    | 0.25 | 100.0 % | 15.8 % to 100.0 % |
    <BLANKLINE>
    σ = 0.25, n0 = 100, n = 1,000, α = 0.001; 2 images (test), 1 abstained from; seed 0.
    <BLANKLINE>
    """
    return "\n".join(_table("radius (l2)", summary)) + "\n\n" + _settings(summary) + ".\n"


def proven(summary: Mapping[str, Any]) -> str:
    """The table of what interval bounds prove: a line a radius, and a line with what it was measured on.

    >>> row = {"radius": 0.25, "certified": 1, "accuracy": 0.5, "low": 0.0126, "high": 0.9874}
    >>> print(proven({"images": 2, "split": "test", "clean": {"accuracy": 1.0}, "certified": [row]}))
    | radius (linf) | certified accuracy | 95 % interval |
    | ---: | ---: | :---: |
    | 0.25 | 50.0 % | 1.3 % to 98.7 % |
    <BLANKLINE>
    By interval bounds; 2 images (test), 100.0 % of them classified right as they are.
    <BLANKLINE>
    """
    clean = f"{100 * summary['clean']['accuracy']:.1f} % of them classified right as they are"
    said = f"By interval bounds; {summary['images']:,} images ({summary['split']}), {clean}.\n"
    return "\n".join(_table("radius (linf)", summary)) + "\n\n" + said


def _table(radius: str, summary: Mapping[str, Any]) -> list[str]:
    lines = [f"| {radius} | certified accuracy | 95 % interval |", "| ---: | ---: | :---: |"]
    for one in summary["certified"]:
        accuracy, low, high = (f"{100 * one[name]:.1f} %" for name in ("accuracy", "low", "high"))
        lines.append(f"| {one['radius']:g} | {accuracy} | {low} to {high} |")
    return lines


def csv(summary: Mapping[str, Any]) -> str:
    """The same table as CSV, with fractions.

    >>> row = {"radius": 0.25, "certified": 2, "accuracy": 1.0, "low": 0.158, "high": 1.0}
    >>> print(csv({"certified": [row]}), end="")
    radius,certified,accuracy,low,high
    0.25,2,1.0,0.158,1.0
    """
    names = ("radius", "certified", "accuracy", "low", "high")
    lines = [",".join(names), *(",".join(repr(one[name]) for name in names) for one in summary["certified"])]
    return "\n".join(lines) + "\n"


def figure(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Certified accuracy against radius, with its 95 % band, as PNG and SVG; the files.

    The curve falls at the radius of each certificate that is right.

    Args:
        rows: as for `accuracies`.
        summary: has the settings.
        folder: where the files go.
        name: of both, without an ending.

    Raises:
        StorageFailed: a file cannot be written.
        ImportError: matplotlib is not installed.

    >>> import tempfile
    >>> told = {"sigma": 0.25, "n0": 9, "n": 99, "alpha": 0.1, "images": 1, "split": "test", "abstained": 0, "seed": 0}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in figure([{"correct": 1, "radius": 0.3}], told, Path(folder), "certified")]
    ['certified.png', 'certified.svg']
    """
    most = largest_radius(summary["n"], summary["alpha"], summary["sigma"])
    own = sorted({row["radius"] for row in rows if row["correct"]} | {0.0, most})
    found = accuracies(rows, own)
    low, middle, high = ([100 * one[key] for one in found] for key in ("low", "accuracy", "high"))

    def draw(axes: Any) -> None:
        axes.fill_between(own, low, high, step="pre", alpha=0.25, linewidth=0, label="95 % interval")
        axes.step(own, middle, where="pre", label="certified accuracy")
        axes.set(xlabel="l2 radius, inputs in [0, 1]", ylabel="%", xlim=(0, None), ylim=(0, 100))
        axes.set_title(_settings(summary), fontsize=8)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right", frameon=False)

    return figures.write(folder, name, draw)


def _settings(summary: Mapping[str, Any]) -> str:
    return (
        f"σ = {summary['sigma']:g}, n0 = {summary['n0']:,}, n = {summary['n']:,}, α = {summary['alpha']:g}; "
        f"{summary['images']:,} images ({summary['split']}), {summary['abstained']:,} abstained from; "
        f"seed {summary['seed']}"
    )
