"""pgd_at_linf: one training step, as its recipe says.

Compiled from pgd_at_linf.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: be2594d18482394f18b4709376e879d7ffffcb58e73a89aa8c5291001fc8efc5
Cost: 23 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 23, as usually written 33.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 10 evaluations ask for no weight gradient; as usually written 33 units, now 23
    fold projections: 11 times a ball and a box are one clamp
    roll: 37 operations are written as 11
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import input_gradient, place, weight_gradient, weights_frozen

NAME = "pgd_at_linf"  # pgd_at_linf.toml:7
SEED = 0  # default
DATA = "digits"  # sgd.toml:8
BATCH = 64  # sgd.toml:9
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "small_cnn"  # sgd.toml:12
EPOCHS = 30  # sgd.toml:16
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # pgd_at_linf.toml:33

START_RADIUS = 0.15  # pgd_at_linf.toml:17
LINF_BALL_RADIUS = 0.15  # pgd_at_linf.toml:27
TURNS = 10  # pgd_at_linf.toml:12
STEP_SIZE = 0.03  # pgd_at_linf.toml:22
LR_START = 0.1  # sgd.toml:17
LR_END = 0.0  # default
LR_LENGTH = 30  # default
MOMENTUM = 0.9  # sgd.toml:18
NESTEROV = False  # default
WEIGHT_DECAY = 0.0005  # sgd.toml:19


def uniform(anchor: Tensor, u: Tensor, radius: float) -> Tensor:
    """A point of the cube around the anchor."""
    return anchor + radius * (2 * u - 1)


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
    """One outer step, 23 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 sgd.toml:7 [data]                              Alg. 4, line 3
    x, y = next(batches)
    n = len(x)
    # start: uniform                                 pgd_at_linf.toml:15 [sampler.start]            Alg. 4, line 4
    z = uniform(x, rng.uniform("attack.start", x), START_RADIUS)
    # bounds of linf_ball and box                    pgd_at_linf.toml:25 [sampler.projection]       Alg. 4, line 8
    low, high = bounds_in_box(x, LINF_BALL_RADIUS)
    # project: linf_ball, then box                   pgd_at_linf.toml:25 [sampler.projection]       Alg. 4, line 8
    z = between(z, low, high)

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       default [sampler.target]                       Alg. 4, line 6
            g = input_gradient(model, z, y, cross_entropy, rng, mode="train")
            # move: gradient                         pgd_at_linf.toml:20 [sampler.kernel]           Alg. 4, line 7
            drift = sign(g)
            z = gradient_step(z, drift, STEP_SIZE)
            # project: linf_ball, then box           pgd_at_linf.toml:25 [sampler.projection]       Alg. 4, line 8
            z = between(z, low, high)
    # the signal's gradient in the weights           default [sampler.averaging]                    Alg. 4, line 10
    signal += weight_gradient(model, z, y, cross_entropy, rng, weight=1.0 / n)

    # update                                         sgd.toml:14 [optimizer]                        Alg. 4, lines 11-12
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
