"""Work that is captured once as a CUDA graph and replayed, as the compiled step is: what it launches costs no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["graphed"]

WRITTEN_FIRST = 3  # libraries choose and allocate in their first calls


def graphed(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """What replays the work, which reads and writes only memory that stays where it is and never waits for the device.

    Dropout draws anew at each replay: torch's own generator is a part of every graph.

    Args:
        work: runs on the current stream.
        device: the CUDA device.
    """
    stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    current = torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        for _ in range(WRITTEN_FIRST):
            work()
    current.wait_stream(stream)
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        work()
    kept = graph, work  # a graph reads its inputs where they were and does not hold them

    def replay() -> None:
        kept[0].replay()

    return replay
