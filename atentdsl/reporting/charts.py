"""Lines over epochs, as what an SVG drawing needs: places in its own units, which a template writes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs

__all__ = ["Chart", "Line", "Series", "chart", "ticks"]

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 68, 14, 20, 36
MOST_MARKERS = 40
"""Of more points than this a line shows no markers."""


@attrs.frozen
class Series:
    """Numbers over epochs.

    Attributes:
        name: as the legend has it.
        style: the class of the page's style sheet that draws it.
        points: epoch and number; what is no finite number leaves a gap.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float]]


@attrs.frozen
class Line:
    """A series as it is drawn.

    Attributes:
        name, style: as the series has them.
        path: of an SVG `path`.
        markers: where points are marked.
    """

    name: str
    style: str
    path: str
    markers: tuple[tuple[float, float], ...]


@attrs.frozen
class Chart:
    """A drawing.

    Attributes:
        key: distinguishes its elements from those of the page's other drawings.
        title: what it shows.
        description: the same in words, for who does not see it.
        width, height: of its own units.
        x, y: ticks, each a place and its label.
        lines: in the order they are drawn.
        mark: the place of the epoch that is marked, with its label; None for none.
        mark_left: whether the label stands to the left of it.
    """

    key: str
    title: str
    description: str
    x: tuple[tuple[float, str], ...]
    y: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    mark: tuple[float, str] | None
    mark_left: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def ticks(low: float, high: float, number: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`, about that many: multiples of 1, 2 or 5 times a power of 10.

    >>> ticks(0, 100), ticks(0.3, 2.3), ticks(0, 0)
    ([0.0, 20.0, 40.0, 60.0, 80.0, 100.0], [0.0, 0.5, 1.0, 1.5, 2.0, 2.5], [0.0, 1.0])
    """
    if not high > low:
        high = low + (abs(low) or 1.0)
        number = 1
    raw = (high - low) / number
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def chart(
    key: str,
    title: str,
    series: Sequence[Series],
    *,
    kept: int | None = None,
    bounds: tuple[float, float] | None = None,
    unit: str = "",
) -> Chart | None:
    """The drawing of series over epochs; None where no number is finite.

    Args:
        key, title: as the chart has them.
        series: a line each.
        kept: the epoch to mark.
        bounds: of the numbers' axis; of the numbers themselves, with zero, where not given.
        unit: stands behind a number in the description.

    >>> chart("a", "loss", [Series("loss", "plain", [(1, 2.0), (2, 1.0)])]).lines[0].path
    'M68.0 20.0L466.0 142.0'
    """
    finite = [[(e, v) for e, v in one.points if math.isfinite(v)] for one in series]
    epochs = sorted({e for points in finite for e, _ in points})
    if not epochs:
        return None
    values = [v for points in finite for _, v in points]
    low, high = bounds or (min(0.0, *values), max(0.0, *values))
    rows = ticks(low, high)
    first, last = epochs[0], epochs[-1]

    def across(epoch: float) -> float:
        share = (epoch - first) / (last - first) if last > first else 0.5
        return round(LEFT + share * (WIDTH - RIGHT - LEFT), 1)

    def up(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - rows[0]) / (rows[-1] - rows[0]) * (HEIGHT - BOTTOM - TOP), 1)

    drawn, told = [], []
    for one, points in zip(series, finite, strict=True):
        if not points:
            continue
        markers = tuple((across(e), up(v)) for e, v in points)
        drawn.append(Line(one.name, one.style, _path(one, across, up), markers if len(markers) <= MOST_MARKERS else ()))
        ends = f"{points[0][1]:.4g}{unit} in epoch {points[0][0]:g}"
        if len(points) > 1:
            ends = f"from {ends} to {points[-1][1]:.4g}{unit} in epoch {points[-1][0]:g}"
        told.append(f"{one.name}: {ends}")
    whole = [tick for tick in ticks(first, last) if tick == int(tick)]
    # the first epoch, and round ones that leave its label room
    columns = [first, *(tick for tick in whole if first + (last - first) / 12 < tick <= last)]
    mark = None if kept is None or not first <= kept <= last else (across(kept), f"kept: epoch {kept}")
    if mark:
        told.append(f"the checkpoint of epoch {kept} was kept")
    return Chart(
        key,
        title,
        "; ".join(told) + ".",
        tuple((across(tick), f"{tick:g}") for tick in columns),
        tuple((up(tick), f"{tick:g}") for tick in rows),
        tuple(drawn),
        mark,
        mark is not None and mark[0] > WIDTH / 2,
    )


def _path(series: Series, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    """Lines between neighbours; a gap where a number is not finite."""
    text, letter = "", "M"
    for epoch, value in series.points:
        if not math.isfinite(value):
            letter = "M"
            continue
        text += f"{letter}{across(epoch):.1f} {up(value):.1f}"
        letter = "L"
    return text
