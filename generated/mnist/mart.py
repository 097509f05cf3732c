"""mnist_mart: one training step, as its recipe says.

Compiled from mart.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: f4a15bf3c2126e6aab7230f04965f691e8b8de716a816f18af4f8e4610d1b4f2
Cost: 86 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 86, as usually written 126.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 40 evaluations ask for no weight gradient; as usually written 126 units, now 86
    fold projections: 40 times a ball and a box are one clamp
    roll: 126 operations are written as 10
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import input_gradient, place, weight_gradient, weights_frozen

NAME = "mnist_mart"  # mart.toml:7
SEED = 0  # default
DATA = "mnist"  # sgd.toml:9
BATCH = 128  # sgd.toml:10
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "cnn7"  # sgd.toml:13
EPOCHS = 100  # trades_linf.toml:41
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # trades_linf.toml:46

START_SD = 0.001  # trades_linf.toml:22
LINF_BALL_RADIUS = 0.3  # trades_linf.toml:31
TURNS = 40  # trades_linf.toml:14
STEP_SIZE = 0.01  # trades_linf.toml:26
OBJECTIVE_BETA = 5.0  # mart.toml:18
LR_AT = (1, 55)  # trades_linf.toml:42
LR_VALUE = (0.01, 0.001)  # trades_linf.toml:42
MOMENTUM = 0.9  # trades_linf.toml:43
NESTEROV = False  # default
WEIGHT_DECAY = 0.0  # default


def gaussian(anchor: Tensor, xi: Tensor, sd: float) -> Tensor:
    """The anchor with normal noise."""
    return anchor + sd * xi


def bounds_in_box(centre: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The least and the largest coordinates within radius of the centre's and within [0, 1]."""
    return (centre - radius).clamp(0, 1), (centre + radius).clamp(0, 1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def sign(g: Tensor) -> Tensor:
    """-1, 0 or 1 per coordinate."""
    return g.sign()


def gradient_step(z: Tensor, drift: Tensor, step_size: float) -> Tensor:
    """z moved along the drift."""
    return torch.add(z, drift, alpha=step_size)


def between(z: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Each coordinate of z to the nearest value from low to high."""
    return z.clamp(low, high)


def kl_divergence(one: Tensor, other: Tensor) -> Tensor:
    """KL(softmax(one) || softmax(other)) per example."""
    one, other = torch.log_softmax(one, dim=1), torch.log_softmax(other, dim=1)
    return (one.exp() * (one - other)).sum(dim=1)


def likeliest_wrong(logits: Tensor, y: Tensor) -> Tensor:
    """The largest probability of a class that is not y, per example."""
    probabilities = torch.softmax(logits, dim=1)
    return probabilities.scatter(1, y[:, None], 0.0).max(dim=1).values


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross entropy, and how near the likeliest wrong class is to certain, per example."""
    return cross_entropy(logits, y) - torch.log(1.0001 - likeliest_wrong(logits, y) + 1e-12)


def mart(logits: Tensor, y: Tensor, clean: Tensor, beta: float) -> Tensor:
    """Boosted cross entropy of logits, and beta times the weighed divergence from clean to logits, per example."""
    confident = torch.softmax(clean, dim=1).gather(1, y[:, None])[:, 0]
    divergence = kl_divergence(clean, logits) * (1.0000001 - confident)
    return boosted_cross_entropy(logits, y) + beta * divergence


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
    """One outer step, 86 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 sgd.toml:8 [data]                              Alg. 4, line 3
    x, y = next(batches)
    n = len(x)
    # start: gaussian                                trades_linf.toml:20 [sampler.start]            Alg. 4, line 4
    z = gaussian(x, rng.normal("attack.start", x), START_SD)
    # bounds of linf_ball and box                    trades_linf.toml:29 [sampler.projection]       Alg. 4, line 8
    low, high = bounds_in_box(x, LINF_BALL_RADIUS)

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       mart.toml:13 [sampler.target]                  Alg. 4, line 6
            g = input_gradient(model, z, y, cross_entropy, rng, mode="eval")
            # move: gradient                         trades_linf.toml:24 [sampler.kernel]           Alg. 4, line 7
            drift = sign(g)
            z = gradient_step(z, drift, STEP_SIZE)
            # project: linf_ball, then box           trades_linf.toml:29 [sampler.projection]       Alg. 4, line 8
            z = between(z, low, high)
    # the signal's gradient in the weights           default [sampler.averaging]                    Alg. 4, line 10
    signal += weight_gradient(model, z, y, partial(mart, beta=OBJECTIVE_BETA), rng, weight=1.0 / n, clean=x)

    # update                                         trades_linf.toml:40 [optimizer]                Alg. 4, lines 11-12
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
