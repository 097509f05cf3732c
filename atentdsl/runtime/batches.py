"""Images in batches: shuffled, augmented, and found again from numbers alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch

from atentdsl.runtime.data import Images, generator, unit
from atentdsl.runtime.examples import Batch

__all__ = ["AUGMENTATIONS", "Batches", "batches", "steps_per_epoch"]

PADDING = 4


def steps_per_epoch(n: int, size: int) -> int:
    """Count the batches of `size` in an epoch over `n` images: an incomplete one is left out unless it is the only one.

    >>> steps_per_epoch(100, 32), steps_per_epoch(20, 32)
    (3, 1)
    """
    if n < 1 or size < 1:
        raise ValueError(f"an epoch needs at least one image and a batch size of at least one, not {n} and {size}")
    return max(1, n // size)


def batches(
    images: Images,
    size: int,
    *,
    seed: int,
    epoch: int,
    first_step: int,
    augment: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
    skip: int = 0,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Give the batches of one epoch: x (batch, *input) floats in [0, 1], y (batch,), both on the images' device.

    Each knows the numbers of its images, `examples`, and how many there are, `of`.

    The order is a permutation keyed by (seed, epoch); the augmentation of the batch with number i is keyed by
    (seed, first_step + i). So a run resumes from the numbers alone: the first `skip` batches are left out without being
    made. `augment` lists names from `AUGMENTATIONS`, applied in that order.

    Raises:
        ValueError: an unknown augmentation, one that the images' shape does not allow, or an empty epoch; raised at
            once, before the first batch.

    >>> images = Images(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2, 3, 4]), classes=5)
    >>> [len(y) for x, y in batches(images, 2, seed=0, epoch=1, first_step=0)]
    [2, 2]
    """
    steps = steps_per_epoch(len(images), size)
    for name in augment:
        if name not in AUGMENTATIONS:
            raise ValueError(f"unknown augmentation {name!r}; known: {', '.join(AUGMENTATIONS)}")
    if augment and len(images.shape) != 3:
        raise ValueError(f"augmentation needs images of shape (channels, height, width), not {images.shape}")

    def draw() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(images), generator=generator(f"{seed}/{epoch}/order")).to(images.device)
        for i in range(skip, steps):
            index = order[i * size : (i + 1) * size]
            x = images.x[index]
            for name in augment:
                x = AUGMENTATIONS[name](x, generator(f"{seed}/{first_step + i}/{name}"))
            yield Batch((unit(x, dtype), images.y[index]), index, len(images))

    return draw()


class Batches:
    """The batches of one pass over the images after another, each `repeat` times in a row, without end.

    Pass p is `batches` of epoch p, and the batches are counted on from pass to pass. A step that takes several batches
    sees several passes an epoch.

    Attributes:
        taken: how many batches were given, repetitions included; given to a new stream, it goes on from there.

    >>> images = Images(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2, 3]), classes=4)
    >>> stream = Batches(images, 2, seed=0, repeat=2)
    >>> labels = [next(stream)[1].tolist() for _ in range(6)]
    >>> labels[0] == labels[1], sorted(labels[1] + labels[2])
    (True, [0, 1, 2, 3])
    >>> next(Batches(images, 2, seed=0, repeat=2, taken=5))[1].tolist() == labels[5]
    True
    """

    def __init__(
        self, images: Images, size: int, *, seed: int, augment: Sequence[str] = (), repeat: int = 1, taken: int = 0
    ) -> None:
        self.taken = taken
        self._stream = _endless(images, size, seed, augment, repeat, taken)

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        pair = next(self._stream)
        self.taken += 1
        return pair


def _endless(
    images: Images, size: int, seed: int, augment: Sequence[str], repeat: int, taken: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    per_pass = steps_per_epoch(len(images), size)
    different, again = divmod(taken, repeat)
    begun, skip = divmod(different, per_pass)
    for number in itertools.count(begun):
        first = 1 + number * per_pass
        for pair in batches(images, size, seed=seed, epoch=1 + number, first_step=first, augment=augment, skip=skip):
            yield from itertools.repeat(pair, repeat - again)
            again = 0
        skip = 0


def windows(x: torch.Tensor, top: torch.Tensor, left: torch.Tensor, padding: int) -> torch.Tensor:
    """Pad `x` (n, c, h, w) with zeros and cut each image's (h, w) window out at its `top` and `left`, (n,) each.

    >>> x = torch.arange(4).reshape(1, 1, 2, 2)
    >>> windows(x, torch.tensor([2]), torch.tensor([1]), padding=1)
    tensor([[[[2, 3],
              [0, 0]]]])
    """
    n, channels, height, width = x.shape
    padded = torch.nn.functional.pad(x, (padding,) * 4)
    device = x.device
    rows = top[:, None] + torch.arange(height, device=device)
    columns = left[:, None] + torch.arange(width, device=device)
    image = torch.arange(n, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def crop4(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pad each image of `x` (n, c, h, w) with 4 zeros on each side and crop to its size at a random place."""
    top, left = torch.randint(2 * PADDING + 1, (2, len(x)), generator=generator).to(x.device)
    return windows(x, top, left, PADDING)


def flip(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image of `x` (n, c, h, w) left to right with probability one half."""
    mirrored = torch.randint(2, (len(x),), generator=generator).to(x.device) == 1
    return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


AUGMENTATIONS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {"crop4": crop4, "flip": flip}
