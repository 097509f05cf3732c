"""atent_l2: one training step, as its recipe says.

Compiled from atent_l2.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 08812caeb9190e1f65c656dbc224685af467157400c64f3aa381e7b87275db76
Cost: 25 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 50, as usually written 60.
Passes, at a tolerance of 0.002:
    merge evaluations: 9 points are evaluated once for both gradients; 50 units, now 32
    drop negligible: 7 weight evaluations are not made, of coefficients that sum to 0.001; 32 units, now 25
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 8 evaluations ask for no weight gradient; as usually written 33 units, now 25
    fold projections: there is no l-infinity ball with a box after it
    roll: 45 operations are written as 15
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import gradients, input_gradient, place, weight_gradient, weights_frozen

NAME = "atent_l2"  # atent_l2.toml:6
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
SELECT = "robust"  # atent_l2.toml:39

START_RADIUS = 0.7  # atent_l2.toml:19
TURNS = 8  # atent_l2.toml:11
GAMMA = 0.05  # atent_l2.toml:15
STEP_SIZE = 0.14  # atent_l2.toml:23
NOISE = 0.001  # atent_l2.toml:24
L2_BALL_RADIUS = 0.7  # atent_l2.toml:29
COEFFICIENTS = (0.009, 0.09)  # atent_l2.toml:34
COEFFICIENT = 0.9  # atent_l2.toml:34
LR_START = 0.1  # sgd.toml:17
LR_END = 0.0  # default
LR_LENGTH = 30  # default
MOMENTUM = 0.9  # sgd.toml:18
NESTEROV = False  # default
WEIGHT_DECAY = 0.0005  # sgd.toml:19


def unit_l2(g: Tensor) -> Tensor:
    """Each example at Euclidean length one, zero where it is zero; exact for subnormal and huge numbers too."""
    flat = g.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    length = scaled.square().sum(dim=1, keepdim=True).sqrt()  # `norm` loses digits of long rows
    return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)


def within_l2(d: Tensor, radius: float) -> Tensor:
    """Each example scaled down to Euclidean length radius where it is longer."""
    if radius == 0:  # the squares of tiny numbers vanish, and they would look as short as this
        return torch.zeros_like(d)
    length = d.flatten(1).norm(dim=1).view(-1, *[1] * (d.dim() - 1))
    return torch.where(length > radius, radius * unit_l2(d), d)


def gaussian_ball(anchor: Tensor, xi: Tensor, radius: float) -> Tensor:
    """The anchor with normal noise, no longer than radius."""
    return anchor + within_l2(xi, radius)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def l2_pull(z: Tensor, anchor: Tensor, gamma: float) -> Tensor:
    """The force towards the anchor: minus the energy's gradient."""
    return gamma * (anchor - z)


def langevin_step(z: Tensor, drift: Tensor, xi: Tensor, step_size: float, noise: float) -> Tensor:
    """z moved along the drift, and diffused."""
    return torch.add(torch.add(z, drift, alpha=step_size), xi, alpha=math.sqrt(2 * step_size) * noise)


def l2_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """The nearest point within Euclidean distance radius of the anchor."""
    return anchor + within_l2(z - anchor, radius)


def box(z: Tensor) -> Tensor:
    """The nearest valid input."""
    return z.clamp(0, 1)


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

    # the next batch                                 sgd.toml:7 [data]                              Alg. 1, line 3
    x, y = next(batches)
    n = len(x)
    # start: gaussian_ball                           atent_l2.toml:17 [sampler.start]               Alg. 1, line 4
    z = gaussian_ball(x, rng.normal("attack.start", x), START_RADIUS)

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       atent_l2.toml:14 [sampler.target]              Alg. 1, line 7
            g = input_gradient(model, z, y, cross_entropy, rng, mode="train")
            # move: langevin                         atent_l2.toml:21 [sampler.kernel]              Alg. 1, line 8
            drift = unit_l2(g)
            z = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE) + l2_pull(z, x, GAMMA)
            # project: l2_ball                       atent_l2.toml:27 [sampler.projection]
            z = l2_ball(z, x, L2_BALL_RADIUS)
            # project: box                           atent_l2.toml:31 [sampler.projection]
            z = box(z)

    for c in COEFFICIENTS:
        # the gradients in point and weights         atent_l2.toml:14 [sampler.target]              Alg. 1, line 7
        g, part = gradients(model, z, y, cross_entropy, rng, weight=c / n, mode="train")
        signal += part
        # move: langevin                             atent_l2.toml:21 [sampler.kernel]              Alg. 1, line 8
        drift = unit_l2(g)
        z = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE) + l2_pull(z, x, GAMMA)
        # project: l2_ball                           atent_l2.toml:27 [sampler.projection]
        z = l2_ball(z, x, L2_BALL_RADIUS)
        # project: box                               atent_l2.toml:31 [sampler.projection]
        z = box(z)
    # the signal's gradient in the weights           atent_l2.toml:34 [sampler.averaging]           Alg. 1, lines 9-10
    signal += weight_gradient(model, z, y, cross_entropy, rng, weight=COEFFICIENT / n)

    # update                                         sgd.toml:14 [optimizer]                        Alg. 1, lines 12-13
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
