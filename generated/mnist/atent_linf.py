"""mnist_atent_linf: one training step, as its recipe says.

Compiled from atent_linf.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: dea728b3b3412d376add320452e97cfa2a8007d63d70c9f416d83e44531a7b4d
Cost: 400 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 400, as usually written 480.
Passes:
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 80 evaluations ask for no weight gradient; as usually written 480 units, now 400
    roll: 483 operations are written as 10
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import input_gradient, weight_gradient, weights_frozen

NAME = "mnist_atent_linf"  # atent_linf.toml:7
SEED = 0  # default
DATA = "mnist"  # sgd.toml:9
BATCH = 128  # sgd.toml:10
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "cnn7"  # sgd.toml:13
EPOCHS = 30  # atent_linf.toml:37
ON_DIVERGENCE = "stop"  # default
PRECISION = "float32"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # atent_linf.toml:42

START_RADIUS = 0.3  # atent_linf.toml:17
COEFFICIENTS = (  # atent_linf.toml:32
    9e-80,
    9e-79,
    9e-78,
    9e-77,
    9e-76,
    9e-75,
    9e-74,
    9e-73,
    9e-72,
    9e-71,
    9e-70,
    9e-69,
    9e-68,
    9e-67,
    9e-66,
    9e-65,
    9e-64,
    9e-63,
    9e-62,
    9e-61,
    9e-60,
    9e-59,
    9e-58,
    9e-57,
    9e-56,
    9e-55,
    9e-54,
    9e-53,
    9e-52,
    9e-51,
    9e-50,
    9e-49,
    9e-48,
    9e-47,
    9e-46,
    9e-45,
    9e-44,
    9e-43,
    9e-42,
    9e-41,
    9e-40,
    9e-39,
    9e-38,
    9e-37,
    9e-36,
    9e-35,
    9e-34,
    9e-33,
    9e-32,
    9e-31,
    9e-30,
    9e-29,
    9e-28,
    9e-27,
    9e-26,
    9e-25,
    9e-24,
    9e-23,
    9e-22,
    9e-21,
    9e-20,
    9e-19,
    9e-18,
    9e-17,
    9e-16,
    9e-15,
    9e-14,
    9e-13,
    9e-12,
    9e-11,
    9e-10,
    9e-09,
    9e-08,
    9e-07,
    9e-06,
    9e-05,
    0.0009,
    0.009,
    0.09,
    0.9,
)
STEP_SIZE = 0.01  # atent_linf.toml:21
NOISE = 0.0001  # atent_linf.toml:22
LINF_BALL_RADIUS = 0.3  # atent_linf.toml:27
LR_VALUE = 0.01  # atent_linf.toml:38
MOMENTUM = 0.9  # atent_linf.toml:39
NESTEROV = False  # default
WEIGHT_DECAY = 0.0  # default


def corner(anchor: Tensor, xi: Tensor, radius: float) -> Tensor:
    """A corner of the cube around the anchor."""
    return torch.where(xi < 0, anchor - radius, anchor + radius)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def sign(g: Tensor) -> Tensor:
    """-1, 0 or 1 per coordinate."""
    return g.sign()


def langevin_step(z: Tensor, drift: Tensor, xi: Tensor, step_size: float, noise: float) -> Tensor:
    """z moved along the drift, and diffused."""
    return z + step_size * drift + math.sqrt(2 * step_size) * noise * xi


def clip_around(z: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Each coordinate of z to the nearest value within radius of centre's."""
    return torch.minimum(torch.maximum(z, centre - radius), centre + radius)


def linf_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """The nearest point within radius of the anchor in every coordinate."""
    return clip_around(z, anchor, radius)


def box(z: Tensor) -> Tensor:
    """The nearest valid input."""
    return z.clamp(0, 1)


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
    """One outer step, 400 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 sgd.toml:8 [data]                              Alg. 2, line 3
    x, y = next(batches)
    n = len(x)
    # start: corner                                  atent_linf.toml:15 [sampler.start]             Alg. 2, line 4
    z = corner(x, rng.normal("attack.start", x), START_RADIUS)

    for c in COEFFICIENTS:
        with weights_frozen(model):
            # the loss's gradient in the point       default [sampler.target]                       Alg. 2, line 7
            g = input_gradient(model, z, y, cross_entropy, rng, mode="train")
            # move: langevin                         atent_linf.toml:19 [sampler.kernel]            Alg. 2, line 8
            drift = sign(g)
            z = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE)
            # project: linf_ball                     atent_linf.toml:25 [sampler.projection]        Alg. 2, line 8
            z = linf_ball(z, x, LINF_BALL_RADIUS)
            # project: box                           atent_linf.toml:29 [sampler.projection]        Alg. 2, line 8
            z = box(z)
        # the signal's gradient in the weights       atent_linf.toml:32 [sampler.averaging]         Alg. 2, lines 9-10
        signal += weight_gradient(model, z, y, cross_entropy, rng, weight=c / n)

    # update                                         atent_linf.toml:36 [optimizer]                 Alg. 2, lines 12-13
    optimizer.step()
    return signal
