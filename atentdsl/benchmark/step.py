"""One outer step, timed four ways in one run: literal, compiled, its network passes alone, and as published.

All run on the same batch and, before each timed step, on the same weights: those that the compiled step has after
`FIRST` steps, so that no gradient is zero because a network's last layer begins there.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from atentdsl.benchmark.authors_schedule import applies, authors_step, authors_units
from atentdsl.benchmark.graphed import graphed
from atentdsl.benchmark.limit import limit_step
from atentdsl.benchmark.memory import peak
from atentdsl.benchmark.subject import Subject
from atentdsl.benchmark.timing import WARM_UP, Clock, clock_of, in_turns, timed
from atentdsl.plan import interpret, units
from atentdsl.runtime import allocator
from atentdsl.runtime.streams import Streams
from atentdsl.runtime.subnormals import flushed

__all__ = ["KEYS", "KEYS_OF_AUTHORS", "measured_step", "peak_of_step"]

FIRST = 2
KEYS = (
    "literal_ms",
    "compiled_ms",
    "limit_ms",
    "ratio_to_limit",
    "speedup_over_literal",
    "images_per_second",
    "peak_memory_mb",
    "units_literal",
    "units_compiled",
    "device",
    "precision",
    "threads",
    "rounds",
    "tolerance",
)
KEYS_OF_AUTHORS = ("authors_schedule_ms", "speedup_over_authors_schedule", "units_authors_schedule")

Step = Callable[[], Any]


def measured_step(
    subject: Subject, rounds: int, clock: Clock | None = None, warm_up: int | None = None
) -> dict[str, Any]:
    """What one outer step takes: the keys in `KEYS`, and those in `KEYS_OF_AUTHORS` where that schedule applies.

    Times are medians over the rounds in ms, ratios those of the medians, memory in 10^6 bytes (see
    `atentdsl.benchmark.memory`), images those of one batch a step.

    Args:
        subject: what is measured.
        rounds: how often each is timed.
        clock: in seconds; the device's where not given.
        warm_up: rounds before them that do not count; the device's where not given.
    """
    memory = peak_of_step(subject)
    weights = _weights_after(subject, FIRST)
    clock = clock or clock_of(subject.device)
    steps = {"literal": _literal, "compiled": _compiled, "limit": _limit}
    if applies(subject.recipe):
        steps["authors_schedule"] = _authors
    contenders = {}
    for name, make in steps.items():
        network = copy.deepcopy(subject.network)
        # The schedule leaves the process without free memory, which would cost whoever comes next.
        after = _compiled(subject, copy.deepcopy(subject.network)) if make is _authors else _nothing
        contenders[name] = timed(make(subject, network), clock, _back_to(network, weights), after)
    timings = in_turns(contenders, rounds, WARM_UP[subject.device.type] if warm_up is None else warm_up)
    compiled = timings.median("compiled")
    found = {
        "literal_ms": 1000 * timings.median("literal"),
        "compiled_ms": 1000 * compiled,
        "limit_ms": 1000 * timings.median("limit"),
        "ratio_to_limit": timings.ratio("compiled", "limit"),
        "speedup_over_literal": timings.ratio("literal", "compiled"),
        "images_per_second": len(subject.batch()[1]) / compiled,
        "peak_memory_mb": memory / 1e6,
        "units_literal": units(subject.compiled.stages[0].plan),
        "units_compiled": units(subject.compiled.plan),
        "device": str(subject.device),
        "precision": subject.precision,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "tolerance": subject.recipe.compile.tolerance,
    }
    if "authors_schedule" in contenders:
        found |= {
            "authors_schedule_ms": 1000 * timings.median("authors_schedule"),
            "speedup_over_authors_schedule": timings.ratio("authors_schedule", "compiled"),
            "units_authors_schedule": authors_units(subject.recipe),
        }
    return found


def peak_of_step(subject: Subject, steps: int | None = None) -> int:
    """The most bytes that the first compiled steps hold: `FIRST` of them, on a GPU as many as capture one.

    What libraries load once is not theirs: a step on two images comes before them.
    """
    if steps is None:
        steps = FIRST if subject.device.type == "cpu" else WARM_UP[subject.device.type]
    # From the beginning: memory that was kept would be taken first, and not given back.
    with allocator.given_back():
        network = copy.deepcopy(subject.network)
        _compiled(subject, copy.deepcopy(network), images=2)()
        step = _compiled(subject, network)

        def first() -> None:
            for _ in range(steps):
                step()

        return peak(first, subject.device)


def _weights_after(subject: Subject, steps: int) -> dict[str, Tensor]:
    """The network's weights and buffers after so many compiled steps, by name."""
    network = copy.deepcopy(subject.network)
    step = _compiled(subject, network)
    for _ in range(steps):
        step()
    return dict(_tensors(network))


def _nothing() -> None:
    pass


def _compiled(subject: Subject, network: nn.Module, images: int | None = None) -> Step:
    own, state = subject.module.placed(network), dict[str, Any]()
    x, y = subject.batch()
    pair = x[:images], y[:images]
    return lambda: own.step(itertools.repeat(pair), _streams(subject), state)


def _literal(subject: Subject, network: nn.Module) -> Step:
    own, pair, state = subject.module.placed(network), subject.batch(), dict[str, Any]()
    plan, flush = subject.compiled.stages[0].plan, own.policy.flush_subnormals

    def step() -> None:
        with flushed(flush):
            interpret(plan, own.network, own.optimizer, itertools.repeat(pair), _streams(subject), state)

    return step


def _limit(subject: Subject, network: nn.Module) -> Step:
    own = subject.module.placed(network)
    once, flush = limit_step(subject.compiled.plan, own.network, *subject.batch()), own.policy.flush_subnormals
    if _is_captured(subject):
        once = graphed(once, subject.device)

    def step() -> None:
        with flushed(flush):  # a part of the step, and so timed here as there
            once()

    return step


def _is_captured(subject: Subject) -> bool:
    """Whether the compiled step turns out to run as a graph."""
    own, pair, state = subject.module.placed(copy.deepcopy(subject.network)), subject.batch(), dict[str, Any]()
    made = WARM_UP[subject.device.type] if own.policy.graph else 0
    for _ in range(made):
        own.step(itertools.repeat(pair), _streams(subject), state)
    graph: bool = own.policy.graph
    return graph


def _authors(subject: Subject, network: nn.Module) -> Step:
    pair, state = subject.batch(), dict[str, Any]()
    sampler: Any = subject.recipe.samplers[0]
    alpha, plan = sampler.averaging.alpha, subject.compiled.stages[0].plan
    optimizer = subject.module.make_optimizer(network.parameters())

    def step() -> None:
        with allocator.usual():
            authors_step(plan, alpha, network, optimizer, itertools.repeat(pair), _streams(subject), state)

    return step


def _streams(subject: Subject) -> Streams:
    return Streams(subject.seed, 1, subject.device)


def _back_to(network: nn.Module, weights: dict[str, Tensor]) -> Callable[[], None]:
    """What gives the network these weights again, each in the layout it has there."""
    own = _tensors(network)

    def back() -> None:
        with torch.no_grad():
            for name, tensor in own:
                tensor.copy_(weights[name])

    return back


def _tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Every parameter and buffer."""
    return [*network.named_parameters(), *network.named_buffers()]
