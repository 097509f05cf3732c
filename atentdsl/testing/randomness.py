"""Random numbers that were drawn elsewhere, handed out in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor


class Recorded:
    """Streams that replay: each place has its own numbers, and asking for others, or for more of them, fails.

    Args:
        normal: by place, what to return for standard normal numbers, in order.
        uniform: the same for uniform ones.
        step, epoch: which they are, counted from 1, for schedules.

    >>> import torch
    >>> rng = Recorded(normal={"attack.noise": [torch.ones(2)]})
    >>> rng.normal("attack.noise", torch.zeros(2)), rng.exhausted
    (tensor([1., 1.]), True)
    """

    def __init__(
        self,
        normal: Mapping[str, Sequence[Tensor]] | None = None,
        uniform: Mapping[str, Sequence[Tensor]] | None = None,
        step: int = 1,
        epoch: int = 1,
    ) -> None:
        self.step, self.epoch = step, epoch
        self._left = {
            (kind, place): list(numbers)
            for kind, places in (("normal", normal or {}), ("uniform", uniform or {}))
            for place, numbers in places.items()
        }

    def normal(self, place: str, like: Tensor) -> Tensor:
        """The place's next standard normal numbers, of like's shape."""
        return self._next("normal", place, like)

    def uniform(self, place: str, like: Tensor) -> Tensor:
        """The place's next uniform numbers, of like's shape."""
        return self._next("uniform", place, like)

    @property
    def exhausted(self) -> bool:
        """Whether everything has been handed out."""
        return not any(self._left.values())

    def _next(self, kind: str, place: str, like: Tensor) -> Tensor:
        left = self._left.get((kind, place), [])
        assert left, f"{place} draws {kind} numbers that were not recorded"
        assert left[0].shape == like.shape, f"{place} draws {tuple(like.shape)}, recorded were {tuple(left[0].shape)}"
        return left.pop(0)
