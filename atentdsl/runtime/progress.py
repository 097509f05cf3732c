"""How far a run is, on standard error: a bar on a terminal, plain lines elsewhere.

Asking for a loss makes a GPU wait, so the loop asks `due()` first, which is cheap, and fetches the numbers only then.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["Progress", "make_progress"]

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FRAMES = 0.25


class Progress:
    """The progress of a run of `total_steps` outer steps, to be used as a context; make it with `make_progress`.

    `bar` is None for plain lines. Steps are counted as done: the last is `total_steps`.

    >>> import sys
    >>> with Progress(10, sys.stdout, bar=None) as progress:
    ...     progress.epoch(1, 3, {"loss": 0.5117, "clean": 0.912, "robust": 0.701})
    epoch 1/3  loss 0.512  clean 91.2 %  robust 70.1 %
    """

    def __init__(self, total_steps: int, stream: TextIO, bar: Bar | None) -> None:
        self.total_steps = total_steps
        self._stream = stream
        self._bar = bar
        self._task = bar.add_task("", total=total_steps, status="") if bar is not None else None
        self._interval = SECONDS_BETWEEN_LINES if bar is None else SECONDS_BETWEEN_FRAMES
        self._first_step: int | None = None
        self._step = 0
        self._first_time = self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        self._first_time = self._shown = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def due(self) -> bool:
        """Whether the next `step` would be shown: four times a second on a terminal, every ten seconds elsewhere."""
        return time.monotonic() - self._shown >= self._interval

    def step(self, step: int, loss: float | None = None, images_per_second: float | None = None) -> None:
        """Say that `step` outer steps are done; shown if it is `due`."""
        if self._first_step is None:
            # A resumed run starts in the middle, and the speed is that of this process alone.
            self._first_step = step - 1
        self._step = step
        if not self.due():
            return
        self._shown = time.monotonic()
        status = self._parts({"loss": loss, "images_per_second": images_per_second})
        if self._bar is not None and self._task is not None:
            with suppress(OSError):
                self._bar.update(self._task, completed=step, status=status, refresh=True)
        else:
            self.message("  ".join(filter(None, (f"step {step:,}/{self.total_steps:,}", status))))

    def epoch(self, epoch: int, epochs: int, record: Mapping[str, Any]) -> None:
        """Write one line for a finished epoch.

        Of `record` are read: `loss`; `clean` and `robust`, accuracies from 0 to 1; `images_per_second`. What is missing
        or None is left out.
        """
        self.message("  ".join(filter(None, (f"epoch {epoch}/{epochs}", self._parts(record)))))

    def message(self, text: str) -> None:
        """Write `text` on a line of its own, above the bar where there is one."""
        with suppress(OSError):  # nobody reads it any more, or its disk is full: no reason to stop training
            if self._bar is not None:
                self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=self._stream, flush=True)

    def _parts(self, record: Mapping[str, Any]) -> str:
        kinds = {
            "loss": "loss {:.3f}",
            "clean": "clean {:.1%}",
            "robust": "robust {:.1%}",
            "images_per_second": "{:,.0f} images/s",
        }
        parts = [form.format(record[key]) for key, form in kinds.items() if record.get(key) is not None]
        left = self._seconds_left()
        if left is not None:
            parts.append(f"{_clock(left)} left")
        return "  ".join(parts).replace("%", " %")

    def _seconds_left(self) -> float | None:
        if self._first_step is None or self._step <= self._first_step:
            return None
        seconds = time.monotonic() - self._first_time
        return seconds / (self._step - self._first_step) * max(0, self.total_steps - self._step)


def make_progress(total_steps: int, stream: TextIO | None = None) -> Progress:
    """Make the progress of `total_steps` outer steps on `stream`, standard error where it is not given."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return Progress(total_steps, stream, bar=None)
    bar = Bar(
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        console=Console(file=stream),
        # It is drawn when a step is due, so no thread has to run beside the training.
        auto_refresh=False,
        transient=True,
        # What a run prints on standard output is its result, and is not to be led to standard error.
        redirect_stdout=False,
        redirect_stderr=False,
        expand=True,
    )
    return Progress(total_steps, stream, bar)


def _clock(seconds: float) -> str:
    """Write seconds as 0:42, 12:05 or 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
