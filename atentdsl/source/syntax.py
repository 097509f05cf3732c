"""Why a text is not TOML: tomli's message, the place it means, and the mend of the usual mistakes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atentdsl.source.diagnostic import Diagnostic
from atentdsl.source.positions import locate
from atentdsl.source.span import Lines
from atentdsl.source.tokens import unclosed

if TYPE_CHECKING:
    import tomli

    from atentdsl.source.span import Span

CODE = "toml-syntax"

_VALUE, _STATEMENT, _AFTER, _EQUALS = "Invalid value", "Invalid statement", "Expected newline", "Expected '='"
_BACKSLASH = """in "…" a backslash begins an escape; in '…' it stands for itself"""
_QUOTE = "close the string on the line it begins on, or write it between three quotes"
_KEY = 'a key of other characters than A-Z a-z 0-9 _ - needs quotes: `"a key" = 1`'

# How tomli's message begins, what stands at its place, and the mend. The first that fits is taken; `{found}` is the
# group of the same name.
_MENDS = (
    (_VALUE, r"(#.*)?$", "a value must follow"),
    (_VALUE, r"(?i:true|yes|on)\b", "TOML's booleans are `true` and `false`: write `true`"),
    (_VALUE, r"(?i:false|no|off)\b", "TOML's booleans are `true` and `false`: write `false`"),
    (_VALUE, r"(?i:none|null|nil)\b", "TOML has no null: leave the key out"),
    (_VALUE, r"[+-]?(?i:inf|infinity)\b", "TOML's infinity is `inf` or `-inf`"),
    (_VALUE, r"(?i:nan)\b", "TOML's not-a-number is `nan`"),
    (_VALUE, r"[“”„‘’]", "strings stand between straight quotes"),
    (_VALUE, r"(?P<found>\.\d[\w+-]*)", "a number needs a digit before its point: `0{found}`"),
    (_VALUE, r"[−–—]", "write the minus as `-`"),
    (_VALUE, r"=", "one `=` is enough"),
    (_VALUE, r"""(?P<found>[^\W\d][^\s,\[\]{}#"'\\]*)""", 'a string needs quotes: `"{found}"`'),
    (_AFTER, r"\.(?!\d)", "a number needs a digit after its point, as in `1.0`"),
    (_AFTER, r"//|;|--", "a comment begins with `#`"),
    (_AFTER, r"\r", "lines end in a line feed, or a carriage return and a line feed"),
    (_AFTER, r",", "no comma between the lines of a table"),
    (_AFTER, r"[*/^]", "TOML does not compute: write the number itself"),
    (_AFTER, r"%", "write a share as a number, as in `0.05`"),
    (_AFTER, r"""[\w."'-]+\s*=""", "one key to a line"),
    (_AFTER, r"[^\W\d]", "a string needs quotes"),
    (_AFTER, r"\d", "a number begins with no zero"),
    (_EQUALS, r":", "write `key = value`"),
    (_EQUALS, r"(#.*)?$", "a key needs a value, `key = value`; a table's name stands in brackets, `[table]`"),
    (_EQUALS, r"", _KEY),
    (_STATEMENT, r"[^\W\d_]", _KEY),
    ("Unescaped", r"", _BACKSLASH),
    ("Invalid hex value", r"", _BACKSLASH),
    ("Unterminated string", r"", _QUOTE),
    ('Expected "', r"", _QUOTE),
    ("Expected ']", r"", "a header ends with its bracket: `[table]`, `[[array.of.tables]]`"),
    ("Unclosed array", r"", "`,` between the elements, `]` after the last"),
    ("Unclosed inline table", r"", "`,` between the pairs, `}` after the last"),
)
_TWICE = ("Cannot overwrite", "Cannot declare", "Duplicate inline table key")
_ILLEGAL = ("Illegal character", "Found invalid character")
_OPEN = ("Unclosed", "Unterminated", 'Expected "')
_PAIR = re.compile(r"""[\w."'-]+\s*=""")
_QUOTIENT = re.compile(r"(\d{1,12})\s*/\s*(\d{1,12})\b")


def syntax_diagnostic(error: tomli.TOMLDecodeError, text: str, name: str) -> Diagnostic:
    """Explain why tomli refused a text, at its first mistake."""
    lines = Lines(text)
    line, start = lines[error.lineno], error.colno - 1
    at = lines.offset(error.lineno, error.colno)
    if error.msg.startswith(_TWICE):
        # tomli stops after the second value, or before the end of the second header; the mistake is the second key
        brackets = re.compile(r"\]*").match(text, at)
        repeated = locate(text[: brackets.end() if brackets else at]).repeated
        if repeated:
            second, first = repeated
            context = lines.span(name, *first), "first written here"
            return Diagnostic(
                CODE, f"`{text[slice(*second)]}` is written twice", lines.span(name, *second), "", context
            )
    reason = _reason(error.msg, text[:at], line, start)
    word = re.compile(r"""[^\s,\[\]{}#"']+""").match(line, start) if reason == _VALUE else None
    return Diagnostic(
        CODE,
        f"not TOML: {reason[:1].lower()}{reason[1:]}",
        lines.span(name, at, at + (len(word.group()) if word else 1)),
        context=_opener(reason, text[:at], lines, name),
        help=_mend(reason, line, start),
    )


def _reason(message: str, before: str, line: str, start: int) -> str:
    """Say what tomli means, where that is not what it says."""
    if message.startswith(_ILLEGAL) and start >= len(line):
        return "Unterminated string"
    if message == _VALUE and _PAIR.match(line, start):
        # a new pair, or the array of an earlier line going on?
        token = unclosed(before)
        if token and token.text == "[" and "\n" in before[token.start :]:
            return "Unclosed array"
    return message


def _opener(reason: str, text: str, lines: Lines, name: str) -> tuple[Span, str] | None:
    """Find where that was opened which never ends."""
    token = unclosed(text) if reason.startswith(_OPEN) else None
    return (lines.span(name, token.start, token.end), "opened here") if token else None


def _mend(reason: str, line: str, start: int) -> str | None:
    for begins, pattern, mend in _MENDS:
        found = re.compile(pattern).match(line, start)
        if not found or not reason.startswith(begins):
            continue
        for quotient in _QUOTIENT.finditer(line):  # radius = 8/255
            if quotient.start() < start < quotient.end() and int(quotient[2]):
                return f"TOML does not compute: write `{int(quotient[1]) / int(quotient[2])!r}`"
        return mend.replace("{found}", found.groupdict().get("found", ""))
    return None
