"""ibp: one training step, as its recipe says.

Compiled from ibp.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 9d3c19e7ed52480018178acc7053023b8edafa366d1a5ca1f2821fe2bf575a67
Cost: 9 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 9, as usually written 9.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: no evaluation asks for an input's gradient alone
    fold projections: there is no l-infinity ball with a box after it
    roll: no operations repeat
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import place, weight_gradient

NAME = "ibp"  # ibp.toml:9
SEED = 0  # default
DATA = "digits"  # sgd.toml:8
BATCH = 64  # sgd.toml:9
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "small_cnn"  # sgd.toml:12
EPOCHS = 60  # ibp.toml:18
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "last"  # sgd.toml:22

OBJECTIVE_KAPPA_START = 1.0  # ibp.toml:14
OBJECTIVE_KAPPA_END = 0.5  # ibp.toml:14
OBJECTIVE_KAPPA_AFTER = 5  # ibp.toml:14
OBJECTIVE_KAPPA_LENGTH = 30  # ibp.toml:14
OBJECTIVE_RADIUS_START = 0.0  # ibp.toml:15
OBJECTIVE_RADIUS_END = 0.15  # ibp.toml:15
OBJECTIVE_RADIUS_AFTER = 5  # ibp.toml:15
OBJECTIVE_RADIUS_LENGTH = 30  # ibp.toml:15
LR_START = 0.1  # sgd.toml:17
LR_END = 0.0  # default
LR_LENGTH = 60  # default
MOMENTUM = 0.9  # sgd.toml:18
NESTEROV = False  # default
WEIGHT_DECAY = 0.0005  # sgd.toml:19


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def interval_bound(logits: Tensor, y: Tensor, worst: Tensor, kappa: float) -> Tensor:
    """Cross entropy of logits and of the worst logits, kappa and 1 - kappa of them, per example."""
    return kappa * cross_entropy(logits, y) + (1 - kappa) * cross_entropy(worst, y)


def ramp(t: int, start: float, end: float, after: int, length: int) -> float:
    """The number at t."""
    return start + (end - start) * min(max(0, t - 1 - after), length) / length


def cosine(t: int, start: float, end: float, length: int) -> float:
    """The number at t."""
    return end + (start - end) * (1 + math.cos(math.pi * min(t - 1, length) / length)) / 2


def sgd(parameters: Iterable[Tensor], lr: float, momentum: float, nesterov: bool, weight_decay: float) -> Optimizer:
    """The optimizer over these weights."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def make_optimizer(parameters):
    """The outer optimizer over these weights, as it begins."""
    return sgd(parameters, learning_rate(1, 1), MOMENTUM, NESTEROV, WEIGHT_DECAY)


def learning_rate(epoch, step):
    """The learning rate in this epoch and at this outer step, both counted from 1."""
    return cosine(epoch, LR_START, LR_END, LR_LENGTH)


def settings(epoch, step):
    """What the optimizer runs by in this epoch and at this outer step."""
    return {"lr": learning_rate(epoch, step)}


def train_step(model, optimizer, batches, rng, state):
    """One outer step, 9 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 sgd.toml:7 [data]
    x, y = next(batches)
    n = len(x)
    # the signal's gradient in the weights           ibp.toml:12 [objective]
    signal += weight_gradient(
        model,
        x,
        y,
        partial(
            interval_bound,
            kappa=ramp(
                rng.epoch, OBJECTIVE_KAPPA_START, OBJECTIVE_KAPPA_END, OBJECTIVE_KAPPA_AFTER, OBJECTIVE_KAPPA_LENGTH
            ),
        ),
        rng,
        weight=1.0 / n,
        radius=ramp(
            rng.epoch, OBJECTIVE_RADIUS_START, OBJECTIVE_RADIUS_END, OBJECTIVE_RADIUS_AFTER, OBJECTIVE_RADIUS_LENGTH
        ),
    )

    # update                                         ibp.toml:17 [optimizer]                        Eq. 7
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
