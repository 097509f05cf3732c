"""The threat model of an evaluation: the ball that attacks are confined to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from atentdsl.recipe.tables import Evaluate
from atentdsl.source import KeyPath

NORMS = ("linf", "l2")


@attrs.frozen
class Threat:
    """A ball around each image.

    Attributes:
        norm: `linf` or `l2`.
        radius: in units of inputs in [0, 1].
        path: where the recipe says the radius.
    """

    norm: str
    radius: float
    path: KeyPath


def threat(evaluate: Evaluate, samplers: Iterable[Any]) -> Threat | None:
    """The ball that `[evaluate]` names; what it leaves out comes from the first ball that a sampler projects onto.

    None where there is no radius: neither written, nor of a sampler's ball in the norm that is written.
    """
    ball = _ball(samplers, evaluate.norm)
    if evaluate.radius is None:
        return ball
    return Threat(evaluate.norm or (ball.norm if ball else NORMS[0]), evaluate.radius, ("evaluate", "radius"))


def _ball(samplers: Iterable[Any], norm: str | None) -> Threat | None:
    wanted = [f"{norm}_ball"] if norm else [f"{known}_ball" for known in NORMS]
    for i, sampler in enumerate(samplers):
        for j, projection in enumerate(getattr(sampler, "projection", [])):
            if projection.kind in wanted:
                path = ("sampler", i, "projection", j, "radius")
                return Threat(projection.kind.removesuffix("_ball"), float(projection.radius), path)
    return None
