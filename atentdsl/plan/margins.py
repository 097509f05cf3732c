"""The margin search in a plan: its operations, and how a sampler of that kind becomes them.

Within, then for each move Evaluate and Climb; Evaluate the losses at the end, Ray; for each bisection Middle, Evaluate
the losses there, Narrow; Evaluate the losses at the clean inputs, Settle, Remember. The losses are the margins of the
logits, which are 0 or more where another class leads. An evaluation at what is settled is multiplied by each example's
own c.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs

from atentdsl.plan.values import Origin, origin

KIND = "margin_search"


@attrs.frozen
class Within:
    """Each example's radius is recalled, and the sampler's z becomes the start of an ascent in its ball.

    Attributes:
        norm: of the ball.
        initial: the radius of an example that is not remembered.
        drawn: whether the start is a random point of the ball, and not its centre.
        remembers: whether examples are remembered; if not, all have the initial radius.
        stream: names the draws.
    """

    sampler: str
    anchor: str
    norm: Literal["linf", "l2"]
    initial: float
    drawn: bool
    remembers: bool
    stream: str
    space: Literal["data"] = "data"
    origin: Origin = origin()


@attrs.frozen
class Climb:
    """z moves along the gradient there, by step / moves of each example's radius, and stays in its ball and the box."""

    sampler: str
    anchor: str
    norm: Literal["linf", "l2"]
    step: float
    moves: int
    origin: Origin = origin()


@attrs.frozen
class Ray:
    """Each example's ray goes from its anchor through z; its bracket is before z or behind, by the losses there.

    Attributes:
        norm: of its length.
        largest: where a bracket behind z ends.
    """

    sampler: str
    anchor: str
    norm: Literal["linf", "l2"]
    largest: float
    origin: Origin = origin()


@attrs.frozen
class Middle:
    """z becomes the middle of each example's bracket."""

    sampler: str
    anchor: str
    origin: Origin = origin()


@attrs.frozen
class Narrow:
    """Each example's bracket becomes one of its halves, by the losses in the middle."""

    sampler: str
    anchor: str
    origin: Origin = origin()


@attrs.frozen
class Settle:
    """z and c become what each example hands on: its margin's point, its anchor, or nothing, by the losses there.

    Attributes:
        largest: the margin from which on c is 0.
    """

    sampler: str
    anchor: str
    largest: float
    origin: Origin = origin()


@attrs.frozen
class Remember:
    """Each example's margin becomes the radius of its next ball.

    Attributes:
        initial: the least radius.
    """

    sampler: str
    anchor: str
    initial: float
    origin: Origin = origin()


Search = Within | Climb | Ray | Middle | Narrow | Settle | Remember
PHASES: dict[type[Search], tuple[str, str]] = {
    Within: ("", "ball"),
    Climb: ("ball", "ball"),
    Ray: ("ball", "ray"),
    Middle: ("ray", "middle"),
    Narrow: ("middle", "ray"),
    Settle: ("ray", "settled"),
    Remember: ("settled", "settled"),
}
"""How far a search must have come for an operation, and how far it has come after it; it may begin at any time."""

assert set(PHASES) == set(get_args(Search))


def searches(sampler: Any) -> bool:
    """Whether a sampler is a margin search."""
    return bool(sampler.kind == KIND)


def radii_of(sampler: str) -> str:
    """Where the step's state keeps the radii that a sampler remembers."""
    return f"{sampler}.radius"


def judged_at(operation: Search) -> str | None:
    """The register whose losses an operation reads."""
    if isinstance(operation, Ray | Narrow):
        return operation.sampler
    return operation.anchor if isinstance(operation, Settle) else None


Ask = tuple[Literal["input", "loss"], str]
"""An evaluation that a search asks for: what of, and at which register."""


def search(sampler: Any, i: int, anchor: str, remembers: bool) -> Iterator[Search | Ask]:
    """The operations of the i-th sampler around one point of data, and between them the evaluations that they read.

    Args:
        sampler: a margin search.
        i: its number, counted from 0.
        anchor: the register of its anchor.
        remembers: whether radii are remembered from step to step.
    """
    name, norm = sampler.name, sampler.norm

    def at(says: str) -> Origin:
        return Origin(("sampler", i), says, "Ding et al.")

    yield Within(
        name, anchor, norm, sampler.initial_radius, sampler.random_start, remembers, f"{name}.start",
        origin=at("start: in the ball of each example's radius"),
    )  # fmt: skip
    for _ in range(sampler.moves):
        yield "input", name
        yield Climb(name, anchor, norm, sampler.step, sampler.moves, origin=at("move: inside the ball"))
    yield "loss", name
    yield Ray(name, anchor, norm, sampler.max_radius, origin=at("the ray, and where on it to search"))
    for _ in range(sampler.bisections):
        yield Middle(name, anchor, origin=at("the middle of what is left"))
        yield "loss", name
        yield Narrow(name, anchor, origin=at("the half that is left"))
    yield "loss", anchor
    yield Settle(name, anchor, sampler.max_radius, origin=at("the margin's point, or x where it is wrong"))
    if remembers:
        origin = at("the margin is remembered for each example")
        yield Remember(name, anchor, sampler.initial_radius, origin=origin)
