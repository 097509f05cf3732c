"""How a margin search becomes operations, and the evaluations that stand between them.

Examples are right or wrong by the margins of their logits, whatever the loss that the ascent climbs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from atentdsl.plan.margins import Climb, Middle, Narrow, Ray, Remember, Settle, Within
from atentdsl.plan.operations import Evaluate, Operation
from atentdsl.plan.values import Call, Origin


def searches(sampler: Any) -> bool:
    """Whether a sampler is a margin search."""
    return bool(sampler.kind == "margin_search")


def search(sampler: Any, i: int, anchor: str, remembers: bool) -> Iterator[Operation]:
    """The operations of the i-th sampler around one point of data.

    Args:
        sampler: a margin search.
        i: its number, counted from 0.
        anchor: the register of its anchor.
        remembers: whether radii are remembered from step to step.
    """
    name, norm = sampler.name, sampler.norm

    def here(says: str) -> Origin:
        return Origin(("sampler", i), says, "Ding et al.")

    def evaluate(wants: Literal["input", "loss"], loss: str, at: str, says: str) -> Evaluate:
        return Evaluate(wants, Call("targets", loss), sampler.mode, at, origin=Origin(("sampler", i, "target"), says))

    def judge(at: str) -> Evaluate:
        return evaluate("loss", "margin", at, "is it misclassified there?")

    yield Within(
        name,
        anchor,
        norm,
        sampler.initial_radius,
        sampler.random_start,
        remembers,
        f"{name}.start",
        origin=here("start: in the ball of each example's radius"),
    )
    for _ in range(sampler.moves):
        yield evaluate("input", sampler.target.loss, name, "the loss's gradient in the point")
        yield Climb(name, anchor, norm, sampler.step, sampler.moves, origin=here("move: inside the ball"))
    yield judge(name)
    yield Ray(name, anchor, norm, sampler.max_radius, origin=here("the ray, and where on it to search"))
    for _ in range(sampler.bisections):
        yield Middle(name, anchor, origin=here("the middle of what is left"))
        yield judge(name)
        yield Narrow(name, anchor, origin=here("the half that is left"))
    yield judge(anchor)
    yield Settle(name, anchor, sampler.max_radius, origin=here("the margin's point, or x where it is wrong"))
    if remembers:
        yield Remember(name, anchor, sampler.initial_radius, origin=here("the margin is remembered for each example"))
