"""TOML's tokens with their offsets, and the limit on nesting.

A TOML parser gives values without positions. This tokenizer finds the positions again; it does not judge: whether a
text is valid is tomli's to say. On a text that tomli accepts it is exact. On any other it is exact up to the first
string that never ends, and stops there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST = 64
"""Levels that tables and arrays may nest. A recipe needs six; a parser that recurses fails at some hundreds."""

# Possessive loops (`*+`, `++`) keep every string linear in its length. A `"""` that is never closed must not be read
# as an empty string and a quote: that is what the look-ahead after the single quote is for.
_TOKEN = re.compile(
    r"""
      (?P<blank>   [ \t\r]++ | \#[^\n]*+ )
    | (?P<newline> \n )
    | (?P<string>  \"{3} (?: [^"\\]++ | \\. | "{1,2}(?!") )*+ "{3,5}
                 | '{3} (?: [^']++ | '{1,2}(?!') )*+ '{3,5}
                 | " (?!"") (?: [^"\\\n]++ | \\[^\n] )*+ "
                 | ' (?!'') [^'\n]*+ ' )
    | (?P<mark>    [\[\]{}=,.] )
    | (?P<unclosed> \"{3} | '{3} | ["'] )
    | (?P<bare>    [^ \t\r\n\[\]{}=,.\#"']++ )
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of the text: `kind` is newline, string, mark (one of `[]{}=,.`), bare, unclosed or end."""

    kind: str
    text: str
    start: int
    end: int


def tokenize(text: str) -> Iterator[Token]:
    """Split a text into tokens, without blanks and comments.

    The last is `unclosed`, a string that never ends, or `end`.

    >>> [token.text for token in tokenize('[a."b.c"]  # d')]
    ['[', 'a', '.', '"b.c"', ']', '']
    """
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "blank":
            continue
        yield Token(kind, match.group(), match.start(), match.end())
        if kind == "unclosed":
            return
    yield Token("end", "", len(text), len(text))


def too_deep(text: str) -> Token | None:
    """Find the token at which brackets nest, or a dotted key has parts, beyond `DEEPEST`; None where none does.

    >>> too_deep("a = [[1, 2], [3]]") is None
    True
    >>> too_deep("a = " + 100 * "[").start == len("a = ") + DEEPEST
    True
    """
    if text.count("[") + text.count("{") <= DEEPEST and text.count(".") < DEEPEST:
        return None  # as of most recipes: there are not enough of them, wherever they stand
    brackets = dots = 0
    for token in tokenize(text):
        if token.text in ("[", "{"):
            brackets += 1
        elif token.text in ("]", "}"):
            brackets -= 1
        elif token.text == ".":
            dots += 1
        if token.kind not in ("bare", "string") and token.text != ".":
            dots = 0
        if brackets > DEEPEST or dots >= DEEPEST:
            return token
    return None


def unclosed(text: str) -> Token | None:
    """Find the innermost bracket or string of a text that is still open at its end; None where all are closed.

    >>> unclosed("a = [1, {b = 2}, ").text
    '['
    """
    openers: list[Token] = []
    for token in tokenize(text):
        if token.text in ("[", "{"):
            openers.append(token)
        elif token.text in ("]", "}") and openers:
            openers.pop()
        elif token.kind == "unclosed":
            return token
    return openers[-1] if openers else None
