"""Which classes a network gives to noisy copies of images: the votes that certification counts.

An image's draws of all stages follow one another in one row, and the images' rows too. The row is cut into batches, so
each but the last is full, whatever the numbers of draws.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence

import attrs
import torch
from torch import Tensor, nn

from atentdsl.runtime import memory
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import MemoryExhausted, NotFinite
from atentdsl.runtime.modes import mode_kept
from atentdsl.runtime.streams import key

__all__ = ["Stage", "votes"]

# Noise is drawn in pieces that the image's shape alone decides: 1,000 copies, or 16 MB where that is less.
COPIES, NUMBERS = 1000, 2**22


@attrs.frozen
class Stage:
    """So many draws for one purpose, in a random stream of their own."""

    name: str
    draws: int


def votes(
    model: nn.Module,
    images: Images,
    sigma: float,
    stages: Sequence[Stage],
    seed: int,
    batch: int = 1000,
    first: int = 0,
    between: Callable[[], None] = lambda: None,
    halve: bool = True,
) -> Iterator[tuple[int, list[list[int]]]]:
    """Each image's number and, for each stage, how many of its noisy copies x + sigma xi got each class.

    The network is in eval mode; copies are float32 and not clamped. The same votes come for every batch, as far as the
    network's logits do not depend on it; noise is drawn on the images' device, and a CPU draws other numbers than a
    GPU. Between images the network's mode and the global random generators are as they were found.

    Args:
        model: maps `(batch, *input)` to logits `(batch, classes)`.
        images: x `(n, *input)`, on the network's device.
        sigma: the noise's deviation, in units of inputs in [0, 1].
        stages: the draws of an image.
        seed: of the noise, with the image's number and the stage's name.
        batch: copies at a time.
        first: the image to begin with.
        between: called before each batch; may raise, to stop it there.
        halve: whether half the batch is taken, and half of that, where memory does not hold it.

    Raises:
        NotFinite: a logit is no finite number; names the image.
        MemoryExhausted: not even one copy fits; where nothing is halved, the error of memory as it is.

    >>> images = Images(torch.eye(2), torch.arange(2), classes=2)
    >>> list(votes(nn.Identity(), images, 0.1, [Stage("selection", 10)], seed=0, batch=7))
    [(0, [[10, 0]]), (1, [[0, 10]])]
    """
    devices = [images.device] if images.device.type == "cuda" else []
    full = torch.autocast(images.device.type, enabled=False)
    while first < len(images):
        counted = _counted(model, images, sigma, stages, seed, batch, first, between)
        exhausted = False
        while not exhausted:
            try:
                with mode_kept(model), torch.random.fork_rng(devices), torch.no_grad(), full:
                    model.eval()
                    found = next(counted, None)
            except (MemoryError, RuntimeError) as error:
                if not (halve and memory.is_exhausted(error)):
                    raise
                if batch == 1:
                    raise MemoryExhausted("certifying", 1, None, "--batch") from error
                exhausted = True
            else:
                if found is None:
                    return
                yield found
                first = found[0] + 1
        # Here, where the error's frames no longer hold what they had.
        batch //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _counted(
    model: nn.Module,
    images: Images,
    sigma: float,
    stages: Sequence[Stage],
    seed: int,
    batch: int,
    first: int,
    between: Callable[[], None],
) -> Iterator[tuple[int, list[list[int]]]]:
    """As `votes`, without its care for the network's mode, random states and memory.

    Counts stay on the device until their image is done: asking for them earlier would make a GPU wait at every batch.
    """
    counts: dict[int, Tensor] = {}
    for pieces, done in _batches(images, sigma, stages, seed, batch, first):
        between()
        logits = model(pieces[0].x if len(pieces) == 1 else torch.cat([piece.x for piece in pieces]))
        classes = logits.shape[1]
        # Of logits that are not finite the vote goes to one class more than there are.
        given = torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), classes)
        for piece, own in zip(pieces, torch.split(given, [len(piece.x) for piece in pieces]), strict=True):
            if piece.image not in counts:
                counts[piece.image] = torch.zeros(len(stages), classes + 1, dtype=torch.int64, device=images.device)
            counts[piece.image][piece.stage].scatter_add_(0, own, torch.ones_like(own))
        for image in done:
            found = counts.pop(image).tolist()
            if any(row[-1] for row in found):
                raise NotFinite(image, "the images under noise")
            yield image, [row[:-1] for row in found]


@attrs.frozen(eq=False)
class _Piece:
    """Noisy copies of one image, for one stage."""

    image: int
    stage: int
    x: Tensor


def _batches(
    images: Images, sigma: float, stages: Sequence[Stage], seed: int, batch: int, first: int
) -> Iterator[tuple[list[_Piece], list[int]]]:
    """The row cut into batches, each with the images that it completes."""
    pieces: list[_Piece] = []
    done: list[int] = []
    room = batch
    for image in range(first, len(images)):
        for drawn in _drawn(images, image, sigma, stages, seed):
            x = drawn.x
            while len(x):
                if not room:
                    yield pieces, done
                    pieces, done, room = [], [], batch
                pieces.append(attrs.evolve(drawn, x=x[:room]))
                x = x[room:]
                room -= len(pieces[-1].x)
        done.append(image)
    if pieces:
        yield pieces, done


def _drawn(images: Images, image: int, sigma: float, stages: Sequence[Stage], seed: int) -> Iterator[_Piece]:
    """An image's noisy copies, in pieces that no batch decides: how numbers are drawn and added depends on how many."""
    clean, _ = images.take(slice(image, image + 1))
    size = max(1, min(COPIES, NUMBERS // clean.numel()))
    generator = torch.Generator(images.device)
    for number, stage in enumerate(stages):
        for begin in range(0, stage.draws, size):
            generator.manual_seed(key(seed, "certification", image, stage.name, begin))
            shape = (min(size, stage.draws - begin), *images.shape)
            noise = torch.randn(shape, generator=generator, device=images.device)
            yield _Piece(image, number, clean + sigma * noise)
