"""Where something is written: a key path names it, a span is its place in the text."""

from __future__ import annotations

import bisect
import re

import attrs

KeyPath = tuple[str | int, ...]
"""The way from a document's root to a key or an element: `("sampler", 0, "kernel", "noise")`."""


@attrs.frozen
class Span:
    """A stretch of one line.

    `line` and `column` count from 1; `column` and `length` count characters (code points), not bytes and not the
    cells of a terminal. `length` is at least 1, also where nothing is written (the end of a line, an empty file).

    >>> Span("recipe.toml", line=29, column=1, length=5)
    Span(file='recipe.toml', line=29, column=1, length=5)
    """

    file: str
    line: int = attrs.field(validator=attrs.validators.ge(1))
    column: int = attrs.field(validator=attrs.validators.ge(1))
    length: int = attrs.field(default=1, validator=attrs.validators.ge(1))


class Lines:
    r"""The lines of a text, and the way from an offset in the text to a line and a column.

    Only a line feed ends a line, as in TOML; the carriage return before one is not part of the line. (`str.splitlines`
    also splits at form feeds and Unicode's line separators, which would shift every position below them.)

    >>> lines = Lines("a = 1\r\nb = 2")
    >>> lines[1], lines[2], len(lines)
    ('a = 1', 'b = 2', 2)
    >>> lines.span("recipe.toml", 7, 12)
    Span(file='recipe.toml', line=2, column=1, length=5)
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, line: int) -> str:
        """Give the text of a line, counted from 1."""
        if line == len(self._starts):
            return self._text[self._starts[line - 1] :]
        return self._text[self._starts[line - 1] : self._starts[line] - 1].removesuffix("\r")

    def offset(self, line: int, column: int) -> int:
        """Find the offset in the text of a line and a column, both counted from 1."""
        return self._starts[line - 1] + column - 1

    def span(self, file: str, start: int, end: int) -> Span:
        """Make the span of the characters from `start` up to `end`; of several lines, the first."""
        line = bisect.bisect_right(self._starts, start)
        column = start - self._starts[line - 1]
        written = self[line][column : end - self._starts[line - 1]].rstrip()
        return Span(file, line, column + 1, max(1, len(written)))
