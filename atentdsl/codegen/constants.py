"""Names and values of a generated module's constants, each with the recipe's line it comes from."""

from __future__ import annotations

from typing import Any

import attrs

from atentdsl.codegen.literals import assignment


@attrs.define
class Constants:
    """A module's constants in the order they were asked for; one value has one name."""

    _known: dict[str, tuple[Any, str]] = attrs.field(factory=dict)

    def name(self, wanted: str, value: Any, comment: str = "") -> str:
        """The name that stands for the value: `wanted`, or with a number where that is another value's."""
        number = 1
        while True:
            name = wanted if number == 1 else f"{wanted}_{number}"
            if name not in self._known:
                self._known[name] = (value, comment)
                return name
            if self._known[name][0] == value and type(self._known[name][0]) is type(value):
                return name
            number += 1

    def lines(self) -> list[str]:
        """The assignments."""
        return [assignment(name, value, comment) for name, (value, comment) in self._known.items()]
