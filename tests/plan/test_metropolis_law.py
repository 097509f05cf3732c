"""The stationary law of a compiled `mala` chain is p^(1/T) itself, at step sizes at which an unadjusted one is far off.

The network is logistic in s = a . z, so the target of a label, softplus(s) or softplus(-s) less the coupling's energy,
is known in closed form, and its law along a and across it is integrated here, apart from the library. The batch is
CHAINS independent chains of one label each; all of them are tested at the last move, when nothing of the start is left:
the samples are independent, and the Kolmogorov-Smirnov test is exact. A seed drawn anew raises a false alarm with
probability FALSE_ALARM in each comparison.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from primitives.primitive_draws import FALSE_ALARM
from scipy import integrate, stats

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.runtime import Streams

CHAINS, MOVES = 20_000, 40
A = np.array([2.4, -1.8])  # of length 3
LENGTH = 3.0
X = np.array([0.3, 0.45])
GAMMA, BETA, NOISE = 4.4, 1.5, 0.7


class Logistic(torch.nn.Module):
    """Logits 0 and a . (z - x), so that the cross entropy of label 1 is softplus(-a . (z - x))."""

    def forward(self, z):
        s = (z.flatten(1) - torch.tensor(X)[: z[0].numel()]) @ torch.tensor(A)[: z[0].numel()]
        return torch.stack([torch.zeros_like(s), s], dim=1)


def recipe(step_size, coupling, projection=(), direction="ascend"):
    chain = {
        "name": "chain",
        "moves": MOVES,
        "target": {"beta": BETA, "direction": direction, "coupling": coupling},
        "kernel": {"kind": "mala", "step_size": step_size, "noise": NOISE},
        "projection": list(projection),
    }
    return atentdsl.load(
        {
            "schema": 1,
            "recipe": {"name": "law"},
            "data": {"name": "digits", "batch": 1},
            "model": {"name": "mlp"},
            "sampler": [chain],
            "optimizer": {"kind": "sgd", "epochs": 1, "lr": 0.1},
            "evaluate": {"attacks": [], "select": "clean"},
        }
    )


PULLED = recipe(0.2, {"kind": "l2", "gamma": GAMMA})
DESCENDING = recipe(0.15, {"kind": "l2", "gamma": GAMMA}, direction="descend")
BALL = ({"kind": "linf_ball", "radius": 0.5}, {"kind": "box"})
BOUNDED = recipe(0.08, {"kind": "none"}, BALL)


def text(of):
    return generate(of, "draw").text


def points(of, source, dimensions):
    """The last points of as many chains of either label, `(labels, chains, dimensions)`."""
    module = as_module(source, "law")
    x = torch.tensor(X[:dimensions]).expand(2 * CHAINS, 1, 1, dimensions).clone()
    y = torch.arange(2).repeat_interleave(CHAINS)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        rng = Streams(1, 1, torch.device("cpu"))
        with torch.enable_grad():
            ((z, weight),) = module.draw(Logistic(), x, y, rng)
    assert weight == 1
    return z.view(2, CHAINS, dimensions).numpy()


def law(energy, low, high):
    """The distribution function of the density proportional to exp(energy / T) between low and high."""
    grid = np.linspace(low, high, 20_001)
    values = energy(grid) / NOISE**2
    density = np.exp(values - values.max())
    total = integrate.cumulative_trapezoid(density, grid, initial=0)
    return lambda u: np.interp(u, grid, total / total[-1])


def softplus(s):
    return np.logaddexp(0, s)


def p_values(of, source):
    """Of every comparison: along and across a for a pulled chain of two pixels, the one pixel of a bounded one."""
    target = of.samplers[0].target
    sign = -1 if target.direction == "descend" else 1
    found = []
    if of is BOUNDED:
        samples = points(of, source, 1)
        low, high = max(0, X[0] - 0.5), min(1, X[0] + 0.5)
        for label, z in enumerate(samples):
            away = -A[0] if label else A[0]
            assert ((z >= low - 1e-12) & (z <= high + 1e-12)).all()
            exact = law(lambda u, away=away: BETA * softplus(away * (u - X[0])), low, high)
            found.append(stats.kstest(z[:, 0], exact).pvalue)
        return found
    for label, z in enumerate(points(of, source, 2)):
        along, across = (z - X) @ A / LENGTH, (z - X) @ np.array([A[1], -A[0]]) / LENGTH
        away = -LENGTH if label else LENGTH
        exact = law(lambda u, away=away: sign * BETA * softplus(away * u) - GAMMA / 2 * u**2, -6, 6)
        found += [
            stats.kstest(along, exact).pvalue,
            stats.kstest(across, stats.norm(0, NOISE / GAMMA**0.5).cdf).pvalue,
        ]
    return found


@pytest.mark.parametrize("of", [PULLED, DESCENDING, BOUNDED], ids=["pulled", "descending", "bounded"])
def test_the_law_is_the_targets_own(of):
    assert min(p_values(of, text(of))) > FALSE_ALARM


CHANCE = 'rng.uniform("chain.acceptance", probability) < probability'
RATIO = "(gain - along - steeper)"
MUTANTS = {
    "always accepted": (CHANCE, CHANCE.replace("<", ">=") + " - 1"),
    "the sign in the exponent": (RATIO, "(-(gain - along - steeper))"),
    "the ratio of the proposals forgotten": (RATIO, "gain"),
    "the ratio of the proposals the other way": (RATIO, "(gain + along + steeper)"),
    "another temperature": ("/ noise**2)", "/ noise)"),
    "without beta": ("drift = BETA * here.gradient", "drift = here.gradient"),
    "the gradient of a rejected proposal": ("(z, here))", "(z, here))[0], there"),
    "the density of before": ("(proposal, there), (z, here))", "(proposal, here), (z, here))"),
    "noise off by sqrt 2": ("math.sqrt(2 * step_size)", "math.sqrt(step_size)"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_another_chain_has_another_law(name):
    old, new = MUTANTS[name]
    assert text(PULLED).count(old) == 1, text(PULLED)
    assert not min(p_values(PULLED, text(PULLED).replace(old, new))) > FALSE_ALARM


PROPOSED = 'proposal = langevin_step(z, drift, rng.normal("chain.noise", z), STEP_SIZE, NOISE)'
OUTSIDE = {
    "brought back instead of rejected": (
        PROPOSED,
        f"{PROPOSED}.clamp(x - LINF_BALL_RADIUS, x + LINF_BALL_RADIUS).clamp(0, 1)",
    ),
    "mirrored at one end": (PROPOSED, f"{PROPOSED}.abs()"),
    "always accepted": MUTANTS["always accepted"],
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_another_support_has_another_law(name):
    old, new = OUTSIDE[name]
    assert text(BOUNDED).count(old) == 1, text(BOUNDED)
    assert not min(p_values(BOUNDED, text(BOUNDED).replace(old, new))) > FALSE_ALARM


def test_an_unadjusted_chain_at_the_same_step_size_is_far_off():
    """What the test is worth: the variance across a is that of the discretised chain, T / (gamma (1 - h gamma / 2))."""
    always = text(PULLED).replace(*MUTANTS["always accepted"])
    z = points(PULLED, always, 2).reshape(-1, 2) - X
    across = z @ np.array([A[1], -A[0]]) / LENGTH
    exact, discretised = NOISE**2 / GAMMA, NOISE**2 / (GAMMA * (1 - 0.2 * GAMMA / 2))
    assert discretised > 1.7 * exact
    ratio = across.var() / discretised
    assert abs(ratio - 1) < 5 * (2 / len(across)) ** 0.5
