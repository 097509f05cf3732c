"""Systems that move the weights besides training them, each transcribed in torch. Nothing of the project is here."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere


class Biased(torch.nn.Module):
    """A smooth network in float64 with biases, from (batch, 1, 3, 3) to three classes."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        draw = lambda *shape: torch.nn.Parameter(  # noqa: E731
            torch.randn(*shape, generator=generator, dtype=torch.float64)
        )
        self.first, self.bias, self.second = draw(9, 5), draw(5), draw(5, 3)

    def forward(self, x):
        return torch.tanh(x.flatten(1) @ self.first + self.bias) @ self.second


def batches(count, low=0.0, high=1.0, n=4, seed=0):
    """`count` batches of inputs in [low, high] and labels."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda: low + (high - low) * torch.rand(n, 1, 3, 3, generator=g, dtype=torch.float64)  # noqa: E731
    return [(draw(), torch.randint(3, (n,), generator=g)) for _ in range(count)]


def rows(f, count, seed=1):
    """`count` arrays of standard normal numbers, one number a weight, in one row each."""
    g = torch.Generator().manual_seed(seed)
    size = sum(p.numel() for p in f.parameters())
    return [torch.randn(1, size, generator=g, dtype=torch.float64) for _ in range(count)]


def like_weights(f, row):
    """A row cut into arrays of the weights' shapes."""
    pieces, at = [], 0
    for p in f.parameters():
        pieces.append(row[0, at : at + p.numel()].reshape(p.shape))
        at += p.numel()
    return pieces


def gradient(f, x, y):
    """The mean cross entropy's gradient in the weights."""
    return torch.autograd.grad(F.cross_entropy(f(x), y), list(f.parameters()))


def assign(f, values):
    with torch.no_grad():
        for p, value in zip(f.parameters(), values, strict=True):
            p.copy_(value)


def copied(f):
    return [p.detach().clone() for p in f.parameters()]


def alg_3(f, x, y, xi, K, eta, eta_, gamma, eps, alpha):  # noqa: N803 - the paper's letter
    """One batch of Alg. 3, lines 4 to 11; the dL of one batch at w'^k, the pull to w, the mean of the chain."""
    w = copied(f)
    mu = copied(f)
    for k in range(K):
        noise = like_weights(f, xi[k])
        loss_gradient, now = gradient(f, x, y), copied(f)
        moved = []
        for a, g, anchor, n in zip(now, loss_gradient, w, noise, strict=True):
            dw = -g + gamma * (anchor - a)
            moved.append(a + eta_ * dw + math.sqrt(2 * eta_) * eps * n)
        assign(f, moved)
        mu = [(1 - alpha) * m + alpha * a for m, a in zip(mu, moved, strict=True)]
    assign(f, [a - eta * gamma * (a - m) for a, m in zip(w, mu, strict=True)])


def entropy_sgd_reference(f, fresh, xi, K, lr, eta_, gamma, eps, gradient=gradient):  # noqa: N803
    """The reference code: Nesterov on the loss's gradient, pull and noise after it, a fresh batch a move."""
    w, mean = copied(f), copied(f)
    mdw = [torch.zeros_like(a) for a in w]
    for k in range(K):
        d, now, noise = list(gradient(f, *fresh[k])), copied(f), like_weights(f, xi[k])
        for i in range(len(d)):
            mdw[i] = 0.9 * mdw[i] + d[i]
            d[i] = d[i] + 0.9 * mdw[i]
            d[i] = d[i] + gamma * (now[i] - w[i]) + eps / math.sqrt(0.5 * eta_) * noise[i]
            now[i] = now[i] - eta_ * d[i]
            mean[i] = 0.75 * mean[i] + 0.25 * now[i]
        assign(f, now)
    assign(f, [a - lr * (a - m) for a, m in zip(w, mean, strict=True)])


def pgd(f, x, y, start, K, eta_, eps):  # noqa: N803
    """The attack that the weights are perturbed around: signs, the ball and the box."""
    z = (x + eps * (2 * start - 1)).clamp(0, 1)
    for _ in range(K):
        z = z.detach().requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(f(z), y), z)
        z = torch.min(torch.max(z.detach() + eta_ * g.sign(), x - eps), x + eps).clamp(0, 1)
    return z


def awp_published(f, optimizer, x, y, start, K, eta_, eps, gamma):  # noqa: N803
    """The published code: one step of a proxy up the loss, each layer's part at the layer's length; update at w + v."""
    z = pgd(f, x, y, start, K, eta_, eps)
    w = copied(f)
    proxy = [a + 0.01 * g for a, g in zip(w, gradient(f, z, y), strict=True)]
    diffs = []
    for old, new in zip(w, proxy, strict=True):
        diff = new - old
        diffs.append(old.norm() / (diff.norm() + 1e-20) * diff if old.dim() > 1 else torch.zeros_like(old))
    assign(f, [a + gamma * d for a, d in zip(w, diffs, strict=True)])
    optimizer.zero_grad()
    F.cross_entropy(f(z), y).backward()
    optimizer.step()
    assign(f, [a - gamma * d for a, d in zip(copied(f), diffs, strict=True)])


def free_published(f, optimizer, x, y, delta, step, eps, replays):
    """The published code's replays of one batch: one backward for the weights and for the perturbation."""
    for _ in range(replays):
        noise = delta.clone().requires_grad_()
        loss = F.cross_entropy(f((x + noise).clamp(0, 1)), y)
        optimizer.zero_grad()
        loss.backward()
        delta = (delta + step * noise.grad.sign()).clamp(-eps, eps)
        optimizer.step()
    return delta
