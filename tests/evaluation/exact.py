"""Linear classifiers, whose least perturbation within the box is known exactly, in every norm."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Logits w x + b, of as many classes as w has rows."""

    def __init__(self, w: Tensor, b: Tensor) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(w), nn.Parameter(b)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.w.T + self.b

    def pairs(self, x: Tensor, y: Tensor, norm: str) -> Tensor:
        """The length of the least perturbation to each class's boundary, `(images, classes)`; infinite for y itself."""
        with torch.no_grad():
            logits = x.flatten(1).double() @ self.w.double().T + self.b.double()
            lengths = torch.full_like(logits, torch.inf)
            for other in range(logits.shape[1]):
                direction = (self.w[other] - self.w[y]).double()
                need = logits.gather(1, y[:, None])[:, 0] - logits[:, other]
                found = shortest(direction, x.flatten(1).double(), need, norm)
                lengths[:, other] = torch.where(y == other, torch.inf, found)
        return lengths


def shortest(direction: Tensor, x: Tensor, need: Tensor, norm: str) -> Tensor:
    """min ||d|| such that direction * d >= need and x + d is in the box, for each of `(images, pixels)`.

    l1 fills the pixels of the largest slopes first, a fractional knapsack; l-infinity moves all pixels by t and l2 each
    by t times its slope, both up to the face, with the least t that suffices, found by bisection.
    """
    slope, room = direction.abs(), torch.where(direction > 0, 1 - x, x)
    reachable = (slope * room).sum(1) >= need
    if norm == "l1":
        order = slope.argsort(dim=1, descending=True)
        slope, room = slope.gather(1, order), room.gather(1, order)
        gained = (slope * room).cumsum(1)
        last = (gained < need[:, None]).sum(1).clamp(max=x.shape[1] - 1)[:, None]
        missing = need[:, None] - (gained - slope * room).gather(1, last)
        lengths = (room.cumsum(1) - room).gather(1, last) + missing / slope.gather(1, last)
        return lengths[:, 0].where(reachable, torch.inf)
    shape = torch.ones_like(slope) if norm == "linf" else slope
    low, high = torch.zeros(len(x), 1, dtype=x.dtype), torch.full((len(x), 1), 1e4, dtype=x.dtype)
    for _ in range(45):
        middle = (low + high) / 2
        enough = ((slope * torch.minimum(room, middle * shape)).sum(1) >= need)[:, None]
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    lengths = torch.minimum(room, high * shape).norm(p=torch.inf if norm == "linf" else 2, dim=1)
    return lengths.where(reachable, torch.inf)


@functools.cache
def just_inside(
    model: Linear, x: Tensor, norm: str, radius: float, most: int = 60, apart: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Images whose least perturbation is a hundredth to three below the radius, and whose is just above it.

    Returns x, y and whether each is to fall. No class beside the nearest is as near as a quarter more, so that it does
    not matter which one is climbed at first.
    """
    y = model(x).argmax(dim=1)
    lengths, second = model.pairs(x, y, norm).topk(2, dim=1, largest=False).values.T
    clear = second > apart * lengths
    falls = torch.nonzero(clear & (lengths > 0.97 * radius) & (lengths < radius / 1.01))[:most, 0]
    stands = torch.nonzero(clear & (lengths > 1.001 * radius) & (lengths < 1.03 * radius))[:most, 0]
    chosen = torch.cat([falls, stands])
    return x[chosen], y[chosen], torch.arange(len(chosen)) < len(falls)
