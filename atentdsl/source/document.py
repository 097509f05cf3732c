"""A TOML text that has been parsed, and where everything in it is written."""

from __future__ import annotations

import functools
from typing import Any

import attrs

from atentdsl.source.positions import Extent, Positions, locate
from atentdsl.source.span import KeyPath, Lines, Span


@attrs.frozen
class Document:
    r"""A TOML text that tomli accepts. Made by `read` and `parse`.

    `name` is the file as it is shown to the user; `data` the plain dictionary. Positions are computed when first asked
    for: a recipe without mistakes never pays for them.

    >>> from atentdsl.source import parse
    >>> document = parse("[a]\nb = { c = 1 }", "recipe.toml")
    >>> document.key(("a", "b", "c"))
    Span(file='recipe.toml', line=2, column=7, length=1)
    """

    name: str
    text: str = attrs.field(repr=False)
    data: dict[str, Any] = attrs.field(eq=False, repr=False)

    def key(self, path: KeyPath) -> Span:
        """Find where the key is written; of a table its header, of an array's element the element itself.

        In a dotted key each part has its own place: `("a", "b")` in `a.b = 1` is the `b`. A table that is only implied
        (`a` in `[a.b]`) is where it is first named. A path that is not in the document falls back to its nearest
        ancestor, in the end to the first character of the text.
        """
        return self._nearest(self._positions.keys, path)

    def value(self, path: KeyPath) -> Span:
        """Find where the value is written, of several lines the first; of a table its header. Falls back like `key`."""
        return self._nearest(self._positions.values, path)

    def table(self, path: KeyPath) -> Span | None:
        """Find the head of the innermost written table that the path lies in; None for top-level keys.

        The path itself is not counted. A table's head is its header, `[sampler.kernel]` or `[[sampler]]`; that of an
        inline table is its key.
        """
        for end in range(len(path) - 1, 0, -1):
            if path[:end] in self._positions.tables:
                return self.key(path[:end])
        return None

    def has(self, path: KeyPath) -> bool:
        """Tell whether the path leads to something. The empty path does.

        >>> from atentdsl.source import parse
        >>> document = parse("a = [1, 2]", "recipe.toml")
        >>> document.has(("a", 1)), document.has(("a", 2))
        (True, False)
        """
        here: Any = self.data
        for step in path:
            if isinstance(step, str):
                found = isinstance(here, dict) and step in here
            else:
                found = isinstance(here, list) and 0 <= step < len(here)
            if not found:
                return False
            here = here[step]
        return True

    def _nearest(self, places: dict[KeyPath, Extent], path: KeyPath) -> Span:
        for end in range(len(path), 0, -1):
            if path[:end] in places:
                return self._lines.span(self.name, *places[path[:end]])
        return Span(self.name, 1, 1, 1)

    @functools.cached_property
    def _positions(self) -> Positions:
        return locate(self.text)

    @functools.cached_property
    def _lines(self) -> Lines:
        return Lines(self.text)
