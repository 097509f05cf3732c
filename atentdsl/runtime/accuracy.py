"""Clean and robust accuracy of a network on images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor, nn

from atentdsl.runtime import memory
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import MemoryExhausted, NotFinite
from atentdsl.runtime.modes import mode_kept
from atentdsl.runtime.streams import key

# Which images withstand an attack: model, x, y and a seed to a boolean for each image.
Withstands = Callable[[nn.Module, Tensor, Tensor, int], Tensor]


@attrs.frozen
class Accuracy:
    """Shares of images, as fractions.

    Attributes:
        n: how many images.
        clean: classified right as they are.
        robust: for each attack, classified right as they are and under it.
    """

    n: int
    clean: float
    robust: tuple[float, ...]


def accuracy(
    model: nn.Module,
    images: Images,
    attacks: Sequence[Withstands],
    seed: int,
    batch: int = 512,
    between: Callable[[], None] = lambda: None,
) -> Accuracy:
    """The network's accuracy in eval mode, on the images' device.

    An image that is classified wrong as it is counts as broken by every attack, and is not attacked. The network's
    mode and the global random generators are left as they were found.

    Args:
        model: maps `(batch, *input)` in [0, 1] to logits `(batch, classes)`.
        images: what it is asked about.
        attacks: each says which images withstand it.
        seed: of the attacks' draws.
        batch: images at a time; the attacks' draws depend on it.
        between: called before each batch and each attack on it; may raise, to stop it there.

    Raises:
        NotFinite: a logit is no finite number.
        MemoryExhausted: names a batch that fits.
    """
    try:
        return _measured(model, images, attacks, seed, batch, between)
    except (MemoryError, RuntimeError) as error:
        if not memory.is_exhausted(error):
            raise

    def trial(size: int) -> None:
        first = Images(images.x[:size], images.y[:size], images.classes)
        _measured(model, first, attacks, seed, size, between)

    # Looked into here, where the error's frames no longer hold what they had.
    fits = memory.fitting(trial, min(batch, len(images)))
    raise MemoryExhausted("measuring accuracies", min(batch, len(images)), fits, "evaluate.batch")


def _measured(
    model: nn.Module,
    images: Images,
    attacks: Sequence[Withstands],
    seed: int,
    batch: int,
    between: Callable[[], None],
) -> Accuracy:
    devices = [images.device] if images.device.type == "cuda" else []
    clean = torch.zeros((), dtype=torch.int64, device=images.device)
    robust = torch.zeros(len(attacks), dtype=torch.int64, device=images.device)
    with mode_kept(model), torch.random.fork_rng(devices=devices):
        for number, first in enumerate(range(0, len(images), batch)):
            between()
            x, y = images.take(slice(first, first + batch))
            right = correct(model, x, y)
            clean += right.sum()
            for i, withstands in enumerate(attacks):
                between()
                if right.any():
                    robust[i] += withstands(model, x[right], y[right], key(seed, "attack", i, number)).sum()
    n = len(images)
    return Accuracy(n, int(clean) / n, tuple(int(count) / n for count in robust))


def correct(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which images the network classifies right in eval mode, a boolean each.

    Raises:
        NotFinite: a logit is no finite number; the first such image is named.
    """
    model.eval()
    with torch.no_grad():
        logits = model(x)
        finite = logits.isfinite().all(dim=1)
        if not bool(finite.all()):
            raise NotFinite(int(torch.nonzero(~finite)[0]))
        right: Tensor = logits.argmax(dim=1) == y
    return right
