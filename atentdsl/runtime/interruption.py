"""SIGINT and SIGTERM: the first one asks for a stop at the next step, a second one stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["Asked", "interruptions_heeded"]

Asked = Callable[[], bool]
SAID = b"atentdsl: stopping at the next step, with a checkpoint; a second signal stops at once\n"
_asked: list[Asked] = []  # of the block that is running, so that one inside it shares its answer


@contextmanager
def interruptions_heeded(said: bytes = SAID) -> Iterator[Asked]:
    """Within the block the first SIGINT or SIGTERM only makes the function it gives answer True, and says `said`.

    A second signal raises KeyboardInterrupt where the process stands. The handlers of before come back at its end.
    Signals reach a process's main thread alone: in any other thread the answer stays False, and nothing is changed.

    >>> import os, signal
    >>> with interruptions_heeded() as asked:
    ...     print(asked())
    ...     os.kill(os.getpid(), signal.SIGTERM)
    ...     print(asked())
    False
    True
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    if _asked:
        yield _asked[-1]
        return
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) > 1:
            raise KeyboardInterrupt
        # print() may have been what the signal interrupted, and it is not re-entrant. Nobody may be reading any more.
        with suppress(OSError):
            os.write(2, said)

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    _asked.append(lambda: bool(seen))
    try:
        yield _asked[-1]
    finally:
        _asked.pop()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
