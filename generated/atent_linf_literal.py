"""atent_linf_literal: one training step, as its recipe says.

Compiled from atent_linf_literal.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 3f6fb37351707f1e5b6bfa6678820d2c0b29057c649ca7aed66d5aee541616e8
Cost: 25 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 50, as usually written 60.
Passes, at a tolerance of 0.002:
    merge evaluations: 9 points are evaluated once for both gradients; 50 units, now 32
    drop negligible: 7 weight evaluations are not made, of coefficients that sum to 0.001; 32 units, now 25
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 8 evaluations ask for no weight gradient; as usually written 33 units, now 25
    fold projections: there is no l-infinity ball with a box after it
    roll: 26 operations are written as 12
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import gradients, input_gradient, place, weight_gradient, weights_frozen

NAME = "atent_linf_literal"  # atent_linf_literal.toml:7
SEED = 0  # default
DATA = "digits"  # atent_linf.toml:9
BATCH = 64  # atent_linf.toml:10
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "small_cnn"  # atent_linf.toml:13
EPOCHS = 30  # atent_linf.toml:43
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # default

START_SD = 0.05  # atent_linf_literal.toml:18
TURNS = 8  # atent_linf.toml:17
STEP_SIZE = 0.03  # atent_linf.toml:26
NOISE = 0.001  # atent_linf.toml:27
COEFFICIENTS = (0.009, 0.09)  # atent_linf.toml:37
INCREMENT_CLIP_RADIUS = 0.15  # atent_linf_literal.toml:25
COEFFICIENT = 0.9  # atent_linf.toml:37
LR_START = 0.1  # atent_linf.toml:44
LR_END = 0.0  # default
LR_LENGTH = 30  # default
MOMENTUM = 0.9  # atent_linf.toml:45
NESTEROV = False  # default
WEIGHT_DECAY = 0.0005  # atent_linf.toml:46


def gaussian(anchor: Tensor, xi: Tensor, sd: float) -> Tensor:
    """The anchor with normal noise."""
    return anchor + sd * xi


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def langevin_step(z: Tensor, drift: Tensor, xi: Tensor, step_size: float, noise: float) -> Tensor:
    """z moved along the drift, and diffused."""
    return torch.add(torch.add(z, drift, alpha=step_size), xi, alpha=math.sqrt(2 * step_size) * noise)


def clip_around(z: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Each coordinate of z to the nearest value within radius of centre's."""
    return torch.minimum(torch.maximum(z, centre - radius), centre + radius)


def increment_clip(z: Tensor, old: Tensor, radius: float) -> Tensor:
    """z with its increment clipped on both sides, written so that a second clip changes nothing."""
    return clip_around(z, old, radius)


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
    """One outer step, 25 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 atent_linf.toml:8 [data]                       Alg. 2, line 3
    x, y = next(batches)
    n = len(x)
    # start: gaussian                                atent_linf_literal.toml:16 [sampler.start]     Alg. 2, line 4
    z = gaussian(x, rng.normal("attack.start", x), START_SD)

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       atent_linf_literal.toml:13 [sampler.target]    Alg. 2, line 7
            g = input_gradient(model, z, y, cross_entropy, rng, mode="train")
            # move: langevin                         atent_linf_literal.toml:20 [sampler.kernel]    Alg. 2, line 8
            drift = g / n
            z = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE)

    for c in COEFFICIENTS:
        # the gradients in point and weights         atent_linf_literal.toml:13 [sampler.target]    Alg. 2, line 7
        g, part = gradients(model, z, y, cross_entropy, rng, weight=c / n, mode="train")
        signal += part
        # move: langevin                             atent_linf_literal.toml:20 [sampler.kernel]    Alg. 2, line 8
        old = z
        drift = g / n
        z = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE)
    # project: increment_clip                        atent_linf_literal.toml:23 [sampler.projection] Alg. 2, line 8
    z = increment_clip(z, old, INCREMENT_CLIP_RADIUS)
    # the signal's gradient in the weights           atent_linf.toml:37 [sampler.averaging]         Alg. 2, lines 9-10
    signal += weight_gradient(model, z, y, cross_entropy, rng, weight=COEFFICIENT / n)

    # update                                         atent_linf.toml:41 [optimizer]                 Alg. 2, lines 12-13
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
