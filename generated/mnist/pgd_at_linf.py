"""mnist_pgd_at_linf: one training step, as its recipe says.

Compiled from pgd_at_linf.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 893da03c0d8d3554bd73b1971632fbf5df30ea38bc032bf49b307390b5523c51
Cost: 83 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 83, as usually written 123.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 40 evaluations ask for no weight gradient; as usually written 123 units, now 83
    fold projections: 41 times a ball and a box are one clamp
    roll: 127 operations are written as 11
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import input_gradient, place, weight_gradient, weights_frozen

NAME = "mnist_pgd_at_linf"  # pgd_at_linf.toml:7
SEED = 0  # default
DATA = "mnist"  # sgd.toml:9
BATCH = 128  # sgd.toml:10
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "cnn7"  # sgd.toml:13
EPOCHS = 30  # pgd_at_linf.toml:33
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # pgd_at_linf.toml:38

START_RADIUS = 0.3  # pgd_at_linf.toml:17
LINF_BALL_RADIUS = 0.3  # pgd_at_linf.toml:27
TURNS = 40  # pgd_at_linf.toml:12
STEP_SIZE = 0.01  # pgd_at_linf.toml:22
LR_VALUE = 0.01  # pgd_at_linf.toml:34
MOMENTUM = 0.9  # pgd_at_linf.toml:35
NESTEROV = False  # default
WEIGHT_DECAY = 0.0  # default


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
    """One outer step, 83 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 sgd.toml:8 [data]                              Alg. 4, line 3
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

    # update                                         pgd_at_linf.toml:32 [optimizer]                Alg. 4, lines 11-12
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
