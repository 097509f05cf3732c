"""Networks of two classes whose weakness, or whose trick, is known."""

from __future__ import annotations

import torch
from torch import nn

from atentdsl.runtime.data import Images


class Linear(nn.Module):
    """Logit difference w x + b: the least l-infinity perturbation that flips it is |w x + b| / ||w||_1."""

    def __init__(self, w: torch.Tensor, b: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.w, self.b, self.scale = nn.Parameter(w), b, scale

    def score(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.w.to(x.dtype) + self.b

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = self.scale * self.score(x)
        return torch.stack([-score / 2, score / 2], dim=1)

    def margin(self, x: torch.Tensor) -> torch.Tensor:
        return self.score(x).abs() / self.w.norm(p=1)


class Rounded(Linear):
    """The same on inputs rounded to ninths: its gradient is zero everywhere, and nothing is more robust for it."""

    def score(self, x: torch.Tensor) -> torch.Tensor:
        return super().score((9 * x).round() / 9)


class Moat(nn.Module):
    """A way to the other class that gradients descend into, then a wall, then the other class: a long first step leaps
    over it, and short ones stay before it. u is the way towards the ball's corner, 1 at the corner itself."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = (x.flatten(1).mean(dim=1) - 0.5) / self.radius
        knots, heights = torch.tensor([-9.0, 0.4, 0.7, 0.9, 9.0]), torch.tensor([10.4, 1.0, 3.0, -1.0, -82.0])
        place = torch.searchsorted(knots, u.detach().contiguous()).clamp(1, 4)
        slope = (heights[place] - heights[place - 1]) / (knots[place] - knots[place - 1])
        margin = heights[place - 1] + slope * (u - knots[place - 1])
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)


def linear(n: int, kind: type[Linear] = Linear, seed: int = 0, **settings: float) -> tuple[Linear, Images]:
    """A linear classifier of 8 x 8 inputs that is right on all images, half of them of either class, with margins up to
    0.15 or so; the box's faces are further off than that."""
    generator = torch.Generator().manual_seed(seed)
    model = kind(torch.randn(64, generator=generator), **settings)
    shift = 0.2 * torch.rand(n, 1, generator=generator) - 0.1
    x = 0.4 + 0.2 * torch.rand(n, 64, generator=generator) + shift * model.w.detach().sign()
    x = x.view(n, 1, 8, 8)
    with torch.no_grad():
        model.b = -float(model.score(x).median())
        y = (model(x)[:, 1] > model(x)[:, 0]).long()
    return model.eval(), Images(x, y, 2)
