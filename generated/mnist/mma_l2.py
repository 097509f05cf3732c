"""mnist_mma_l2: one training step, as its recipe says.

Compiled from mma_l2.toml by atentdsl 0.1.0, schema 1.
sha256 of the recipe's values: a5fc1ee1d7d314bd0f506623052b9c4b2ec994e4696b6c8cdd83a1818076e1d2
Cost: 98 units a step (a forward, an activation backward, weight gradients: 1 each);
      literal 98, as usually written 138.
Passes, at a tolerance of 0.002:
    merge evaluations: no point is asked for both its gradients, one after the other
    drop negligible: no coefficients are together below 0.002 of the sum of all
    hoist clean branch: no target reads the clean logits
    share clean forward: no objective reads the clean logits twice
    freeze weights: 40 evaluations ask for no weight gradient; as usually written 138 units, now 98
    fold projections: there is no l-infinity ball with a box after it
    roll: 121 operations are written as 18
    place: number and memory formats, the optimizer's kernels and graph capture are chosen when it runs
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from atentdsl.runtime import (
    example_losses,
    input_gradient,
    place,
    remember,
    remembered,
    weight_gradient,
    weights_frozen,
)

NAME = "mnist_mma_l2"  # mma_l2.toml:7
SEED = 0  # default
DATA = "mnist"  # sgd.toml:9
BATCH = 50  # mma.toml:14
REPEAT = 1  # default
AUGMENT = ()  # default
VALIDATION = 0.1  # default
MODEL = "lenet5"  # mma.toml:17
EPOCHS = 93  # mma.toml:34
ON_DIVERGENCE = "stop"  # default
PRECISION = "auto"  # default
EVALUATION_BATCH = 512  # default
SELECT = "robust"  # mma.toml:39

INITIAL_RADIUS = 0.5  # mma_l2.toml:14
TURNS = 40  # mma.toml:22
STEP = 2.5  # default
MOVES = 40  # mma.toml:22
MAX_RADIUS = 4.0  # mma_l2.toml:13
TURNS_2 = 10  # mma.toml:26
COEFFICIENT = 0.6666666667  # mma.toml:30
CLEAN = 0.3333333333  # mma.toml:30
LR_VALUE = 0.0001  # mma.toml:35
BETAS = (0.9, 0.999)  # default
EPS = 1e-08  # default
WEIGHT_DECAY = 0.0  # mma.toml:36


def first_radius(x: Tensor, initial: float) -> Tensor:
    """The radius of examples that were never searched, `(batch,)`."""
    return x.new_full((len(x),), initial)


def each(value: Tensor, x: Tensor) -> Tensor:
    """One number an example, `(batch,)`, to be multiplied with x `(batch, *input)`."""
    return value.view(-1, *[1] * (x.dim() - 1))


def unit_l2(g: Tensor) -> Tensor:
    """Each example at Euclidean length one, zero where it is zero; exact for subnormal and huge numbers too."""
    flat = g.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    length = scaled.square().sum(dim=1, keepdim=True).sqrt()  # `norm` loses digits of long rows
    return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)


def l2_start(x: Tensor, xi: Tensor, u: Tensor, radius: Tensor) -> Tensor:
    """A point in a random direction, at a uniform share of each example's radius, brought into the box."""
    share = radius * u.flatten(1)[:, 0]
    return (x + each(share, x) * unit_l2(xi)).clamp(0, 1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def l2_length(d: Tensor) -> Tensor:
    """The Euclidean length of each example, `(batch,)`."""
    lengths: Tensor = d.flatten(1).norm(dim=1)
    return lengths


def l2_climb(z: Tensor, x: Tensor, g: Tensor, radius: Tensor, share: float) -> Tensor:
    """One move along the gradient, as long as that share of each example's radius, inside its ball and the box.

    >>> import torch
    >>> l2_climb(torch.full((1, 2), 0.5), torch.full((1, 2), 0.5), torch.tensor([[3.0, -4.0]]), torch.ones(1), 0.5)
    tensor([[0.8000, 0.1000]])
    """
    own = each(radius, x)
    d = z + share * own * unit_l2(g) - x
    inside = torch.where(each(l2_length(d), x) > own, own * unit_l2(d), d)
    return (x + inside).clamp(0, 1)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """The largest logit of another class less that of y, per example."""
    own = y.unsqueeze(1)
    return logits.scatter(1, own, -torch.inf).amax(dim=1) - logits.gather(1, own).squeeze(1)


def ray_through(z: Tensor, x: Tensor, length: Tensor) -> Tensor:
    """The displacement from x to z at length one; zero where it is zero."""
    return (z - x) / each(torch.where(length > 0, length, 1.0), x)


def bracket(length: Tensor, losses: Tensor, max_radius: float) -> tuple[Tensor, Tensor]:
    """The ends between which each ray meets another class: before the point where it is misclassified, else behind it.

    >>> import torch
    >>> bracket(torch.tensor([0.25, 0.25]), torch.tensor([1.0, -1.0]), max_radius=1.0)
    (tensor([0.0000, 0.2500]), tensor([0.2500, 1.0000]))
    """
    wrong = losses >= 0
    return torch.where(wrong, 0.0, length), torch.where(wrong, length, max_radius)


def on_ray(x: Tensor, ray: Tensor, distance: Tensor) -> Tensor:
    """The point of each ray at its distance from x, brought into the box."""
    return (x + each(distance, x) * ray).clamp(0, 1)


def middle(x: Tensor, ray: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The point of each ray in the middle of its bracket, brought into the box."""
    return on_ray(x, ray, (low + high) / 2)


def halved(low: Tensor, high: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
    """The half of each bracket that is left, by the losses in its middle: its upper end stays misclassified.

    >>> import torch
    >>> halved(torch.zeros(2), torch.ones(2), torch.tensor([1.0, -1.0]))
    (tensor([0.0000, 0.5000]), tensor([0.5000, 1.0000]))
    """
    between, wrong = (low + high) / 2, losses >= 0
    return torch.where(wrong, low, between), torch.where(wrong, between, high)


def at_margin(x: Tensor, ray: Tensor, margin: Tensor, losses: Tensor, max_radius: float) -> tuple[Tensor, Tensor]:
    """What each example hands on, by the losses at x, and its c.

    Right, right with the largest margin, wrong:

    >>> import torch
    >>> x, ray = torch.full((3, 1), 0.5), torch.ones(3, 1)
    >>> at_margin(x, ray, torch.tensor([0.25, 0.375, 0.25]), torch.tensor([-1.0, -1.0, 1.0]), max_radius=0.375)
    (tensor([[0.7500],
            [0.8750],
            [0.5000]]), tensor([1., 0., 1.]))
    """
    wrong = losses >= 0
    z = torch.where(each(wrong, x), x, on_ray(x, ray, margin))
    return z, (wrong | (margin < max_radius)).to(x.dtype)


def next_radius(radius: Tensor, margin: Tensor, losses: Tensor, initial: float) -> Tensor:
    """The radius of each example's next ball: its margin, the initial radius at least; as before where x is wrong.

    >>> import torch
    >>> next_radius(torch.full((3,), 0.5), torch.tensor([0.25, 0.01, 0.25]), torch.tensor([-1.0, -1.0, 1.0]), 0.125)
    tensor([0.2500, 0.1250, 0.5000])
    """
    return torch.where(losses >= 0, radius, margin.clamp(min=initial))


def constant(t: int, value: float) -> float:
    """The value at every t."""
    return value


def adamw(parameters: Iterable[Tensor], lr: float, betas: list[float], eps: float, weight_decay: float) -> Optimizer:
    """The optimizer over these weights."""
    return torch.optim.AdamW(parameters, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay)


def make_optimizer(parameters):
    """The outer optimizer over these weights, as it begins."""
    return adamw(parameters, learning_rate(1, 1), BETAS, EPS, WEIGHT_DECAY)


def learning_rate(epoch, step):
    """The learning rate in this epoch and at this outer step, both counted from 1."""
    return constant(epoch, LR_VALUE)


def settings(epoch, step):
    """What the optimizer runs by in this epoch and at this outer step."""
    return {"lr": learning_rate(epoch, step)}


def train_step(model, optimizer, batches, rng, state):
    """One outer step, 98 units: points are drawn, handed on with their weights, and the weights move.

    Returns the signal, the weighted mean loss of the points handed on, as a tensor on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    signal = 0.0

    # the next batch                                 mma.toml:12 [data]
    batch = next(batches)
    x, y = batch
    n = len(x)
    # start: in the ball of each example's radius    mma_l2.toml:10 [sampler]                       Ding et al.
    radius = remembered(state, "attack.radius", batch, first_radius(x, INITIAL_RADIUS), rng)
    z = l2_start(x, rng.normal("attack.start", x), rng.uniform("attack.start", x), radius)

    with weights_frozen(model):
        for _ in range(TURNS):
            # the loss's gradient in the point       default [sampler.target]
            g = input_gradient(model, z, y, cross_entropy, rng, mode="eval")
            # move: inside the ball                  mma_l2.toml:10 [sampler]                       Ding et al.
            z = l2_climb(z, x, g, radius, STEP / MOVES)
    # is it misclassified there?                     default [sampler.target]
    losses = example_losses(model, z, y, margin, rng, mode="eval")
    # the ray, and where on it to search             mma_l2.toml:10 [sampler]                       Ding et al.
    length = l2_length(z - x)
    ray = ray_through(z, x, length)
    low, high = bracket(length, losses, MAX_RADIUS)

    for _ in range(TURNS_2):
        # the middle of what is left                 mma_l2.toml:10 [sampler]                       Ding et al.
        z = middle(x, ray, low, high)
        # is it misclassified there?                 default [sampler.target]
        losses = example_losses(model, z, y, margin, rng, mode="eval")
        # the half that is left                      mma_l2.toml:10 [sampler]                       Ding et al.
        low, high = halved(low, high, losses)
    # is it misclassified there?                     default [sampler.target]
    losses = example_losses(model, x, y, margin, rng, mode="eval")
    # the margin's point, or x where it is wrong     mma_l2.toml:10 [sampler]                       Ding et al.
    z, chosen = at_margin(x, ray, high, losses, MAX_RADIUS)
    # the margin is remembered for each example      mma_l2.toml:10 [sampler]                       Ding et al.
    radius = next_radius(radius, high, losses, INITIAL_RADIUS)
    remember(state, "attack.radius", batch, radius)
    # the signal's gradient in the weights           default [sampler.averaging]
    signal += weight_gradient(model, z, y, cross_entropy, rng, weight=COEFFICIENT / n, chosen=chosen)
    # the clean part's gradient in the weights       mma.toml:30 [objective.clean]
    signal += weight_gradient(model, x, y, cross_entropy, rng, weight=CLEAN / n)

    # update                                         mma.toml:32 [optimizer]                        Eq. 7
    optimizer.step()
    return signal


def placed(model):
    """The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."""
    return place(train_step, make_optimizer, model, PRECISION)
