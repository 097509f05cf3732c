"""The margin search in a plan: its operations.

Within, then for each move Evaluate and Climb; Evaluate the losses at the end, Ray; for each bisection Middle, Evaluate
the losses there, Narrow; Evaluate the losses at the clean inputs, Settle, Remember. The losses are the margins of the
logits, which are 0 or more where another class leads. An evaluation at what is settled is multiplied by each example's
own c.
"""

from __future__ import annotations

from typing import Literal, get_args

import attrs

from atentdsl.plan.values import Origin, origin


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


def radii_of(sampler: str) -> str:
    """Where the step's state keeps the radii that a sampler remembers."""
    return f"{sampler}.radius"


def judged_at(operation: Search) -> str | None:
    """The register whose losses an operation reads."""
    if isinstance(operation, Ray | Narrow):
        return operation.sampler
    return operation.anchor if isinstance(operation, Settle) else None
