"""smoothadv: one training step, as its recipe says.

Compiled from smoothadv.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: daa3e5aa10035ff3e684e4dc1132c73f194c613ad9fe523f118221870ccabf03
Cost: 46 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 46, as usually written 66.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 10 evaluations ask for no weight gradient; as usually written 66 units, now 46
    fold projections: there is no l-infinity ball with a box after it
    roll: 46 operations are written as 11
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import input_gradient, place, smoothing_noise, weight_gradient, weights_frozen

NAME = "smoothadv"  # smoothadv.toml:12
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
SELECT = "robust"  # smoothadv.toml:43

SIGMA = 0.12  # smoothadv.toml:33
DRAWS = 2  # smoothadv.toml:34
TURNS = 10  # smoothadv.toml:17
STEP_SIZE_START = 0.014  # smoothadv.toml:22
STEP_SIZE_END = 0.14  # smoothadv.toml:22
STEP_SIZE_LENGTH = 9  # smoothadv.toml:22
L2_BALL_RADIUS_START = 0.07  # smoothadv.toml:30
L2_BALL_RADIUS_END = 0.7  # smoothadv.toml:30
L2_BALL_RADIUS_LENGTH = 9  # smoothadv.toml:30
LR_START = 0.05  # smoothadv.toml:40
LR_END = 0.0  # default
LR_LENGTH = 30  # default
MOMENTUM = 0.9  # sgd.toml:18
NESTEROV = False  # default
WEIGHT_DECAY = 0.0005  # sgd.toml:19


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def unit_l2(g: Tensor) -> Tensor:
    """Each example at Euclidean length one, zero where it is zero; exact for subnormal and huge numbers too."""
    flat = g.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    length = scaled.square().sum(dim=1, keepdim=True).sqrt()  # `norm` loses digits of long rows
    return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)


def gradient_step(z: Tensor, drift: Tensor, step_size: float) -> Tensor:
    """z moved along the drift."""
    return torch.add(z, drift, alpha=step_size)


def linear(t: int, start: float, end: float, length: int) -> float:
    """The number at t."""
    return start + (end - start) * min(t - 1, length) / length


def box(z: Tensor) -> Tensor:
    """The nearest valid input."""
    return z.clamp(0, 1)


def within_l2(d: Tensor, radius: float) -> Tensor:
    """Each example scaled down to Euclidean length radius where it is longer."""
    if radius == 0:  # the squares of tiny numbers vanish, and they would look as short as this
        return torch.zeros_like(d)
    length = d.flatten(1).norm(dim=1).view(-1, *[1] * (d.dim() - 1))
    return torch.where(length > radius, radius * unit_l2(d), d)


def l2_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """The nearest point within Euclidean distance radius of the anchor."""
    return anchor + within_l2(z - anchor, radius)


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
    """One outer step, 46 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 sgd.toml:7 [data]                              Alg. 4, line 3
    x, y = next(batches)
    n = len(x)
    # the smoothing's noise                          smoothadv.toml:32 [smoothing]
    noise = smoothing_noise(rng, "smoothing.noise", x, SIGMA, DRAWS)
    # start: zero                                    default [sampler.start]                        Alg. 4, line 4
    z = x

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       default [sampler.target]                       Alg. 4, line 6
            g = input_gradient(model, z, y, cross_entropy, rng, mode="eval", noise=noise, average="probabilities")
            # move: gradient                         smoothadv.toml:20 [sampler.kernel]             Alg. 4, line 7
            drift = unit_l2(g)
            z = gradient_step(z, drift, linear(rng.epoch, STEP_SIZE_START, STEP_SIZE_END, STEP_SIZE_LENGTH))
            # project: box                           smoothadv.toml:25 [sampler.projection]         Alg. 4, line 8
            z = box(z)
            # project: l2_ball                       smoothadv.toml:28 [sampler.projection]         Alg. 4, line 8
            z = l2_ball(z, x, linear(rng.epoch, L2_BALL_RADIUS_START, L2_BALL_RADIUS_END, L2_BALL_RADIUS_LENGTH))
    # the signal's gradient in the weights           default [sampler.averaging]                    Alg. 4, line 10
    signal += weight_gradient(model, z, y, cross_entropy, rng, weight=1.0 / n, noise=noise, average="losses")

    # update                                         smoothadv.toml:39 [optimizer]                  Alg. 4, lines 11-12
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
