"""Stochastic weight averaging: the mean of the weights after each epoch, all equal.

    a_T = (w_1 + ... + w_T) / T,   as   a_t = a_(t-1) + (w_t - a_(t-1)) / t             (Izmailov et al., 2018, Alg. 1)

t counts epochs from `from_epoch` on, and w_t are the weights after the epoch's last step; an epoch that is broken off
does not count. No weights were ever at this average, so before it is measured a batch norm's running statistics are
estimated anew: in train mode, over the epoch's own batches, augmented as in training, without the points of any sampler
or the noise of a smoothing; all batches weigh the same. The other buffers are the network's own.
Costs, where there are such statistics, a forward of every training image an epoch, and one more copy of the weights.

>>> [swa_share(t) for t in (1, 2, 4)]
[1.0, 0.5, 0.25]
"""

from __future__ import annotations

from typing import ClassVar

from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.weight_average import WeightAverage


class Parameters(WeightAverage):
    """The table `[optimizer.weight_averaging]` with kind `swa`."""

    every: ClassVar = "epoch"
    statistics: ClassVar = "estimated"
    costs: ClassVar = (
        "after each epoch a forward of every training image, 1 unit a batch, where there is batch norm; one more copy "
        "of the weights"
    )


def swa_share(t: int) -> float:
    """The share that the weights have in their average, being the t-th that enter it."""
    return 1.0 / t


PRIMITIVE = Primitive(Parameters, swa_share, cites=("izmailov2018swa",))
