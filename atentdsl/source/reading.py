"""From a file, or any text, to a `Document`: whatever the bytes are, a document or a `RecipeError`."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import tomli

from atentdsl.source.diagnostic import Diagnostic, RecipeError
from atentdsl.source.document import Document
from atentdsl.source.span import KeyPath, Lines, Span
from atentdsl.source.syntax import syntax_diagnostic
from atentdsl.source.tokens import DEEPEST, tokenize, too_deep

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

LONGEST_FILE = 1 << 20
"""Bytes a recipe may have: 1 MiB."""

_BOM = b"\xef\xbb\xbf"
_INTEGERS = range(-(1 << 63), 1 << 63)
_LISTED = 8


def read(path: pathlib.Path, name: str | None = None) -> Document:
    """Read a recipe's file. `name` is what diagnostics call it, by default the path as given.

    Only regular files are read, so that no pipe or device can hold the program up, and no more than `LONGEST_FILE`.

    Raises:
        RecipeError: not-found, is-directory, not-a-file, unreadable, file-too-large, not-utf8, and what `parse` raises.
    """
    name = os.fspath(path) if name is None else name
    try:
        content = _content(path, name)
    except FileNotFoundError:
        raise _failure("not-found", f"there is no file `{name}`", _neighbours(path)) from None
    except NotADirectoryError:
        raise _failure("not-found", f"there is no file `{name}`: a part of its path is not a folder") from None
    except ValueError:  # a NUL, or a lone surrogate: no file can be called so
        raise _failure("not-found", f"there is no file `{name}`: a file cannot have such a name") from None
    except OSError as error:  # its own text would name the path: absolute, perhaps
        reason = (error.strerror or type(error).__name__).lower()
        raise _failure("unreadable", f"cannot read `{name}`: {reason}") from None
    content = content.removeprefix(_BOM)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = content.decode("utf-8", "replace")  # up to the first bad byte, the same characters
        at = len(content[: error.start].decode("utf-8"))
        raise _not_utf8(shown, name, at, f"byte 0x{content[error.start]:02x}") from None
    return parse(text, name)


def parse(text: str, name: str) -> Document:
    r"""Parse a recipe's text. `name` is what diagnostics call it. A byte order mark in front is dropped.

    >>> parse("schema = 1", "recipe.toml").data
    {'schema': 1}
    >>> parse("name = wrn", "recipe.toml")
    Traceback (most recent call last):
    atentdsl.source.diagnostic.RecipeError: error[toml-syntax]: not TOML: invalid value
     --> recipe.toml:1:8
      |
    1 | name = wrn
      |        ^^^
      |
    help: a string needs quotes: `"wrn"`
    <BLANKLINE>
    1 error

    Raises:
        RecipeError: file-too-large, not-utf8 (a lone surrogate), empty, too-deep, integer-too-long (outside 64 bits),
            toml-syntax.
    """
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise _not_utf8(text, name, error.start, f"surrogate U+{ord(text[error.start]):04X}") from None
    if size > LONGEST_FILE:
        raise _too_large(name)
    text = text.removeprefix("\ufeff")
    lines = Lines(text)
    sources = {name: text}
    if all(token.kind in ("newline", "end") for token in tokenize(text)):
        mend = "a recipe begins with `schema = 1`"
        raise RecipeError([Diagnostic("empty", f"`{name}` is empty", Span(name, 1, 1), help=mend)], sources)
    deep = too_deep(text)  # before tomli, which recurses
    if deep:
        raise RecipeError([_deep(lines.span(name, deep.start, deep.end))], sources)
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise RecipeError([syntax_diagnostic(error, text, name)], sources) from None
    except RecursionError:  # the caller's own stack was nearly full
        raise RecipeError([_deep(Span(name, 1, 1))], sources) from None
    except ValueError:  # Python refuses to convert integers of thousands of digits
        raise RecipeError([_long(span) for span in _long_digits(text, lines, name)], sources) from None
    document = Document(name, text, data)
    mistakes = list(_beyond_limits(document))
    if mistakes:
        raise RecipeError(mistakes, sources)
    return document


def _content(path: pathlib.Path, name: str) -> bytes:
    _refuse_special(os.stat(path), path, name)
    # The file may have been exchanged since: opened without blocking, and looked at again.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        _refuse_special(os.fstat(descriptor), path, name)
        content = file.read(LONGEST_FILE + 1)
    if len(content) > LONGEST_FILE:
        raise _too_large(name)
    return content


def _refuse_special(status: os.stat_result, path: pathlib.Path, name: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _failure("is-directory", f"`{name}` is a folder", _recipes_in(path))
    if not stat.S_ISREG(status.st_mode):
        raise _failure("not-a-file", f"`{name}` is not a regular file", "recipes are read from files only")
    if status.st_size > LONGEST_FILE:
        raise _too_large(name)


def _failure(code: str, message: str, mend: str | None = None) -> RecipeError:
    return RecipeError([Diagnostic(code, message, help=mend)], {})


def _too_large(name: str) -> RecipeError:
    return _failure("file-too-large", f"`{name}` is larger than 1 MiB", "a recipe has some kilobytes: is this one?")


def _not_utf8(text: str, name: str, at: int, found: str) -> RecipeError:
    span = Lines(text).span(name, at, at + 1)
    mistake = Diagnostic("not-utf8", f"`{name}` is not UTF-8", span, found, help="save the file as UTF-8")
    return RecipeError([mistake], {name: text})


def _deep(span: Span) -> Diagnostic:
    return Diagnostic("too-deep", f"tables and arrays nest deeper than {DEEPEST} levels", span)


def _long(span: Span) -> Diagnostic:
    limits = "integers lie between -2**63 and 2**63 - 1"
    return Diagnostic("integer-too-long", "an integer does not fit into 64 bits", span, help=limits)


def _long_digits(text: str, lines: Lines, name: str) -> Iterator[Span]:
    """Find the integers that Python refuses to convert; the text's start if there is no telling."""
    longest = sys.get_int_max_str_digits()
    spans = [
        lines.span(name, token.start, token.end)
        for token in tokenize(text)
        if token.kind == "bare" and len(token.text) > longest and token.text.strip("+-").replace("_", "").isdecimal()
    ]
    yield from spans or [Span(name, 1, 1)]


def _beyond_limits(document: Document) -> Iterator[Diagnostic]:
    """Find integers outside 64 bits and paths beyond `DEEPEST`, without recursion."""
    ahead: list[tuple[KeyPath, Any]] = [((), document.data)]
    while ahead:
        path, value = ahead.pop()
        if len(path) > DEEPEST:
            yield _deep(document.key(path))
        elif isinstance(value, dict):
            ahead += [((*path, key), below) for key, below in reversed(value.items())]
        elif isinstance(value, list):
            ahead += [((*path, index), value[index]) for index in reversed(range(len(value)))]
        elif isinstance(value, int) and value not in _INTEGERS:
            yield _long(document.value(path))


def _names(folder: pathlib.Path) -> list[str]:
    """List the recipes in a folder by name; none where it cannot be listed."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".toml"))
    except (OSError, ValueError):
        return []


def _recipes_in(folder: pathlib.Path) -> str:
    names = _names(folder)
    if not names:
        return "there is no .toml file in it"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"name a file in it: {', '.join(names[:_LISTED])}{more}"


def _neighbours(path: pathlib.Path) -> str | None:
    """Offer the file names close to one that does not exist; names only, as the folder may not be the user's."""
    import difflib

    names = _names(path.parent)
    by_lower = {name.lower(): name for name in names}
    wanted = path.name.lower()
    close = difflib.get_close_matches(wanted, by_lower, 3) or difflib.get_close_matches(f"{wanted}.toml", by_lower, 3)
    if not close:
        return None
    return f"did you mean {' or '.join(f'`{by_lower[name]}`' for name in close)}?"
