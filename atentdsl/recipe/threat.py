"""The threat model of an evaluation: the ball that attacks are confined to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from atentdsl.recipe.attack_names import NORMS, AttackName
from atentdsl.recipe.tables import Evaluate
from atentdsl.source import KeyPath


@attrs.frozen
class Threat:
    """A ball around each image.

    Attributes:
        norm: `linf`, `l2` or `l1`.
        radius: in units of inputs in [0, 1].
        path: where the recipe says the radius.
    """

    norm: str
    radius: float
    path: KeyPath


def threat(evaluate: Evaluate, samplers: Iterable[Any]) -> Threat | None:
    """The ball that `[evaluate]` names; what it leaves out comes from the first ball that a sampler of data has.

    A ball whose radius is a schedule has no one radius. None where there is none: neither written, nor of a sampler's
    ball in the norm that is written.
    """
    fixed = ((norm, radius, path) for norm, radius, path in _balls(samplers, evaluate.norm) if _one(radius))
    ball = next((Threat(norm, float(radius), path) for norm, radius, path in fixed), None)
    if evaluate.radius is None:
        return ball
    return Threat(evaluate.norm or (ball.norm if ball else NORMS[0]), evaluate.radius, ("evaluate", "radius"))


def threat_of(attack: AttackName, evaluate: Evaluate, samplers: Iterable[Any]) -> Threat | None:
    """The ball that one attack is confined to: what it says itself, and else what `threat` says for all of them.

    In another norm than theirs it is the first ball of that norm that a sampler of data has. None where there is none.
    """
    samplers = list(samplers)
    shared = threat(evaluate, samplers)
    norm = attack.norm or (shared.norm if shared else evaluate.norm or NORMS[0])
    if attack.radius is not None:
        return Threat(norm, attack.radius, ("evaluate", "attacks"))
    if shared is not None and norm == shared.norm:
        return shared
    return next((Threat(norm, float(r), path) for _, r, path in _balls(samplers, norm) if _one(r)), None)


def scheduled(evaluate: Evaluate, samplers: Iterable[Any]) -> KeyPath | None:
    """Where the first ball says its radius that could be the evaluation's if it were not a schedule."""
    return next((path for _, radius, path in _balls(samplers, evaluate.norm) if not _one(radius)), None)


def _balls(samplers: Iterable[Any], norm: str | None) -> Iterator[tuple[str, Any, KeyPath]]:
    wanted = [f"{norm}_ball"] if norm else [f"{known}_ball" for known in NORMS]
    for i, sampler in enumerate(samplers):
        for j, projection in enumerate(sampler.projection):
            if sampler.space == "data" and projection.kind in wanted:
                path = ("sampler", i, "projection", j, "radius")
                yield projection.kind.removesuffix("_ball"), projection.radius, path


def _one(radius: Any) -> bool:
    return isinstance(radius, int | float)
