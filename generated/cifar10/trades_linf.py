"""cifar10_trades_linf: one training step, as its recipe says.

Compiled from trades_linf.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 4fd6cb357ebf8d995d29bf760e055005fdf0c4ff014a1540f8f3cce8e335712d
Cost: 27 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 39, as usually written 49.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: the clean logits that targets read come from 1 forward instead of 10
    share clean forward: one clean forward in 1 evaluation, 3 units less; running statistics are updated once less
    freeze weights: 10 evaluations ask for no weight gradient; as usually written 37 units, now 27
    fold projections: 10 times a ball and a box are one clamp
    roll: 37 operations are written as 11
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import clean_logits, input_gradient, place, weight_gradient, weights_frozen

NAME = "cifar10_trades_linf"  # trades_linf.toml:7
SEED = 0  # default
DATA = "cifar10"  # sgd.toml:9
BATCH = 128  # sgd.toml:10
REPEAT = 1  # default
AUGMENT = ("crop4", "flip")  # sgd.toml:11
VALIDATION = 0.1  # default
MODEL = "preact_resnet18"  # sgd.toml:14
EPOCHS = 76  # trades_linf.toml:39
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # trades_linf.toml:44

START_SD = 0.001  # trades_linf.toml:20
LINF_BALL_RADIUS = 0.031  # trades_linf.toml:29
TURNS = 10  # trades_linf.toml:12
STEP_SIZE = 0.007  # trades_linf.toml:24
OBJECTIVE_BETA = 6.0  # trades_linf.toml:36
LR_AT = (1, 75)  # trades_linf.toml:40
LR_VALUE = (0.1, 0.01)  # trades_linf.toml:40
MOMENTUM = 0.9  # sgd.toml:20
NESTEROV = False  # default
WEIGHT_DECAY = 0.0002  # trades_linf.toml:41


def gaussian(anchor: Tensor, xi: Tensor, sd: float) -> Tensor:
    """The anchor with normal noise."""
    return anchor + sd * xi


def bounds_in_box(centre: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The least and the largest coordinates within radius of the centre's and within [0, 1]."""
    return (centre - radius).clamp(0, 1), (centre + radius).clamp(0, 1)


def kl_divergence(one: Tensor, other: Tensor) -> Tensor:
    """KL(softmax(one) || softmax(other)) per example."""
    one, other = torch.log_softmax(one, dim=1), torch.log_softmax(other, dim=1)
    return (one.exp() * (one - other)).sum(dim=1)


def kl_to_clean(logits: Tensor, clean: Tensor) -> Tensor:
    """KL(softmax(clean) || softmax(logits)) per example, clean held constant."""
    return kl_divergence(clean.detach(), logits)


def sign(g: Tensor) -> Tensor:
    """-1, 0 or 1 per coordinate."""
    return g.sign()


def gradient_step(z: Tensor, drift: Tensor, step_size: float) -> Tensor:
    """z moved along the drift."""
    return torch.add(z, drift, alpha=step_size)


def between(z: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Each coordinate of z to the nearest value from low to high."""
    return z.clamp(low, high)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def trades(logits: Tensor, y: Tensor, clean: Tensor, clean_again: Tensor, beta: float) -> Tensor:
    """Cross entropy of clean, and beta times the divergence from clean_again to logits, per example."""
    return cross_entropy(clean, y) + beta * kl_divergence(clean_again, logits)


def piecewise(t: int, at: list[int], value: list[float]) -> float:
    """The value of the last entry that has begun at t."""
    return value[sum(t >= begin for begin in at) - 1]


def sgd(parameters: Iterable[Tensor], lr: float, momentum: float, nesterov: bool, weight_decay: float) -> Optimizer:
    """The optimizer over these weights."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def make_optimizer(parameters):
    """The outer optimizer over these weights, as it begins."""
    return sgd(parameters, learning_rate(1, 1), MOMENTUM, NESTEROV, WEIGHT_DECAY)


def learning_rate(epoch, step):
    """The learning rate in this epoch and at this outer step, both counted from 1."""
    return piecewise(epoch, LR_AT, LR_VALUE)


def settings(epoch, step):
    """What the optimizer runs by in this epoch and at this outer step."""
    return {"lr": learning_rate(epoch, step)}


def train_step(model, optimizer, batches, rng, state):
    """One outer step, 27 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 sgd.toml:8 [data]                              Alg. 4, line 3
    x, y = next(batches)
    n = len(x)
    # start: gaussian                                trades_linf.toml:18 [sampler.start]            Alg. 4, line 4
    z = gaussian(x, rng.normal("attack.start", x), START_SD)
    # bounds of linf_ball and box                    trades_linf.toml:27 [sampler.projection]       Alg. 4, line 8
    low, high = bounds_in_box(x, LINF_BALL_RADIUS)
    # the clean logits, once for the chain           trades_linf.toml:15 [sampler.target]
    clean = clean_logits(model, x, rng, mode="eval")

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       trades_linf.toml:15 [sampler.target]           Alg. 4, line 6
            g = input_gradient(model, z, clean, kl_to_clean, rng, mode="eval")
            # move: gradient                         trades_linf.toml:22 [sampler.kernel]           Alg. 4, line 7
            drift = sign(g)
            z = gradient_step(z, drift, STEP_SIZE)
            # project: linf_ball, then box           trades_linf.toml:27 [sampler.projection]       Alg. 4, line 8
            z = between(z, low, high)
    # the signal's gradient in the weights           default [sampler.averaging]                    Alg. 4, line 10
    signal += weight_gradient(model, z, y, partial(trades, beta=OBJECTIVE_BETA), rng, weight=1.0 / n, clean=x, reads=2)

    # update                                         trades_linf.toml:38 [optimizer]                Alg. 4, lines 11-12
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
