"""Text from a file as a terminal may show it: escapes made visible, columns counted in cells, long lines cut."""

from __future__ import annotations

import unicodedata

import attrs

TAB = 4
"""Cells a tab takes in an excerpt."""
WINDOW = 160
"""Characters of a line that are shown."""
LONGEST_MESSAGE = 2000
"""Characters of a message that are shown: a key may be a mebibyte long."""

# Controls (a terminal obeys them), formats (among them the overrides of the writing direction), surrogates, and
# Unicode's own line and paragraph separators.
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def visible(text: str) -> str:
    r"""Put the text on one line, without a character that a terminal would act on.

    >>> visible("a\x1b[31m\n\u202eb")
    'a\\x1b[31m\\n\\u202eb'
    """
    if text.isascii() and text.isprintable() and len(text) <= LONGEST_MESSAGE:
        return text
    if len(text) > LONGEST_MESSAGE:
        text = text[: LONGEST_MESSAGE - 1] + "…"
    return "".join(map(_escaped, text))


@attrs.frozen
class Excerpt:
    """A line as shown, and the cells before and under a span of it."""

    line: str
    before: int
    under: int


def excerpt(line: str, column: int, length: int) -> Excerpt:
    r"""Show `length` characters of a line from `column` (from 1) on, with what stands around them.

    >>> excerpt("\tname = 1", column=2, length=4)
    Excerpt(line='    name = 1', before=4, under=4)
    >>> excerpt("数 = 1", column=1, length=1)
    Excerpt(line='数 = 1', before=0, under=2)
    """
    start = min(column - 1, len(line))
    first = max(0, min(start - WINDOW // 4, len(line) - WINDOW))
    last = min(first + WINDOW, len(line))
    left, right = "…" * (first > 0), "…" * (last < len(line))
    cells = [_shown(character) for character in line[first:last]]
    before = cells[: start - first]
    under = cells[start - first : start - first + length]
    return Excerpt(
        line=left + "".join(cells) + right,
        before=len(left) + sum(map(_width, before)),
        under=max(1, sum(map(_width, under))),
    )


def _shown(character: str) -> str:
    return " " * TAB if character == "\t" else _escaped(character)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _width(shown: str) -> int:
    """Cells of what one character is shown as: East Asian wide ones take two, combining marks none."""
    if shown.isascii():
        return len(shown)
    if unicodedata.category(shown) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(shown) in ("W", "F") else 1
