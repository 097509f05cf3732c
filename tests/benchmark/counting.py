"""A network that counts what autograd does in it."""

from __future__ import annotations

import torch
from torch import nn

SHAPE, CLASSES, WIDTH = (1, 4, 4), 3, 5


class Counted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, counts):
        ctx.save_for_backward(x, w)
        ctx.counts = counts
        counts["forward"] += 1
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        to_input, to_weights, _ = ctx.needs_input_grad
        ctx.counts["activations"] += to_input
        ctx.counts["weights"] += to_weights
        return g @ w.T if to_input else None, x.T @ g if to_weights else None, None


class CountingNetwork(nn.Module):
    """Two layers: a forward and its weight gradients are counted in the first, an activation backward in the second."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        rows = SHAPE[0] * SHAPE[1] * SHAPE[2]
        self.first = nn.Parameter(torch.randn(rows, WIDTH, generator=generator))
        self.second = nn.Parameter(torch.randn(WIDTH, CLASSES, generator=generator))
        self.counts = [self._none(), self._none()]

    @staticmethod
    def _none():
        return {"forward": 0, "activations": 0, "weights": 0}

    def forward(self, x):
        hidden = torch.tanh(Counted.apply(x.flatten(1), self.first, self.counts[0]))
        return Counted.apply(hidden, self.second, self.counts[1])

    def units(self):
        """Units since they were last asked for."""
        first, second = self.counts
        assert first["forward"] == second["forward"]
        assert first["weights"] == second["weights"]
        total = first["forward"] + second["activations"] + first["weights"]
        for counts in self.counts:
            counts.update(self._none())
        return total


def batch(count=6):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, *SHAPE, generator=generator), torch.randint(CLASSES, (count,), generator=generator)
