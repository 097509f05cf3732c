"""A figure's files: PNG and SVG, the same bytes for the same drawing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from atentdsl.runtime.directory import write_atomically

__all__ = ["write"]


def write(folder: Path, name: str, draw: Callable[[Any], None], size: tuple[float, float] = (6, 4)) -> list[Path]:
    """Writes a figure of one pair of axes as PNG and SVG; the files.

    matplotlib is loaded here, and draws without a screen.

    Args:
        folder: where the files go.
        name: of both, without an ending.
        draw: is given the axes, a `matplotlib.axes.Axes`.
        size: width and height in inches.

    Raises:
        StorageFailed: a file cannot be written.
        ImportError: matplotlib is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write(Path(folder), "line", lambda axes: axes.set(xlabel="x"))]
    ['line.png', 'line.svg']
    """
    import io

    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(drawing)
    draw(drawing.add_subplot())
    paths = []
    # No date, and no random names in the SVG.
    for ending, plain in (("png", {"Software": None}), ("svg", {"Date": None})):
        content = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": "atentdsl"}):
            drawing.savefig(content, format=ending, dpi=150, metadata=plain)
        paths.append(folder / f"{name}.{ending}")
        write_atomically(paths[-1], content.getvalue())
    return paths
