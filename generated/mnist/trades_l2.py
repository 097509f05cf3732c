"""mnist_trades_l2: one training step, as its recipe says.

Compiled from trades_l2.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 7e93e5835d847ebe59bb26357ca6b337c7f96fc217f72d378e7c41bc248e6322
Cost: 87 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 129, as usually written 169.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: the clean logits that targets read come from 1 forward instead of 40
    share clean forward: one clean forward in 1 evaluation, 3 units less; running statistics are updated once less
    freeze weights: 40 evaluations ask for no weight gradient; as usually written 127 units, now 87
    fold projections: there is no l-infinity ball with a box after it
    roll: 166 operations are written as 11
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import clean_logits, input_gradient, place, weight_gradient, weights_frozen

NAME = "mnist_trades_l2"  # trades_l2.toml:8
SEED = 0  # default
DATA = "mnist"  # atent_l2.toml:10
BATCH = 50  # atent_l2.toml:11
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "lenet5"  # atent_l2.toml:14
EPOCHS = 30  # atent_l2.toml:47
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # atent_l2.toml:52

START_SD = 0.001  # trades_l2.toml:22
TURNS = 40  # atent_l2.toml:18
STEP_SIZE = 0.1  # trades_l2.toml:26
L2_BALL_RADIUS = 2.0  # trades_l2.toml:34
OBJECTIVE_BETA = 1.0  # trades_l2.toml:41
LR_VALUE = 0.01  # atent_l2.toml:48
MOMENTUM = 0.9  # atent_l2.toml:49
NESTEROV = False  # default
WEIGHT_DECAY = 0.0  # default


def gaussian(anchor: Tensor, xi: Tensor, sd: float) -> Tensor:
    """The anchor with normal noise."""
    return anchor + sd * xi


def kl_divergence(one: Tensor, other: Tensor) -> Tensor:
    """KL(softmax(one) || softmax(other)) per example."""
    one, other = torch.log_softmax(one, dim=1), torch.log_softmax(other, dim=1)
    return (one.exp() * (one - other)).sum(dim=1)


def kl_to_clean(logits: Tensor, clean: Tensor) -> Tensor:
    """KL(softmax(clean) || softmax(logits)) per example, clean held constant."""
    return kl_divergence(clean.detach(), logits)


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


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def trades(logits: Tensor, y: Tensor, clean: Tensor, clean_again: Tensor, beta: float) -> Tensor:
    """Cross entropy of clean, and beta times the divergence from clean_again to logits, per example."""
    return cross_entropy(clean, y) + beta * kl_divergence(clean_again, logits)


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
    """One outer step, 87 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 atent_l2.toml:9 [data]                         Alg. 4, line 3
    x, y = next(batches)
    n = len(x)
    # start: gaussian                                trades_l2.toml:20 [sampler.start]              Alg. 4, line 4
    z = gaussian(x, rng.normal("attack.start", x), START_SD)
    # the clean logits, once for the chain           trades_l2.toml:16 [sampler.target]
    clean = clean_logits(model, x, rng, mode="eval")

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       trades_l2.toml:16 [sampler.target]             Alg. 4, line 6
            g = input_gradient(model, z, clean, kl_to_clean, rng, mode="eval")
            # move: gradient                         trades_l2.toml:24 [sampler.kernel]             Alg. 4, line 7
            drift = unit_l2(g)
            z = gradient_step(z, drift, STEP_SIZE)
            # project: box                           trades_l2.toml:29 [sampler.projection]         Alg. 4, line 8
            z = box(z)
            # project: l2_ball                       trades_l2.toml:32 [sampler.projection]         Alg. 4, line 8
            z = l2_ball(z, x, L2_BALL_RADIUS)
    # the signal's gradient in the weights           trades_l2.toml:36 [sampler.averaging]          Alg. 4, line 10
    signal += weight_gradient(model, z, y, partial(trades, beta=OBJECTIVE_BETA), rng, weight=1.0 / n, clean=x, reads=2)

    # update                                         atent_l2.toml:45 [optimizer]                   Alg. 4, lines 11-12
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
