"""mnist_sgd: one training step, as its recipe says.

Compiled from sgd.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 19e5f303a02b521adffe7950ad2f6d754caa3aa8488d5aa231d3344a383ddd0d
Cost: 3 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 3, as usually written 3.
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

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import place, weight_gradient

NAME = "mnist_sgd"  # sgd.toml:6
SEED = 0  # default
DATA = "mnist"  # sgd.toml:9
BATCH = 128  # sgd.toml:10
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "cnn7"  # sgd.toml:13
EPOCHS = 50  # sgd.toml:17
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "clean"  # sgd.toml:21

LR_VALUE = 0.1  # sgd.toml:18
MOMENTUM = 0.0  # default
NESTEROV = False  # default
WEIGHT_DECAY = 0.0  # default


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def constant(t: int, value: float) -> float:
    """The value at every t."""
    return value


def sgd(parameters: Iterable[Tensor], lr: float, momentum: float, nesterov: bool, weight_decay: float) -> Optimizer:
    """The optimizer over these weights."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def make_optimizer(parameters):
    """The outer optimizer over these weights, as it begins."""
    return sgd(parameters, learning_rate(1, 1), MOMENTUM, NESTEROV, WEIGHT_DECAY)


def learning_rate(epoch, step):
    """The learning rate in this epoch and at this outer step, both counted from 1."""
    return constant(epoch, LR_VALUE)


def settings(epoch, step):
    """What the optimizer runs by in this epoch and at this outer step."""
    return {"lr": learning_rate(epoch, step)}


def train_step(model, optimizer, batches, rng, state):
    """One outer step, 3 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 sgd.toml:8 [data]
    x, y = next(batches)
    n = len(x)
    # the signal's gradient in the weights           default [objective]
    signal += weight_gradient(model, x, y, cross_entropy, rng, weight=1.0 / n)

    # update                                         sgd.toml:15 [optimizer]                        Eq. 7
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
