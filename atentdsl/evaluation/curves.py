"""Accuracy against the radius, the number of steps and the number of restarts: whether a figure is final.

An image that is classified wrong as it is counts as broken everywhere, so every point is an accuracy like the report's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs
from torch import Tensor, nn

from atentdsl.evaluation.intervals import interval
from atentdsl.evaluation.paired import LEVEL, Comparison
from atentdsl.evaluation.whitebox import covering, evaluated_ball, pgd
from atentdsl.recipe import Recipe
from atentdsl.runtime.accuracy import answers
from atentdsl.runtime.data import Images

STEP_LADDER = (1, 2, 5, 10, 20, 50, 100)
RESTARTS = 10
FALLING_SHARE = 0.005
"""Restarts still lower the accuracy where the last doubling of them breaks more than this share of the images."""


@attrs.frozen(eq=False)
class Point:
    """An accuracy on a curve.

    Attributes:
        at: the radius, the steps or the restarts.
        settings: the attack's, all of them.
        held: which images are classified right under it, booleans `(images,)`.
    """

    at: float
    settings: Mapping[str, Any]
    held: Tensor

    def report(self) -> dict[str, Any]:
        """Its figures: accuracy as a fraction, with the exact 95 % interval."""
        n, stands = len(self.held), int(self.held.sum())
        low, high = interval(stands, n)
        figures = {"n": n, "stands": stands, "accuracy": stands / n, "low": low, "high": high}
        return {"at": self.at, **figures, "attack": dict(self.settings)}


@attrs.frozen(eq=False)
class Curve:
    """Accuracies of the same images against one number of the attack.

    Attributes:
        name: `epsilon`, `steps` or `restarts`.
        points: by growing `at`.
        verdict: `final`; `still falling`, where more of it still lowers the accuracy; or `rising`, where a larger
            radius leaves more images standing.
        figures: what the verdict rests on.
        warning: what to say on top of a report, None where nothing is wrong.
    """

    name: str
    points: tuple[Point, ...]
    verdict: str
    figures: Mapping[str, Any]
    warning: str | None = None

    def report(self) -> dict[str, Any]:
        """Verdict, figures and points."""
        said = {"verdict": self.verdict, **self.figures}
        return {**said, "points": [point.report() for point in self.points]}


def radii(radius: float, most: float) -> tuple[float, ...]:
    """The radii of a curve around an evaluated one: from 0, by quarters to it, then doubling until all is covered.

    >>> radii(0.25, 1.0)
    (0.0, 0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 1.0)
    """
    ladder = {0.0, most, *(radius * share for share in (0.25, 0.5, 0.75, 1.0, 1.5))}
    while radius < most:
        ladder.add(radius)
        radius *= 2
    return tuple(sorted(one for one in ladder if one <= most))


def curves(
    model: nn.Module,
    images: Images,
    recipe: Recipe,
    seed: int,
    batch: int = 512,
    between: Callable[[], None] = lambda: None,
    *,
    steps: Sequence[int] = STEP_LADDER,
    restarts: int = RESTARTS,
) -> tuple[Curve, ...]:
    """Accuracy under projected gradient descent, `whitebox.pgd`, against radius, steps and restarts, with verdicts.

        epsilon    50 steps in balls from radius 0 to the whole box
        steps      in the evaluated ball
        restarts   50 steps in the evaluated ball; a point counts the images that withstand that restart and all before

    Steps are `still falling` where the last doubling breaks images that stood before, and lets stand images that fell,
    in a proportion that equal attacks have with probability below 1 % (McNemar's exact test: both runs have their own
    random starts, so an image may fall to the weaker one by luck). Restarts are cumulative: an image newly broken is no
    chance but a proof, so they are where the last doubling breaks more than 0.5 % of the images. `epsilon` is `rising`
    where of two neighbouring radii the larger leaves more standing, by the same test, its 1 % shared by all the pairs.

    Args:
        model, images, seed, batch, between: as for `answers`.
        recipe: has the ball that is evaluated.
        steps: growing; at least two.
        restarts: at least two.

    Returns:
        The three, in this order.

    Raises:
        UnsuitedAttack: the recipe has no ball.
        ValueError: too few steps or restarts.
        NotFinite, MemoryExhausted: as for `answers`.

    Reference: Carlini et al., On Evaluating Adversarial Robustness, 2019, sections 4.2 and 4.3.

    >>> import torch
    >>> import atentdsl
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = nn.init.eye_(network[1].weight)
    >>> images = Images(torch.tensor([[0.6, 0.5, 0.0, 0.0], [0.9, 0.5, 0.0, 0.0]]), torch.tensor([0, 0]), 2)
    >>> found = curves(network, images, atentdsl.load("sgd", ["evaluate.radius=0.1"]), 0, steps=(1, 2), restarts=2)
    >>> [(curve.name, curve.verdict, curve.points[-1].report()["stands"]) for curve in found]
    [('epsilon', 'final', 0), ('steps', 'final', 1), ('restarts', 'final', 1)]
    """
    if restarts < 2 or len(steps) < 2 or any(not 1 <= a < b for a, b in pairwise(steps)):
        raise ValueError(f"curves need two growing numbers of steps and two restarts, not {list(steps)} and {restarts}")
    ball = evaluated_ball(recipe)
    ladder = radii(ball.radius, max(ball.radius, covering(ball.norm, images.shape)))
    by_radius = [pgd(recipe, ball.norm, radius) for radius in ladder]
    by_steps = [pgd(recipe, ball.norm, ball.radius, count) for count in steps]
    again = [pgd(recipe, ball.norm, ball.radius)] * restarts
    alone = len(by_radius) + len(by_steps)
    after = [[] if i < alone else list(range(alone, i)) for i in range(alone + restarts)]
    every = [*by_radius, *by_steps, *again]
    held = answers(model, images, [one.withstands for one in every], seed, batch, between, after).held
    made = [one.settings() for one in every]
    repeated = [{**made[-1], "restarts": count} for count in range(1, restarts + 1)]
    epsilon = _points(ladder, made, held)
    stepped = _points(steps, made[len(ladder) :], held[len(ladder) :])
    restarted = _points(range(1, restarts + 1), repeated, held[alone:])
    return _against_radius(epsilon), _against_steps(stepped), _against_restarts(restarted)


def _points(at: Iterable[float], made: Sequence[Mapping[str, Any]], held: Sequence[Tensor]) -> tuple[Point, ...]:
    return tuple(Point(*one) for one in zip(at, made, held, strict=False))


def _against_radius(points: tuple[Point, ...]) -> Curve:
    pairs = list(pairwise(points))
    found = [(a, b, Comparison.of(a.held, b.held)) for a, b in pairs]
    a, b, worst = min(found, key=lambda one: one[2].p)
    figures = {"from": a.at, "to": b.at, **worst.report(), "level": LEVEL / len(pairs)}
    if not worst.stronger(len(pairs)):
        return Curve("epsilon", points, "final", figures)
    warning = (
        f"curve epsilon: from radius {a.at:g} to {b.at:g}, {worst.first_only} images stand again and "
        f"{worst.second_only} more fall: gradients may be masked"
    )
    return Curve("epsilon", points, "rising", figures, warning)


def _against_steps(points: tuple[Point, ...]) -> Curve:
    before, last = _doubled(points), points[-1]
    more = Comparison.of(last.held, before.held)
    figures = {"from": before.at, "to": last.at, **more.report(), "level": LEVEL}
    if not more.stronger():
        return Curve("steps", points, "final", figures)
    warning = (
        f"curve steps: from {before.at} to {last.at} steps {more.first_only} images fall and {more.second_only} stand "
        "again: more steps still lower it: the figure is not final"
    )
    return Curve("steps", points, "still falling", figures, warning)


def _against_restarts(points: tuple[Point, ...]) -> Curve:
    before, last = _doubled(points), points[-1]
    broken, n = int((before.held & ~last.held).sum()), len(last.held)
    figures = {"from": before.at, "to": last.at, "broken": broken, "share": broken / n, "level": FALLING_SHARE}
    if not broken > FALLING_SHARE * n:
        return Curve("restarts", points, "final", figures)
    warning = (
        f"curve restarts: from {before.at} to {last.at} restarts {broken} of {n} images fall: more restarts still "
        "lower it: the figure is not final"
    )
    return Curve("restarts", points, "still falling", figures, warning)


def _doubled(points: Sequence[Point]) -> Point:
    """The point from which the last one is a doubling or more; the first where there is none."""
    return next((point for point in reversed(points) if 2 * point.at <= points[-1].at), points[0])
