"""Random streams: every place that draws has its own, keyed by (seed, outer step, place) and read on within the step.

Taking one place away moves no other, and a run resumes from the number of its step alone.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def key(*parts: object) -> int:
    """63 bits that depend on every part.

    >>> key(0, 1, "attack.noise") != key(0, 2, "attack.noise")
    True
    """
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


class Streams:
    """The streams of one outer step.

    Args:
        seed: the run's.
        step: the outer step, counted from 1; schedules over steps read it.
        epoch: counted from 1; schedules over epochs read it.
        device: where draws are made.

    >>> rng = Streams(seed=0, step=1, device=torch.device("cpu"))
    >>> rng.normal("attack.noise", torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self, seed: int, step: int, device: torch.device, epoch: int = 1) -> None:
        self.epoch, self.step = epoch, step
        self._seed, self._device = seed, device
        self._generators: dict[str, torch.Generator] = {}
        # By the identity of each point that still lives: dropout's generator at its first evaluation.
        self._masks: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}

    def normal(self, place: str, like: Tensor) -> Tensor:
        """Standard normal numbers of like's shape and type, read on from the place's last draw."""
        return torch.randn(like.shape, generator=self._at(place), dtype=like.dtype, device=like.device)

    def uniform(self, place: str, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of like's shape and type, read on from the place's last draw."""
        return torch.rand(like.shape, generator=self._at(place), dtype=like.dtype, device=like.device)

    @contextmanager
    def same_masks(self, z: Tensor) -> Iterator[None]:
        """Evaluate the network at z within it: a point has one dropout mask, however often it is evaluated.

        Dropout reads the global generator. At a new point it goes on from where it stands; at a point that was
        evaluated before it is set back to where that point's first evaluation found it, and afterwards put where it
        stood, so that no other point meets that mask.
        """
        point, first = self._masks.get(id(z), (None, None))
        now = _global_state(z)
        if point is not None and first is not None and point() is z:
            _set_global_state(z, first)
            yield
            _set_global_state(z, now)
        else:
            self._masks[id(z)] = weakref.ref(z, self._forgetting(id(z))), now
            yield

    def new_points(self) -> None:
        """Call when the weights have moved: every point is another one then."""
        self._masks.clear()

    def _forgetting(self, number: int) -> Callable[[weakref.ref[Tensor]], None]:
        """What drops a point's entry when the point is gone, so that a long chain keeps none of its points' states."""

        def forget(point: weakref.ref[Tensor]) -> None:
            if number in self._masks and self._masks[number][0] is point:
                del self._masks[number]

        return forget

    def _at(self, place: str) -> torch.Generator:
        if place not in self._generators:
            generator = torch.Generator(self._device)
            generator.manual_seed(key(self._seed, self.step, place))
            self._generators[place] = generator
        return self._generators[place]


def _global_state(z: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(z.device) if z.is_cuda else torch.get_rng_state()


def _set_global_state(z: Tensor, state: Tensor) -> None:
    if z.is_cuda:
        torch.cuda.set_rng_state(state, z.device)
    else:
        torch.set_rng_state(state)
