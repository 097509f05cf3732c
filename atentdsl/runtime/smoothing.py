"""The network smoothed: evaluated at noisy copies of a point, all of them in one forward, and what is averaged there.

    losses          L(z) = (1/m) sum_i loss(f(z + sigma xi_i))
    probabilities   L(z) = loss(log((1/m) sum_i softmax f(z + sigma xi_i)))

The noise is added where the network is called and nowhere else: no point keeps any, and nothing clamps it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from atentdsl.runtime.streams import Streams

__all__ = ["Average", "copies", "mean_losses", "mean_probabilities", "smoothing_noise", "tiled"]

Average = Literal["probabilities", "losses"]


def smoothing_noise(rng: Streams, place: str, x: Tensor, sigma: float, draws: int) -> list[Tensor]:
    """sigma * xi of x's shape, as often as there are draws, one read on after the other.

    >>> rng = Streams(seed=0, step=1, device=torch.device("cpu"))
    >>> [noise.shape for noise in smoothing_noise(rng, "smoothing.noise", torch.zeros(2, 3), sigma=0.1, draws=2)]
    [torch.Size([2, 3]), torch.Size([2, 3])]
    """
    return [sigma * rng.normal(place, x) for _ in range(draws)]


def copies(z: Tensor, noise: Sequence[Tensor]) -> Tensor:
    """z with each draw of the noise, `(draws * batch, *input)`, the copies of one draw together; z where none is drawn.

    >>> copies(torch.zeros(2), [torch.ones(2), torch.full((2,), 2.0)])
    tensor([1., 1., 2., 2.])
    """
    return torch.cat([z + each for each in noise]) if noise else z


def mean_probabilities(logits: Tensor, draws: int) -> Tensor:
    """The logarithm of the mean over the copies of softmax(logits), `(batch, classes)`: logits that say the same.

    Stable where a probability underflows: it is never left as such.

    >>> mean_probabilities(torch.tensor([[0.0, 0.0], [0.0, 1.0986]]), draws=2).exp()
    tensor([[0.3750, 0.6250]])
    """
    each = torch.log_softmax(logits, dim=1).view(draws, -1, logits.shape[1])
    return torch.logsumexp(each, dim=0) - math.log(draws)


def tiled(y: Tensor, draws: int, count: int) -> Tensor:
    """What the copies' logits are compared with: labels once for each draw; clean logits of the copies as they are.

    >>> tiled(torch.tensor([0, 2]), draws=2, count=4)
    tensor([0, 2, 0, 2])
    """
    return y if len(y) == count else torch.cat([y] * draws)


def mean_losses(losses: Tensor, draws: int) -> Tensor:
    """The mean over the copies of their losses, `(batch,)`.

    >>> mean_losses(torch.tensor([1.0, 2.0, 3.0, 6.0]), draws=2)
    tensor([2., 4.])
    """
    return losses.view(draws, -1).mean(dim=0)
