"""atent_mala: one training step, as its recipe says.

Compiled from atent_mala.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: 1436d602900268bb318a32351afcbbc621200418bbe5cd36bfe3449876eaaddc
Cost: 31 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 52, as usually written 63.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: 7 weight evaluations are not made, of coefficients that sum to 0.001; 52 units, now 31
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 11 evaluations ask for no weight gradient; as usually written 42 units, now 31
    fold projections: there is no l-infinity ball with a box after it
    roll: 45 operations are written as 19
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import density, place, weight_gradient, weights_frozen, where_taken

NAME = "atent_mala"  # atent_mala.toml:8
SEED = 0  # default
DATA = "digits"  # sgd.toml:8
BATCH = 64  # sgd.toml:9
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "small_cnn"  # sgd.toml:12
EPOCHS = 30  # sgd.toml:16
ON_DIVERGENCE = "stop"  # default
PRECISION = "float32"  # atent_mala.toml:30
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # atent_mala.toml:33

TURNS = 8  # atent_mala.toml:13
GAMMA = 1.0  # atent_mala.toml:17
STEP_SIZE = 0.05  # atent_mala.toml:21
NOISE = 0.1  # atent_mala.toml:22
TURNS_2 = 2  # atent_mala.toml:13
COEFFICIENTS = (0.009, 0.09, 0.9)  # atent_mala.toml:24
LR_START = 0.1  # sgd.toml:17
LR_END = 0.0  # default
LR_LENGTH = 30  # default
MOMENTUM = 0.9  # sgd.toml:18
NESTEROV = False  # default
WEIGHT_DECAY = 0.0005  # sgd.toml:19


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def l2_pull(z: Tensor, anchor: Tensor, gamma: float) -> Tensor:
    """The force towards the anchor: minus the energy's gradient."""
    return gamma * (anchor - z)


def langevin_step(z: Tensor, drift: Tensor, xi: Tensor, step_size: float, noise: float) -> Tensor:
    """z moved along the drift, and diffused."""
    return torch.add(torch.add(z, drift, alpha=step_size), xi, alpha=math.sqrt(2 * step_size) * noise)


def l2_energy(z: Tensor, anchor: Tensor, gamma: float) -> Tensor:
    """What the coupling subtracts from the target's energy, per example."""
    return gamma / 2 * (z - anchor).flatten(1).square().sum(dim=1)


def acceptance(
    z: Tensor, proposal: Tensor, drift: Tensor, back: Tensor, gain: Tensor, step_size: float, noise: float
) -> Tensor:
    """The probability with which each example's proposal is taken, `(batch,)`.

    The squares in log q(z | z*) - log q(z* | z) are multiplied out, so that large ones need not cancel and one division
    by the temperature is left: at temperature 0 it is whether the bracket is above 0.

    Args:
        z, proposal: where the move begins, and where it would end.
        drift, back: the energy's gradients there.
        gain: E(proposal) - E(z), `(batch,)`.
        step_size, noise: the proposal's.
    """
    moved = (proposal - z).flatten(1)
    there, here = back.flatten(1), drift.flatten(1)
    along = (moved * (here + there)).sum(dim=1) / 2
    steeper = step_size / 4 * (there.square() - here.square()).sum(dim=1)
    return ((gain - along - steeper) / noise**2).exp().clamp(max=1)


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
    """One outer step, 31 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 sgd.toml:7 [data]
    x, y = next(batches)
    n = len(x)
    # a chain's points                               atent_mala.toml:11 [sampler]
    points = []
    # start: zero                                    default [sampler.start]
    z = x

    with weights_frozen(model):
        # the loss and its gradient in the point     atent_mala.toml:16 [sampler.target]
        here = density(model, z, y, cross_entropy, rng, mode="eval")
        for _ in range(TURNS):
            # propose: mala                          atent_mala.toml:19 [sampler.kernel]
            drift = here.gradient + l2_pull(z, x, GAMMA)
            proposal = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE)
            # the same at the proposal               atent_mala.toml:16 [sampler.target]
            there = density(model, proposal, y, cross_entropy, rng, mode="eval")
            # accept: mala                           atent_mala.toml:19 [sampler.kernel]
            back = there.gradient + l2_pull(proposal, x, GAMMA)
            value = here.losses - l2_energy(z, x, GAMMA)
            gain = there.losses - l2_energy(proposal, x, GAMMA) - value
            probability = acceptance(z, proposal, drift, back, gain, STEP_SIZE, NOISE)
            taken = rng.uniform("attack.acceptance", probability) < probability
            z, here = where_taken(taken, (proposal, there), (z, here))
        # a point is kept                            atent_mala.toml:11 [sampler]
        points.append(z)
        for _ in range(TURNS_2):
            # propose: mala                          atent_mala.toml:19 [sampler.kernel]
            drift = here.gradient + l2_pull(z, x, GAMMA)
            proposal = langevin_step(z, drift, rng.normal("attack.noise", z), STEP_SIZE, NOISE)
            # the same at the proposal               atent_mala.toml:16 [sampler.target]
            there = density(model, proposal, y, cross_entropy, rng, mode="eval")
            # accept: mala                           atent_mala.toml:19 [sampler.kernel]
            back = there.gradient + l2_pull(proposal, x, GAMMA)
            value = here.losses - l2_energy(z, x, GAMMA)
            gain = there.losses - l2_energy(proposal, x, GAMMA) - value
            probability = acceptance(z, proposal, drift, back, gain, STEP_SIZE, NOISE)
            taken = rng.uniform("attack.acceptance", probability) < probability
            z, here = where_taken(taken, (proposal, there), (z, here))
            # a point is kept                        atent_mala.toml:11 [sampler]
            points.append(z)

    for k, c in enumerate(COEFFICIENTS):
        # a point handed on                          atent_mala.toml:11 [sampler]
        z = points[k]
        # the signal's gradient in the weights       atent_mala.toml:24 [sampler.averaging]         Eq. 6
        signal += weight_gradient(model, z, y, cross_entropy, rng, weight=c / n)

    # update                                         sgd.toml:14 [optimizer]                        Eq. 7
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
