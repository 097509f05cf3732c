"""The statements of a smoothing: the draws of its noise, and what an evaluation is told of it."""

from __future__ import annotations

from atentdsl.codegen.terms import Terms
from atentdsl.plan.operations import Clean, Evaluate, Noise


def drawn(noise: Noise, terms: Terms) -> str:
    """The draws, as a statement."""
    path = noise.origin.path
    sigma = terms.number("SIGMA", noise.sigma, (*path, "sigma"), None)
    draws = terms.name("DRAWS", noise.draws, (*path, "draws"))
    return f'noise = smoothing_noise(rng, "{noise.stream}", x, {sigma}, {draws})'


def told(operation: Evaluate | Clean) -> str:
    """The arguments that a network pass gets beside its own; none where the network is not smoothed."""
    return "" if operation.smoothed is None else f', noise=noise, average="{operation.smoothed.average}"'
