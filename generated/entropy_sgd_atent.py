"""entropy_sgd_atent: one training step, as its recipe says.

Compiled from entropy_sgd_atent.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 93bd11e98b5f05aaddacf5e21944a660b628edd8c9a68925aa9a7f51476895f5
Cost: 125 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 250, as usually written 300.
Passes, at a tolerance of 0.002:
    merge evaluations: 45 points are evaluated once for both gradients; 250 units, now 160
    drop negligible: 35 weight evaluations are not made, of coefficients that sum to 0.001; 160 units, now 125
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 40 evaluations ask for no weight gradient; as usually written 165 units, now 125
    fold projections: 50 times a ball and a box are one clamp
    roll: 204 operations are written as 23
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import (
    displacement_gradient,
    gathered,
    gradients,
    input_gradient,
    place,
    put_aside,
    set_weights,
    weight_gradient,
    weights,
    weights_frozen,
)

NAME = "entropy_sgd_atent"  # entropy_sgd_atent.toml:6
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
SELECT = "robust"  # entropy_sgd_atent.toml:36

COEFFICIENTS = (0.0791015625, 0.10546875, 0.140625, 0.1875, 0.25)  # entropy_sgd.toml:27
START_RADIUS = 0.15  # entropy_sgd_atent.toml:16
LINF_BALL_RADIUS = 0.15  # entropy_sgd_atent.toml:26
TURNS = 8  # entropy_sgd_atent.toml:11
STEP_SIZE = 0.03  # entropy_sgd_atent.toml:20
NOISE = 0.001  # entropy_sgd_atent.toml:21
COEFFICIENTS_2 = (0.009, 0.09)  # entropy_sgd_atent.toml:31
COEFFICIENT = 0.9  # entropy_sgd_atent.toml:31
MU = 0.9  # entropy_sgd.toml:25
GAMMA = 0.001  # entropy_sgd.toml:19
STEP_SIZE_2 = 0.1  # entropy_sgd.toml:23
NOISE_2 = 0.0001  # entropy_sgd.toml:24
LR_VALUE = 1.0  # entropy_sgd.toml:34
MOMENTUM = 0.0  # entropy_sgd.toml:35
NESTEROV = False  # default
WEIGHT_DECAY = 0.0  # entropy_sgd.toml:36


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


def accumulated(velocity: Tensor, g: Tensor, mu: float) -> Tensor:
    """The momentum with one more gradient in it."""
    return mu * velocity + g


def look_ahead(g: Tensor, velocity: Tensor, mu: float) -> Tensor:
    """Nesterov's direction: the gradient, and the momentum that it is already part of."""
    return g + mu * velocity


def l2_pull(z: Tensor, anchor: Tensor, gamma: float) -> Tensor:
    """The force towards the anchor: minus the energy's gradient."""
    return gamma * (anchor - z)


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
    """One outer step, 125 units: points are drawn, handed on with their weights, and the weights move.

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
        # start: corner                              entropy_sgd_atent.toml:14 [sampler.start]      Alg. 2, line 4
        z = corner(x, rng.normal("attack.start", x), START_RADIUS)
        # bounds of linf_ball and box                entropy_sgd_atent.toml:24 [sampler.projection] Alg. 2, line 8
        low, high = bounds_in_box(x, LINF_BALL_RADIUS)
        with weights_frozen(model):
            for _ in range(TURNS):
                # the loss's gradient in the point   default [sampler.target]                       Alg. 2, line 7
                g = input_gradient(model, z, y, cross_entropy, rng, mode="train")
                # move: langevin                     entropy_sgd_atent.toml:18 [sampler.kernel]     Alg. 2, line 8
                drift = sign(g)
                z = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE)
                # project: linf_ball, then box       entropy_sgd_atent.toml:24 [sampler.projection] Alg. 2, line 8
                z = between(z, low, high)
        for c_2 in COEFFICIENTS_2:
            # the gradients in point and weights     default [sampler.target]                       Alg. 2, line 7
            g, _ = gradients(model, z, y, cross_entropy, rng, weight=c_2 / n, mode="train")
            # move: langevin                         entropy_sgd_atent.toml:18 [sampler.kernel]     Alg. 2, line 8
            drift = sign(g)
            z = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE)
            # project: linf_ball, then box           entropy_sgd_atent.toml:24 [sampler.projection] Alg. 2, line 8
            z = between(z, low, high)
        # the signal's gradient in the weights       entropy_sgd_atent.toml:31 [sampler.averaging]  Alg. 2, lines 9-10
        weight_gradient(model, z, y, cross_entropy, rng, weight=COEFFICIENT / n)
        # the gradients of before are taken back     entropy_sgd.toml:16 [sampler.target]           Alg. 3, line 6
        g = gathered(model, aside)
        # move: langevin                             entropy_sgd.toml:21 [sampler.kernel]           Alg. 3, line 7
        g = -g
        velocity = accumulated(velocity, g, MU)
        g = look_ahead(g, velocity, MU)
        drift = g + l2_pull(moved, w, GAMMA)
        moved = langevin_step(moved, drift, rng.normal("weights.noise", moved), STEP_SIZE_2, NOISE_2)
        # the network takes the weights              entropy_sgd.toml:10 [sampler]
        set_weights(model, moved, rng)
        # the displacement of the weights            entropy_sgd.toml:27 [sampler.averaging]        Alg. 3, lines 8, 11
        signal += displacement_gradient(model, w, moved, weight=c)

    # the weights are those of before again          entropy_sgd.toml:10 [sampler]
    set_weights(model, w, rng)

    # update                                         entropy_sgd.toml:32 [optimizer]                Alg. 2, lines 12-13
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
