"""free_at: one training step, as its recipe says.

Compiled from free_at.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 5daa1594b705a80177f12da46335a8efe4e570f244cff1b8fd1ab92f31baa011
Cost: 3 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 5, as usually written 6.
Passes, at a tolerance of 0.002:
    merge evaluations: 1 point is evaluated once for both gradients; 5 units, now 3
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: no evaluation asks for an input's gradient alone
    fold projections: 2 times a ball and a box are one clamp
    roll: no operations repeat
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import carried, gradients, place

NAME = "free_at"  # free_at.toml:8
SEED = 0  # default
DATA = "digits"  # sgd.toml:8
BATCH = 64  # sgd.toml:9
REPEAT = 8  # free_at.toml:12
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "small_cnn"  # sgd.toml:12
EPOCHS = 8  # free_at.toml:39
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # free_at.toml:42

LINF_BALL_RADIUS = 0.15  # free_at.toml:30
STEP_SIZE = 0.15  # free_at.toml:25
LR_START = 0.1  # sgd.toml:17
LR_END = 0.0  # default
LR_LENGTH = 8  # default
MOMENTUM = 0.9  # sgd.toml:18
NESTEROV = False  # default
WEIGHT_DECAY = 0.0005  # sgd.toml:19


def carried_on(anchor: Tensor, carried: Tensor) -> Tensor:
    """The anchor with the displacement of before."""
    return anchor + carried


def bounds_in_box(centre: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The least and the largest coordinates within radius of the centre's and within [0, 1]."""
    return (centre - radius).clamp(0, 1), (centre + radius).clamp(0, 1)


def between(z: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Each coordinate of z to the nearest value from low to high."""
    return z.clamp(low, high)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def sign(g: Tensor) -> Tensor:
    """-1, 0 or 1 per coordinate."""
    return g.sign()


def gradient_step(z: Tensor, drift: Tensor, step_size: float) -> Tensor:
    """z moved along the drift."""
    return torch.add(z, drift, alpha=step_size)


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
    """One outer step, 3 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 free_at.toml:11 [data]
    x, y = next(batches)
    n = len(x)
    # start: carry                                   free_at.toml:19 [sampler.start]
    z = carried_on(x, carried(state, "attack.carry", x))
    # bounds of linf_ball and box                    free_at.toml:28 [sampler.projection]
    low, high = bounds_in_box(x, LINF_BALL_RADIUS)
    # project: linf_ball, then box                   free_at.toml:28 [sampler.projection]
    z = between(z, low, high)
    # the gradients in point and weights             default [sampler.target]                       Eq. 9
    g, part = gradients(model, z, y, cross_entropy, rng, weight=1.0 / n, mode="train")
    signal += part
    # move: gradient                                 free_at.toml:23 [sampler.kernel]               Eq. 9
    drift = sign(g)
    z = gradient_step(z, drift, STEP_SIZE)
    # project: linf_ball, then box                   free_at.toml:28 [sampler.projection]
    z = between(z, low, high)
    # the displacement is kept for the next step     free_at.toml:19 [sampler.start]
    state["attack.carry"] = z - x

    # update                                         free_at.toml:38 [optimizer]                    Eq. 7
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
