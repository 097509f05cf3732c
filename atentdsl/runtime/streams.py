"""Random streams: every place that draws has its own, keyed by (seed, outer step, place) and read on within the step.

Taking one place away moves no other, and a run resumes from the number of its step alone.
"""

from __future__ import annotations

import hashlib

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
        step: the outer step, counted from 1.
        device: where draws are made.

    >>> rng = Streams(seed=0, step=1, device=torch.device("cpu"))
    >>> rng.normal("attack.noise", torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self, seed: int, step: int, device: torch.device) -> None:
        self._seed, self._step, self._device = seed, step, device
        self._generators: dict[str, torch.Generator] = {}
        self._point: Tensor | None = None
        self._masks: Tensor | None = None

    def normal(self, place: str, like: Tensor) -> Tensor:
        """Standard normal numbers of like's shape and type, read on from the place's last draw."""
        return torch.randn(like.shape, generator=self._at(place), dtype=like.dtype, device=like.device)

    def uniform(self, place: str, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of like's shape and type, read on from the place's last draw."""
        return torch.rand(like.shape, generator=self._at(place), dtype=like.dtype, device=like.device)

    def same_masks(self, z: Tensor) -> None:
        """Call before the network is evaluated at z: a point has one dropout mask, however often it is evaluated.

        Dropout reads the global generator. At a new point it goes on from where it stands; at the point of the last
        call it is set back to where that point's first evaluation found it.
        """
        if z is self._point and self._masks is not None:
            if z.is_cuda:
                torch.cuda.set_rng_state(self._masks, z.device)
            else:
                torch.set_rng_state(self._masks)
        else:
            self._point = z
            self._masks = torch.cuda.get_rng_state(z.device) if z.is_cuda else torch.get_rng_state()

    def _at(self, place: str) -> torch.Generator:
        if place not in self._generators:
            generator = torch.Generator(self._device)
            generator.manual_seed(key(self._seed, self._step, place))
            self._generators[place] = generator
        return self._generators[place]
