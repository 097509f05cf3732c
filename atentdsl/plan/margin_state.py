"""What margin searches hold while a plan is interpreted, and what their operations do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atentdsl.plan.margins import Climb, Middle, Narrow, Ray, Remember, Search, Settle, Within, radii_of
from atentdsl.plan.trace import Draws
from atentdsl.primitives.lazy import torch
from atentdsl.primitives.samplers.margin_search import (
    NORMS,
    at_margin,
    bracket,
    first_radius,
    halved,
    middle,
    next_radius,
    ray_through,
)


class Margins:
    """Executes the operations of margin searches.

    Attributes:
        chosen: by sampler, c of each example.

    Args:
        points: the registers.
        rng: the random streams of the step.
        state: persists from step to step; here a margin's memory is the radius by training index.
    """

    def __init__(self, points: dict[str, Any], rng: Draws, state: dict[str, Any]) -> None:
        self.chosen: dict[str, Any] = {}
        self._points, self._rng, self._state = points, rng, state
        self._radius: dict[str, Any] = {}
        self._ray: dict[str, Any] = {}
        self._bracket: dict[str, tuple[Any, Any]] = {}

    def execute(self, operation: Search, batch: Any, g: Any, losses: Any) -> bool:
        """Does what the operation says; whether z became another point.

        Args:
            operation: of a search.
            batch: which the points belong to.
            g: the gradient at the sampler's point.
            losses: the margins that were evaluated last.
        """
        name, x = operation.sampler, self._points[operation.anchor]
        z: Any = self._points.get(name)
        match operation:
            case Within(norm=norm):
                radius = first_radius(x, operation.initial)
                if operation.remembers:
                    memory = self._state.get(radii_of(name), {})
                    for place, example in enumerate(batch.examples.tolist()):
                        radius[place] = memory.get(example, operation.initial)
                z = x
                if operation.drawn:
                    laws: dict[str, tuple[str, Callable[..., Any]]]
                    laws = {"normal": ("xi", self._rng.normal), "uniform": ("u", self._rng.uniform)}
                    noise = {laws[law][0]: laws[law][1](operation.stream, x) for law in NORMS[norm].draws}
                    z = NORMS[norm].start(x=x, radius=radius, **noise)
                self._radius[name] = radius
            case Climb(norm=norm):
                share = operation.step / operation.moves
                z = NORMS[norm].climb(z=z, x=x, g=g, radius=self._radius[name], share=share)
            case Ray(norm=norm, largest=largest):
                length = NORMS[norm].length(z - x)
                self._ray[name] = ray_through(z, x, length)
                self._bracket[name] = bracket(length, losses, largest)
            case Middle():
                z = middle(x, self._ray[name], *self._bracket[name])
            case Narrow():
                self._bracket[name] = halved(*self._bracket[name], losses)
            case Settle(largest=largest):
                z, self.chosen[name] = at_margin(x, self._ray[name], self._bracket[name][1], losses, largest)
            case Remember(initial=initial):
                radius = next_radius(self._radius[name], self._bracket[name][1], losses, initial)
                memory = dict(self._state.get(radii_of(name), {}))
                memory.update(zip(batch.examples.tolist(), torch.unbind(radius), strict=True))
                self._state[radii_of(name)] = memory
        moved = z is not self._points.get(name)
        self._points[name] = z
        return moved
