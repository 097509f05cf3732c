"""Random streams: every place that draws has its own, keyed by (seed, outer step, place) and read on within the step.

Taking one place away moves no other, and a run resumes from the number of its step alone.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterator, Mapping
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
        # What a captured step would keep as it was: "epoch", "step", "masks" (a mask was drawn again), "examples"
        # (those that the batch holds).
        self.read: set[str] = set()
        self._epoch, self._step = epoch, step
        self._seed, self._device = seed, device
        self._generators: dict[str, torch.Generator] = {}
        # By the identity of each point that still lives: dropout's generator at its first evaluation.
        self._masks: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}

    @property
    def epoch(self) -> int:
        """Counted from 1; it is noted that it was read."""
        self.read.add("epoch")
        return self._epoch

    @property
    def step(self) -> int:
        """The outer step, counted from 1; it is noted that it was read."""
        self.read.add("step")
        return self._step

    @property
    def places(self) -> list[str]:
        """Where was drawn so far, in the order of the first draws."""
        return list(self._generators)

    def seed(self, place: str, generator: torch.Generator) -> torch.Generator:
        """The generator, set to where this step's draws at the place begin.

        >>> rng, own = Streams(seed=0, step=3, device=torch.device("cpu")), torch.Generator()
        >>> drawn = torch.randn(2, generator=rng.seed("attack.noise", own))
        >>> bool(torch.equal(drawn, rng.normal("attack.noise", drawn)))
        True
        """
        return generator.manual_seed(key(self._seed, self._step, place))

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
            if not torch.equal(_global_state(z), first):  # without dropout there is no mask
                self.read.add("masks")
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
            self._generators[place] = self.seed(place, torch.Generator(self._device))
        return self._generators[place]


class CapturedStreams(Streams):
    """The streams of a step while a CUDA graph captures it, when no generator may be set.

    Args:
        like: the step's own streams.
        generators: by place, registered with the graph and seeded before.
    """

    def __init__(self, like: Streams, generators: Mapping[str, torch.Generator]) -> None:
        super().__init__(like._seed, like._step, like._device, like._epoch)
        self._generators = dict(generators)

    @contextmanager
    def same_masks(self, z: Tensor) -> Iterator[None]:
        """Nothing to set: a step that draws one mask twice is not captured."""
        yield

    def _at(self, place: str) -> torch.Generator:
        return self._generators[place]


def _global_state(z: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(z.device) if z.is_cuda else torch.get_rng_state()


def _set_global_state(z: Tensor, state: Tensor) -> None:
    if z.is_cuda:
        torch.cuda.set_rng_state(state, z.device)
    else:
        torch.set_rng_state(state)
