"""atent_finetune: one training step, as its recipe says.

Compiled from atent_finetune.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: e7c1fa3677bf179f26800b3ea4bca86fde86fc53f843162aad846a7bfaeb59b7
Cost: 25 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 50, as usually written 60.
Passes, at a tolerance of 0.002:
    merge evaluations: 9 points are evaluated once for both gradients; 50 units, now 32
    drop negligible: 7 weight evaluations are not made, of coefficients that sum to 0.001; 32 units, now 25
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 8 evaluations ask for no weight gradient; as usually written 33 units, now 25
    fold projections: 10 times a ball and a box are one clamp
    roll: 36 operations are written as 14
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import gradients, input_gradient, place, weight_gradient, weights_frozen

NAME = "atent_finetune"  # atent_finetune.toml:8
SEED = 0  # default
DATA = "digits"  # atent_linf.toml:9
BATCH = 64  # atent_linf.toml:10
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "small_cnn"  # atent_linf.toml:13
EPOCHS = 20  # atent_finetune.toml:15
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # default

START_RADIUS = 0.18  # atent_linf.toml:22
LINF_BALL_RADIUS = 0.18  # atent_linf.toml:32
TURNS = 8  # atent_linf.toml:17
STEP_SIZE = 0.03  # atent_linf.toml:26
NOISE = 0.001  # atent_linf.toml:27
COEFFICIENTS = (0.009, 0.09)  # atent_linf.toml:37
COEFFICIENT = 0.9  # atent_linf.toml:37
LR_VALUE = 0.0001  # atent_finetune.toml:16
MOMENTUM = 0.9  # atent_linf.toml:45
NESTEROV = False  # default
WEIGHT_DECAY = 0.0005  # atent_linf.toml:46


def corner(anchor: Tensor, xi: Tensor, radius: float) -> Tensor:
    """A corner of the cube around the anchor."""
    return torch.where(xi < 0, anchor - radius, anchor + radius)


def bounds_in_box(centre: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The least and the largest coordinates within radius of the centre's and within [0, 1]."""
    return (centre - radius).clamp(0, 1), (centre + radius).clamp(0, 1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def sign(g: Tensor) -> Tensor:
    """-1, 0 or 1 per coordinate."""
    return g.sign()


def langevin_step(z: Tensor, drift: Tensor, xi: Tensor, step_size: float, noise: float) -> Tensor:
    """z moved along the drift, and diffused."""
    return torch.add(torch.add(z, drift, alpha=step_size), xi, alpha=math.sqrt(2 * step_size) * noise)


def between(z: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Each coordinate of z to the nearest value from low to high."""
    return z.clamp(low, high)


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
    """One outer step, 25 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 atent_linf.toml:8 [data]                       Alg. 2, line 3
    x, y = next(batches)
    n = len(x)
    # start: corner                                  atent_linf.toml:20 [sampler.start]             Alg. 2, line 4
    z = corner(x, rng.normal("attack.start", x), START_RADIUS)
    # bounds of linf_ball and box                    atent_linf.toml:30 [sampler.projection]        Alg. 2, line 8
    low, high = bounds_in_box(x, LINF_BALL_RADIUS)

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       default [sampler.target]                       Alg. 2, line 7
            g = input_gradient(model, z, y, cross_entropy, rng, mode="train")
            # move: langevin                         atent_linf.toml:24 [sampler.kernel]            Alg. 2, line 8
            drift = sign(g)
            z = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE)
            # project: linf_ball, then box           atent_linf.toml:30 [sampler.projection]        Alg. 2, line 8
            z = between(z, low, high)

    for c in COEFFICIENTS:
        # the gradients in point and weights         default [sampler.target]                       Alg. 2, line 7
        g, part = gradients(model, z, y, cross_entropy, rng, weight=c / n, mode="train")
        signal += part
        # move: langevin                             atent_linf.toml:24 [sampler.kernel]            Alg. 2, line 8
        drift = sign(g)
        z = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE)
        # project: linf_ball, then box               atent_linf.toml:30 [sampler.projection]        Alg. 2, line 8
        z = between(z, low, high)
    # the signal's gradient in the weights           atent_linf.toml:37 [sampler.averaging]         Alg. 2, lines 9-10
    signal += weight_gradient(model, z, y, cross_entropy, rng, weight=COEFFICIENT / n)

    # update                                         atent_finetune.toml:14 [optimizer]             Alg. 2, lines 12-13
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
