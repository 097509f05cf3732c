"""What a step's variables are called."""

from __future__ import annotations

from atentdsl.plan.margins import Within
from atentdsl.plan.operations import Space, Start, X
from atentdsl.plan.program import Plan

POINT: dict[Space, str] = {"data": "z", "weights": "moved"}
ANCHOR = "w"  # and no word of these is another's beginning before an underscore, so that no two names meet


class Names:
    """The variables of a step: short where one sampler has its space to itself, else with the sampler's name."""

    def __init__(self, plan: Plan) -> None:
        spaces: dict[str, Space] = {o.sampler: o.space for o in plan.flat() if isinstance(o, Start | Within)}
        self._spaces = spaces
        self._alone = {name for name, space in spaces.items() if list(spaces.values()).count(space) == 1}

    def of(self, register: str) -> str:
        """The variable of a register: the batch, a sampler's point, its proposal, or its anchor."""
        if register == X:
            return "x"
        name, _, part = register.partition(".")
        words = {"": POINT[self._spaces[name]], "anchor": ANCHOR, "proposal": "proposal"}
        return self.own(words[part], name)

    def own(self, word: str, sampler: str) -> str:
        """A variable that belongs to one sampler."""
        return word if sampler in self._alone else f"{word}_{sampler}"
