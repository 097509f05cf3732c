"""awp_pgd_at: one training step, as its recipe says.

Compiled from awp_pgd_at.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: c1274253618bde91c087f23781a9e264bc162d0d83ad754dcb4e2b1514549de3
Cost: 26 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 26, as usually written 36.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 10 evaluations ask for no weight gradient; as usually written 36 units, now 26
    fold projections: 11 times a ball and a box are one clamp
    roll: 45 operations are written as 19
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import (
    gathered,
    input_gradient,
    place,
    put_aside,
    set_weights,
    weight_gradient,
    weight_shapes,
    weights,
    weights_frozen,
)

NAME = "awp_pgd_at"  # awp_pgd_at.toml:9
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
STEP_SIZE_AT = (1, 6)  # awp_pgd_at.toml:22
STEP_SIZE_VALUE = (0.0, 0.005)  # awp_pgd_at.toml:22
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


def unit_l2(g: Tensor) -> Tensor:
    """Each example at Euclidean length one, zero where it is zero; exact for subnormal and huge numbers too."""
    flat = g.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    length = scaled.square().sum(dim=1, keepdim=True).sqrt()  # `norm` loses digits of long rows
    return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)


def unit_layers(g: Tensor, anchor: Tensor, shapes: list[tuple[int, ...]]) -> Tensor:
    """g with each layer at the length of its weights."""
    sizes = [math.prod(shape) for shape in shapes]
    layers = []
    parts = zip(shapes, torch.split(g, sizes, dim=1), torch.split(anchor, sizes, dim=1), strict=True)
    for shape, own, w in parts:
        length = w.norm(dim=1, keepdim=True) if len(shape) > 1 else 0.0
        layers.append(length * unit_l2(own))
    return torch.cat(layers, dim=1)


def piecewise(t: int, at: list[int], value: list[float]) -> float:
    """The value of the last entry that has begun at t."""
    return value[sum(t >= begin for begin in at) - 1]


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
    """One outer step, 26 units: points are drawn, handed on with their weights, and the weights move.

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

    # the weights are kept                           awp_pgd_at.toml:12 [sampler]
    w = weights(model)
    shapes = weight_shapes(model)
    # start: zero                                    default [sampler.start]
    moved = w
    # the target's gradient in the weights           awp_pgd_at.toml:17 [sampler.target]
    aside = put_aside(model)
    # the signal's gradient in the weights           default [sampler.averaging]
    weight_gradient(model, z, y, cross_entropy, rng, weight=1.0 / n, mode="frozen")
    # the gradients of before are taken back         awp_pgd_at.toml:17 [sampler.target]
    g = gathered(model, aside)
    # move: gradient                                 awp_pgd_at.toml:21 [sampler.kernel]
    drift = unit_layers(g, w, shapes)
    moved = gradient_step(moved, drift, piecewise(rng.epoch, STEP_SIZE_AT, STEP_SIZE_VALUE))
    # the network takes the weights                  awp_pgd_at.toml:12 [sampler]
    set_weights(model, moved, rng)
    # the signal's gradient in the weights           default [sampler.averaging]
    signal += weight_gradient(model, z, y, cross_entropy, rng, weight=1.0 / n)

    # update                                         awp_pgd_at.toml:25 [optimizer]                 Eq. 7
    optimizer.step()

    # the perturbation is taken away                 awp_pgd_at.toml:12 [sampler]
    set_weights(model, weights(model) - (moved - w), rng)
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
