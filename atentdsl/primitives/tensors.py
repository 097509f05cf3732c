"""Functions of tensors that several primitives share; taken into generated modules with whatever calls them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from atentdsl.primitives.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def between(z: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Each coordinate of z to the nearest value from low to high."""
    return z.clamp(low, high)


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross entropy, and how near the likeliest wrong class is to certain, per example."""
    return cross_entropy(logits, y) - torch.log(1.0001 - likeliest_wrong(logits, y) + 1e-12)


def bounds_in_box(centre: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The least and the largest coordinates within radius of the centre's and within [0, 1]."""
    return (centre - radius).clamp(0, 1), (centre + radius).clamp(0, 1)


def clip_around(z: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Each coordinate of z to the nearest value within radius of centre's."""
    return torch.minimum(torch.maximum(z, centre - radius), centre + radius)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y] per example."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def kl_divergence(one: Tensor, other: Tensor) -> Tensor:
    """KL(softmax(one) || softmax(other)) per example."""
    one, other = torch.log_softmax(one, dim=1), torch.log_softmax(other, dim=1)
    return (one.exp() * (one - other)).sum(dim=1)


def langevin_step(z: Tensor, drift: Tensor, xi: Tensor, step_size: float, noise: float) -> Tensor:
    """z moved along the drift, and diffused."""
    return torch.add(torch.add(z, drift, alpha=step_size), xi, alpha=math.sqrt(2 * step_size) * noise)


def likeliest_wrong(logits: Tensor, y: Tensor) -> Tensor:
    """The largest probability of a class that is not y, per example."""
    probabilities = torch.softmax(logits, dim=1)
    return probabilities.scatter(1, y[:, None], 0.0).max(dim=1).values


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """The largest logit of another class less that of y, per example."""
    own = y.unsqueeze(1)
    return logits.scatter(1, own, -torch.inf).amax(dim=1) - logits.gather(1, own).squeeze(1)


def unit_l1(g: Tensor) -> Tensor:
    """g with magnitudes that sum to one per example, zero where g is zero."""
    flat = g.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    length = scaled.abs().sum(dim=1, keepdim=True)
    return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)


def unit_l2(g: Tensor) -> Tensor:
    """Each example at Euclidean length one, zero where it is zero; exact for subnormal and huge numbers too."""
    flat = g.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    length = scaled.square().sum(dim=1, keepdim=True).sqrt()  # `norm` loses digits of long rows
    return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)


def within_l2(d: Tensor, radius: float) -> Tensor:
    """Each example scaled down to Euclidean length radius where it is longer."""
    if radius == 0:  # the squares of tiny numbers vanish, and they would look as short as this
        return torch.zeros_like(d)
    length = d.flatten(1).norm(dim=1).view(-1, *[1] * (d.dim() - 1))
    return torch.where(length > radius, radius * unit_l2(d), d)
