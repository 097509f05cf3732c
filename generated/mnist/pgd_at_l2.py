"""mnist_pgd_at_l2: one training step, as its recipe says.

Compiled from pgd_at_l2.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: ee0e930460a8c98937117a5916275179f18350c3e23fcbc5f30006489f7fd146
Cost: 83 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 83, as usually written 123.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 40 evaluations ask for no weight gradient; as usually written 123 units, now 83
    fold projections: there is no l-infinity ball with a box after it
    roll: 167 operations are written as 12
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import input_gradient, place, weight_gradient, weights_frozen

NAME = "mnist_pgd_at_l2"  # pgd_at_l2.toml:6
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

START_RADIUS = 2.0  # pgd_at_l2.toml:17
L2_BALL_RADIUS = 2.0  # atent_l2.toml:36
TURNS = 40  # atent_l2.toml:18
STEP_SIZE = 0.125  # pgd_at_l2.toml:22
LR_VALUE = 0.01  # atent_l2.toml:48
MOMENTUM = 0.9  # atent_l2.toml:49
NESTEROV = False  # default
WEIGHT_DECAY = 0.0  # default


def unit_l2(g: Tensor) -> Tensor:
    """Each example at Euclidean length one, zero where it is zero; exact for subnormal and huge numbers too."""
    flat = g.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    length = scaled.square().sum(dim=1, keepdim=True).sqrt()  # `norm` loses digits of long rows
    return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)


def radial(anchor: Tensor, xi: Tensor, u: Tensor, radius: float) -> Tensor:
    """A point in a random direction, at a uniform share of the radius."""
    share = u.flatten(1)[:, :1]
    return anchor + (radius * share * unit_l2(xi).flatten(1)).view_as(anchor)


def within_l2(d: Tensor, radius: float) -> Tensor:
    """Each example scaled down to Euclidean length radius where it is longer."""
    if radius == 0:  # the squares of tiny numbers vanish, and they would look as short as this
        return torch.zeros_like(d)
    length = d.flatten(1).norm(dim=1).view(-1, *[1] * (d.dim() - 1))
    return torch.where(length > radius, radius * unit_l2(d), d)


def l2_ball(z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """The nearest point within Euclidean distance radius of the anchor."""
    return anchor + within_l2(z - anchor, radius)


def box(z: Tensor) -> Tensor:
    """The nearest valid input."""
    return z.clamp(0, 1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


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

    # the next batch                                 atent_l2.toml:9 [data]                         Alg. 4, line 3
    x, y = next(batches)
    n = len(x)
    # start: radial                                  pgd_at_l2.toml:15 [sampler.start]              Alg. 4, line 4
    z = radial(x, rng.normal("attack.start", x), rng.uniform("attack.start", x), START_RADIUS)
    # project: l2_ball                               atent_l2.toml:34 [sampler.projection]          Alg. 4, line 8
    z = l2_ball(z, x, L2_BALL_RADIUS)
    # project: box                                   atent_l2.toml:38 [sampler.projection]          Alg. 4, line 8
    z = box(z)

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       pgd_at_l2.toml:12 [sampler.target]             Alg. 4, line 6
            g = input_gradient(model, z, y, cross_entropy, rng, mode="train")
            # move: gradient                         pgd_at_l2.toml:20 [sampler.kernel]             Alg. 4, line 7
            drift = unit_l2(g)
            z = gradient_step(z, drift, STEP_SIZE)
            # project: l2_ball                       atent_l2.toml:34 [sampler.projection]          Alg. 4, line 8
            z = l2_ball(z, x, L2_BALL_RADIUS)
            # project: box                           atent_l2.toml:38 [sampler.projection]          Alg. 4, line 8
            z = box(z)
    # the signal's gradient in the weights           pgd_at_l2.toml:25 [sampler.averaging]          Alg. 4, line 10
    signal += weight_gradient(model, z, y, cross_entropy, rng, weight=1.0 / n)

    # update                                         atent_l2.toml:45 [optimizer]                   Alg. 4, lines 11-12
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
