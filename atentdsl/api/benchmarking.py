"""Measuring a recipe's compiled step against its limit, and an epoch against its steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from atentdsl.api import subjects
from atentdsl.api.recipes import Source, load
from atentdsl.codegen import as_module, generate

if TYPE_CHECKING:
    from atentdsl.benchmark import Subject


def bench(
    recipe: Source,
    *,
    overrides: Sequence[str] = (),
    rounds: int = 20,
    device: str = "auto",
    threads: int | None = None,
    user_code: bool = True,
) -> dict[str, Any]:
    """How long one outer step takes: literal, compiled, its network passes alone, and in the published schedule.

    On random weights and drawn images of the data set's shape, which need not be there. All are timed in the same
    rounds, in turns; the keys are those of `atentdsl.benchmark.step`.

    Args:
        recipe, overrides: as for `load`.
        rounds: how often each is timed; medians are reported.
        device: `auto`, `cpu` or `cuda`.
        threads: torch's, while it measures; as they are where not given.
        user_code: whether a network that the recipe names as `module:attribute` may be imported and run.

    Raises:
        RecipeError: everything that is wrong with the recipe, at once.
        DeviceUnavailable: the device is not there.
        UserCodeRefused: the code that the recipe names is not taken.
    """
    from atentdsl.benchmark import measured_step

    with _threads(threads):
        return measured_step(subject(recipe, overrides, device, user_code), rounds)


def bench_epoch(
    recipe: Source,
    *,
    overrides: Sequence[str] = (),
    steps: int | None = None,
    rounds: int = 5,
    device: str = "auto",
    threads: int | None = None,
    user_code: bool = True,
) -> dict[str, Any]:
    """How long a training epoch takes with batches, log, progress and checkpoints, and how long its steps alone.

    The keys are those of `atentdsl.benchmark.epoch`.

    Args:
        recipe, overrides, device, threads, user_code: as for `bench`.
        steps: of an epoch, at most; all where not given.
        rounds: how many epochs are timed; medians are reported.

    Raises:
        RecipeError, DeviceUnavailable, UserCodeRefused: as for `bench`.
        Diverged: the signal or a weight is not finite.
    """
    from atentdsl.benchmark import measured_epoch

    with _threads(threads):
        return measured_epoch(subject(recipe, overrides, device, user_code), steps, rounds)


def bench_attack(
    recipe: Source,
    *,
    overrides: Sequence[str] = (),
    rounds: int = 20,
    device: str = "auto",
    threads: int | None = None,
    user_code: bool = True,
) -> dict[str, Any]:
    """How long an evaluation's PGD-20 takes on the recipe's network, and how long its network passes alone.

    At the batch that is measured fastest; the keys are those of `atentdsl.benchmark.attack`.

    Args:
        recipe, overrides, rounds, device, threads, user_code: as for `bench`.

    Raises:
        RecipeError, DeviceUnavailable, UserCodeRefused: as for `bench`.
    """
    from atentdsl.benchmark import measured_attack

    with _threads(threads):
        return measured_attack(subject(recipe, overrides, device, user_code), rounds)


def subject(recipe: Source, overrides: Sequence[str] = (), device: str = "auto", user_code: bool = True) -> Subject:
    """The recipe compiled, with random weights and drawn images, on the device: what `bench` measures."""
    from atentdsl.benchmark import Subject
    from atentdsl.benchmark.subject import drawn_images
    from atentdsl.runtime import devices

    checked = load(recipe, overrides)
    compiled = generate(checked)
    chosen = devices.choose(device)
    images = drawn_images(checked.data.name)
    network = subjects.network(checked, images, user_code=user_code, fresh=True).to(chosen)
    return Subject(checked, compiled, as_module(compiled.text, checked.name), network, images.to(chosen))


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Within the block torch computes with so many threads."""
    import torch

    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if number is not None:
            torch.set_num_threads(before)
