"""A step that is captured once as a CUDA graph and replayed: the processor launches one thing and not thousands.

The first steps are made as they are written, on the stream that will be captured: they are steps of the run, so that
nothing has to be put back after them, and they show what the step reads. A step of another form than the one before,
such as the first of an epoch where the epoch is read, is made as it is written too, and the next one captured anew.
Replayed steps equal written ones bit for bit, random numbers included: generators are seeded before each replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime.capture import Batch, Form, Static, Taken, carry_back, form_of, refusal
from atentdsl.runtime.streams import CapturedStreams, Streams
from atentdsl.runtime.tree import mapped

__all__ = ["Graphed"]

Once = Callable[[Iterator[Batch], Streams, dict[str, Any]], Tensor]

WRITTEN_FIRST = 3  # libraries choose and allocate in their first calls
MOST_WRITTEN = 50  # in a row: a step whose form never stays is not worth waiting for


@attrs.frozen(eq=False)
class _Captured:
    """A graph, the form of the steps it serves, and the memory that it reads and writes."""

    graph: Any
    form: Form
    static: Static
    generators: dict[str, torch.Generator]
    signal: Tensor

    def replay(self, taken: list[Batch], rng: Streams, state: dict[str, Any]) -> Tensor:
        self.static.fill(taken, state)
        for place, generator in self.generators.items():
            rng.seed(place, generator)
        self.graph.replay()
        state.clear()
        state.update(self.static.inside())
        return self.signal.clone()  # the next replay writes over it


class Graphed:
    """Makes outer steps, by a graph where it can.

    Attributes:
        refused: why the step is not captured; None while it is or may be.

    Args:
        once: makes one step as it is written, from batches, streams and the step's own state.
        optimizer: the step's.
        device: the CUDA device.
    """

    def __init__(self, once: Once, optimizer: Optimizer, device: torch.device) -> None:
        self.refused: str | None = None
        self._once, self._optimizer, self._device = once, optimizer, device
        self._captured: _Captured | None = None
        self._stream: Any = None
        self._takes: int | None = None
        self._last: Form | None = None
        self._read: set[str] = set()
        self._places: list[str] = []
        self._made, self._in_a_row = 0, 0

    def step(self, batches: Iterator[Batch], rng: Streams, state: dict[str, Any]) -> Tensor:
        """One outer step; its signal."""
        if self.refused is not None:
            return self._once(batches, rng, state)
        if self._takes is None:
            return self._written([], batches, rng, state)
        taken = [next(batches) for _ in range(self._takes)]
        form = form_of(taken, state, self._optimizer, rng.epoch if "epoch" in self._read else None)
        if self._captured is not None and form != self._captured.form:
            self._drop()
        if self._captured is None and form == self._last and self._made >= WRITTEN_FIRST:
            self._captured = self._capture(form, taken, rng, state)
        if self._captured is None:
            return self._written(taken, batches, rng, state)
        self._in_a_row = 0
        return self._captured.replay(taken, rng, state)

    def forget(self) -> None:
        """To be called when the optimizer's state is in other memory than before: the graph would write to the old."""
        self._drop()
        self._last = None

    def _drop(self) -> None:
        if self._captured is not None:
            torch.cuda.synchronize(self._device)  # its memory goes to others
        self._captured = None

    def _written(self, taken: list[Batch], batches: Iterator[Batch], rng: Streams, state: dict[str, Any]) -> Tensor:
        """The step as it is written, on the stream that is captured later; notes what it reads."""
        stream, before = Taken(batches, taken), mapped(state, lambda t: t)
        with self._aside():
            signal = self._once(stream, rng, state)
        self._read |= rng.read
        self._takes, self._places = len(stream.given), rng.places
        self._last = form_of(stream.given, before, self._optimizer, rng.epoch if "epoch" in self._read else None)
        self._made, self._in_a_row = self._made + 1, self._in_a_row + 1
        self.refused = self.refused or refusal(rng)
        if self.refused is None and self._in_a_row > MOST_WRITTEN:
            self.refused = f"its form changed in each of {MOST_WRITTEN} steps"
        return signal

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Within the block work goes to a stream of its own, which waits for the current one and is waited for."""
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            current.wait_stream(self._stream)

    def _capture(self, form: Form, taken: list[Batch], rng: Streams, state: dict[str, Any]) -> _Captured | None:
        """The step captured; nothing is computed by it. None where it cannot be, for whatever reason, which is kept."""
        graph: Any = torch.cuda.CUDAGraph()
        try:
            static = Static(taken, state)
            inside = static.inside()
            generators = {place: rng.seed(place, torch.Generator(self._device)) for place in self._places}
            for generator in generators.values():
                graph.register_generator_state(generator)
            streams = CapturedStreams(rng, generators)
            self._optimizer.zero_grad(set_to_none=True)  # the graph's gradients are in the graph's memory
            # The outer context puts the current stream back where a capture that failed leaves its own (torch 2.9).
            current = torch.cuda.stream(torch.cuda.current_stream(self._device))
            with current, _capturable(self._optimizer), torch.cuda.graph(graph, stream=self._stream):
                signal = self._once(iter(static.batches), streams, inside)
                carry_back(inside, static.state)
            if not streams.read <= self._read:
                raise RuntimeError(f"it reads {', '.join(sorted(streams.read - self._read))} only now and then")
            return _Captured(graph, form, static, generators, signal)
        except Exception as error:  # of any library below: the step as it is written needs none of this
            self.refused = f"capturing it failed: {[*str(error).strip().splitlines(), type(error).__name__][0]}"
        with suppress(RuntimeError):
            graph.reset()
        _mend(self._device)
        self._optimizer.zero_grad(set_to_none=True)
        return None


def _mend(device: torch.device) -> None:
    """Dropout's generator in a state of its own: a capture that was broken off leaves it waiting for the graph's."""
    if device.type == "cuda":
        own = torch.cuda.default_generators[device.index or 0]
        fresh = torch.Generator(device)
        fresh.manual_seed(own.initial_seed())  # the step has drawn nothing yet
        own.graphsafe_set_state(fresh)


@contextmanager
def _capturable(optimizer: Optimizer) -> Iterator[None]:
    """Within the block the optimizer lets itself be captured; outside torch warns of one that is not captured."""
    groups = [group for group in optimizer.param_groups if "capturable" in group]
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, own in zip(groups, before, strict=True):
            group["capturable"] = own
