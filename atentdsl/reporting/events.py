"""A run's numbers as TensorBoard events: one file, the same bytes for the same run.

Each event's time is that of the run, not of the writing: its beginning, and the seconds of its epochs after that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from atentdsl.runtime.errors import ExtraMissing

__all__ = ["FILE", "encoded", "scalars"]

FILE = "events.out.tfevents.0000000000.atentdsl"
VERSION = "brain.Event:2"  # of the format, which a file begins with


def scalars(
    lines: Sequence[Mapping[str, Any]], evaluations: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, int, float, float]]:
    """Each number as its tag, its outer step, the seconds of training before it, and itself.

    Args:
        lines: of metrics.jsonl.
        evaluations: by the names of their files; their figures stand at the last step.

    >>> line = {"step": 20, "loss": 0.5, "learning_rate": 0.1, "seconds": 2.0}
    >>> line |= {part: {"clean_accuracy": 1.0} for part in ("training", "validation")}
    >>> for found in scalars([line], {"evaluation.json": {"split": "test", "clean_accuracy": 0.75, "attacks": {}}}):
    ...     print(*found)
    loss 20 2.0 0.5
    learning_rate 20 2.0 0.1
    training/clean_accuracy 20 2.0 1.0
    validation/clean_accuracy 20 2.0 1.0
    evaluation/test/clean_accuracy 20 2.0 0.75
    """
    seconds, step = 0.0, 0
    for line in lines:
        step, seconds = int(line["step"]), seconds + float(line.get("seconds", 0.0))
        found = [(name, line.get(name)) for name in ("loss", "learning_rate")]
        found += [
            (f"{part}/{name}", line.get(part, {}).get(name))
            for part in ("training", "validation")
            for name in ("clean_accuracy", "robust_accuracy")
        ]
        yield from ((tag, step, seconds, float(value)) for tag, value in found if value is not None)
    for name, evaluation in evaluations.items():
        top = f"{Path(name).stem}/{evaluation.get('split', 'images')}"
        yield f"{top}/clean_accuracy", step, seconds, float(evaluation["clean_accuracy"])
        for attack, told in evaluation["attacks"].items():
            yield f"{top}/{attack}/robust_accuracy", step, seconds, float(told["robust_accuracy"])


def encoded(lines: Sequence[Mapping[str, Any]], evaluations: Mapping[str, Mapping[str, Any]], started: str) -> bytes:
    """The events of `scalars` as the content of a file; numbers that are not finite are left out.

    Args:
        lines, evaluations: as for `scalars`.
        started: when the run began, in ISO 8601.

    Raises:
        ExtraMissing: tensorboardX is not installed.
        ValueError: `started` is no time.
    """
    import tempfile

    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import scalar
    except ImportError as error:
        mend = "pip install 'atentdsl[tensorboard]'"
        raise ExtraMissing("tensorboardX", f"it cannot be imported ({error})", mend) from error
    begun = datetime.fromisoformat(started).timestamp()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / FILE
        writer = RecordWriter(str(path))
        writer.write(Event(wall_time=begun, file_version=VERSION).SerializeToString())
        for tag, step, seconds, value in scalars(lines, evaluations):
            if math.isfinite(value):
                event = Event(wall_time=begun + seconds, step=step, summary=scalar(tag, value))
                writer.write(event.SerializeToString())
        writer.close()
        return path.read_bytes()
