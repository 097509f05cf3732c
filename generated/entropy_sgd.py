"""entropy_sgd: one training step, as its recipe says.

Compiled from entropy_sgd.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: ad21c6a343e4e4a06f6923b86bf07901eba53cb2f2cc6364429d99b4dbae6508
Cost: 15 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 15, as usually written 15.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: no evaluation asks for an input's gradient alone
    fold projections: there is no l-infinity ball with a box after it
    roll: 39 operations are written as 12
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import displacement_gradient, gathered, place, put_aside, set_weights, weight_gradient, weights

NAME = "entropy_sgd"  # entropy_sgd.toml:7
SEED = 0  # default
DATA = "digits"  # sgd.toml:8
BATCH = 64  # sgd.toml:9
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "small_cnn"  # sgd.toml:12
EPOCHS = 6  # entropy_sgd.toml:33
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "last"  # sgd.toml:22

COEFFICIENTS = (0.0791015625, 0.10546875, 0.140625, 0.1875, 0.25)  # entropy_sgd.toml:27
MU = 0.9  # entropy_sgd.toml:25
GAMMA = 0.001  # entropy_sgd.toml:19
STEP_SIZE = 0.1  # entropy_sgd.toml:23
NOISE = 0.0001  # entropy_sgd.toml:24
LR_VALUE = 1.0  # entropy_sgd.toml:34
MOMENTUM = 0.0  # entropy_sgd.toml:35
NESTEROV = False  # default
WEIGHT_DECAY = 0.0  # entropy_sgd.toml:36


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def accumulated(velocity: Tensor, g: Tensor, mu: float) -> Tensor:
    """The momentum with one more gradient in it."""
    return mu * velocity + g


def look_ahead(g: Tensor, velocity: Tensor, mu: float) -> Tensor:
    """Nesterov's direction: the gradient, and the momentum that it is already part of."""
    return g + mu * velocity


def l2_pull(z: Tensor, anchor: Tensor, gamma: float) -> Tensor:
    """The force towards the anchor: minus the energy's gradient."""
    return gamma * (anchor - z)


def langevin_step(z: Tensor, drift: Tensor, xi: Tensor, step_size: float, noise: float) -> Tensor:
    """z moved along the drift, and diffused."""
    return torch.add(torch.add(z, drift, alpha=step_size), xi, alpha=math.sqrt(2 * step_size) * noise)


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
    """One outer step, 15 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the weights are kept                           entropy_sgd.toml:10 [sampler]                  Alg. 3, line 4
    w = weights(model)
    # start: zero                                    default [sampler.start]                        Alg. 3, line 4
    moved = w
    velocity = 0.0

    for c in COEFFICIENTS:
        # the next batch                             sgd.toml:7 [data]                              Alg. 3, line 3
        x, y = next(batches)
        n = len(x)
        # the target's gradient in the weights       entropy_sgd.toml:16 [sampler.target]           Alg. 3, line 6
        aside = put_aside(model)
        # the signal's gradient in the weights       entropy_sgd.toml:27 [sampler.averaging]        Alg. 3, lines 8, 11
        weight_gradient(model, x, y, cross_entropy, rng, weight=1.0 / n)
        # the gradients of before are taken back     entropy_sgd.toml:16 [sampler.target]           Alg. 3, line 6
        g = gathered(model, aside)
        # move: langevin                             entropy_sgd.toml:21 [sampler.kernel]           Alg. 3, line 7
        g = -g
        velocity = accumulated(velocity, g, MU)
        g = look_ahead(g, velocity, MU)
        drift = g + l2_pull(moved, w, GAMMA)
        moved = langevin_step(moved, drift, rng.normal("weights.noise", moved), STEP_SIZE, NOISE)
        # the network takes the weights              entropy_sgd.toml:10 [sampler]
        set_weights(model, moved, rng)
        # the displacement of the weights            entropy_sgd.toml:27 [sampler.averaging]        Alg. 3, lines 8, 11
        signal += displacement_gradient(model, w, moved, weight=c)

    # the weights are those of before again          entropy_sgd.toml:10 [sampler]
    set_weights(model, w, rng)

    # update                                         entropy_sgd.toml:32 [optimizer]                Alg. 3, line 11
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
