"""The paper's algorithms, each a transcription of its box in torch. Nothing of the project is imported here."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere


class Net(torch.nn.Module):
    """A smooth network in float64, from (batch, 1, 3, 3) to three classes."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.first = torch.nn.Parameter(torch.randn(9, 5, generator=generator, dtype=torch.float64))
        self.second = torch.nn.Parameter(torch.randn(5, 3, generator=generator, dtype=torch.float64))

    def forward(self, x):
        return torch.tanh(x.flatten(1) @ self.first) @ self.second


def data(steps, n=4, seed=0):
    """`steps` batches of inputs in [0, 1], many of them on the boundary, and labels."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda: (torch.rand(n, 1, 3, 3, generator=g, dtype=torch.float64) * 1.6 - 0.3).clamp(0, 1)  # noqa: E731
    return [(draw(), torch.randint(3, (n,), generator=g)) for _ in range(steps)]


def noises(steps, count, kind=torch.randn, n=4, seed=1):
    """For each step `count` arrays of the inputs' shape."""
    g = torch.Generator().manual_seed(seed)
    return [[kind(n, 1, 3, 3, generator=g, dtype=torch.float64) for _ in range(count)] for _ in range(steps)]


def alg_1(f, x, y, start, xi, K, eta_, gamma, eps, alpha, sd):  # noqa: N803 - the paper's letter
    """Lines 4 to 12 of Alg. 1: the points x'^1 ... x'^K and dL."""
    z, mu, points = x + sd * start, 0, []
    for k in range(K):
        z = z.requires_grad_()
        loss = F.cross_entropy(f(z), y)
        dx = torch.autograd.grad(loss, z)[0] + gamma * (x - z.detach())
        z = z.detach() + eta_ * dx + math.sqrt(2 * eta_) * eps * xi[k]
        points.append(z)
        mu_k = F.cross_entropy(f(z), y)
        mu = (1 - alpha) * mu + alpha * mu_k
    return points, torch.autograd.grad(mu, list(f.parameters())), mu.detach()


def alg_2(f, x, y, start, xi, K, eta_, gamma, eps, alpha, sd):  # noqa: N803
    """Lines 4 to 12 of Alg. 2: P_gamma clips the increment of the K-th iteration only."""
    z, mu, points = x + sd * start, 0, []
    for k in range(K):
        z = z.requires_grad_()
        dx = torch.autograd.grad(F.cross_entropy(f(z), y), z)[0]
        increment = eta_ * dx + math.sqrt(2 * eta_) * eps * xi[k]
        if k == K - 1:
            increment = increment.clamp(-1 / gamma, 1 / gamma)
        z = z.detach() + increment
        points.append(z)
        mu = (1 - alpha) * mu + alpha * F.cross_entropy(f(z), y)
    return points, torch.autograd.grad(mu, list(f.parameters())), mu.detach()


def alg_4(f, x, y, K, eta_, eps):  # noqa: N803
    """Lines 4 to 11 of Alg. 4: projected gradient ascent, and the gradient at the last point."""
    z, points = x, []
    for _ in range(K):
        z = z.detach().requires_grad_()
        dx = torch.autograd.grad(F.cross_entropy(f(z), y), z)[0]
        z = (z + eta_ * dx).detach()
        z = x + (z - x).clamp(-eps, eps)
        points.append(z)
    mu = F.cross_entropy(f(points[-1]), y)
    return points[-1:], torch.autograd.grad(mu, list(f.parameters())), mu.detach()


def published_linf(f, x, y, start, xi, K, eta_, eps, radius):  # noqa: N803
    """The published code's l-infinity ATENT: a corner start, signs, the ball and the box, 0.9 * 0.1^(K - k)."""
    z, dL, signal, points = x + radius * start.sign(), None, 0, []  # noqa: N806
    for k in range(1, K + 1):
        z = z.detach().requires_grad_()
        F.cross_entropy(f(z), y, reduction="sum").backward(inputs=[z])
        z = z.detach() + eta_ * z.grad.sign() + math.sqrt(2 * eta_) * eps * xi[k - 1]
        z = torch.max(torch.min(z, x + radius), x - radius).clamp(0, 1)
        points.append(z)
        c = 0.9 * 0.1 ** (K - k)
        loss = F.cross_entropy(f(z), y)
        here = torch.autograd.grad(loss, list(f.parameters()))
        dL = [c * g if dL is None else dL[i] + c * g for i, g in enumerate(here)]  # noqa: N806
        signal += c * loss.detach()
    return points, dL, signal


def published_l2(f, x, y, start, xi, K, eta_, eps, gamma, radius):  # noqa: N803
    """The published code's l2 ATENT: a start on the sphere, unit gradients, gamma (x - z) a move, the ball, the box."""
    sphere = start / start.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    z, dL, signal, points = x + radius * sphere, None, 0, []  # noqa: N806
    for k in range(1, K + 1):
        z = z.detach().requires_grad_()
        F.cross_entropy(f(z), y, reduction="sum").backward(inputs=[z])
        unit = torch.stack([g / torch.sqrt((g * g).sum()) for g in z.grad])
        z = z.detach()
        z = z + eta_ * unit + gamma * (x - z) + math.sqrt(2 * eta_) * eps * xi[k - 1]
        length = (z - x).flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        z = (x + (z - x) * (radius / length).clamp(max=1)).clamp(0, 1)
        points.append(z)
        c = 0.9 * 0.1 ** (K - k)
        loss = F.cross_entropy(f(z), y)
        here = torch.autograd.grad(loss, list(f.parameters()))
        dL = [c * g if dL is None else dL[i] + c * g for i, g in enumerate(here)]  # noqa: N806
        signal += c * loss.detach()
    return points, dL, signal


def sgd_step(f, gradient, lr):
    """Line 13: w <- w - eta dL."""
    with torch.no_grad():
        for w, g in zip(f.parameters(), gradient, strict=True):
            w -= lr * g


def momentum_step(f, gradient, buffers, lr, momentum, decay):
    """The published code's optimizer: decay joins the gradient, momentum begins with the first one."""
    with torch.no_grad():
        for i, (w, g) in enumerate(zip(f.parameters(), gradient, strict=True)):
            d = g + decay * w
            buffers[i] = d if i not in buffers else momentum * buffers[i] + d
            w -= lr * buffers[i]
