"""Tables as TOML text: one layout, comments where they are asked for."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from atentdsl.source import KeyPath
from atentdsl.source.display import visible

Note = Callable[[KeyPath], str]
Inline = Callable[[KeyPath], bool]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(tables: Mapping[str, Any], note: Note = lambda path: "", inline: Inline = lambda path: False) -> str:
    r"""The tables as a TOML document: numbers and words of a table first, then the tables inside it.

    Args:
        tables: dicts, lists, strings, numbers, truth values and dates without a time zone.
        note: a comment for the value or table at a path.
        inline: whether the table at a path stands in braces.

    >>> sampler = {"moves": 3, "kernel": {"noise": 1e-3}}
    >>> print(toml_text({"schema": 1, "sampler": [sampler]}, lambda path: "here" if "moves" in path else ""))
    schema = 1
    <BLANKLINE>
    [[sampler]]
    moves = 3 # here
    <BLANKLINE>
    [sampler.kernel]
    noise = 0.001
    <BLANKLINE>
    """
    return "\n".join([*_table(tables, (), note, inline), ""])


def value_text(value: Any) -> str:
    r"""One value as TOML on one line.

    >>> value_text({"kind": "cosine", "at": [1, 2.0], "name": 'a"\n'})
    '{ kind = "cosine", at = [1, 2.0], name = "a\\"\\n" }'

    Raises:
        TypeError: TOML has no word for it.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)  # inf and nan are TOML's words too
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(value_text, value))}]"
        case Mapping():
            pairs = ", ".join(f"{key_text(key)} = {value_text(child)}" for key, child in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
    raise TypeError(f"TOML has no {type(value).__name__}")


def key_text(key: str) -> str:
    """A key, in quotes where it needs them."""
    return key if _BARE.fullmatch(key) else value_text(key)


def _table(entries: Mapping[str, Any], path: KeyPath, note: Note, inline: Inline) -> Iterator[str]:
    own = {key: child for key, child in entries.items() if not _has_header(child, (*path, key), inline)}
    for key, child in own.items():
        yield f"{key_text(key)} = {value_text(child)}{_comment(note((*path, key)))}"
    for key, child in entries.items():
        place: KeyPath = (*path, key)
        if key in own:
            continue
        dotted = ".".join(key_text(part) for part in place if isinstance(part, str))
        if isinstance(child, Mapping):
            yield from _headed(f"[{dotted}]", child, place, note(place), note, inline)
            continue
        for i, element in enumerate(child):
            said = "; ".join(filter(None, [note(place) if i == 0 else "", note((*place, i))]))
            yield from _headed(f"[[{dotted}]]", element, (*place, i), said, note, inline)


def _headed(
    header: str, entries: Mapping[str, Any], path: KeyPath, said: str, note: Note, inline: Inline
) -> Iterator[str]:
    yield ""
    yield header + _comment(said)
    yield from _table(entries, path, note, inline)


def _has_header(value: Any, path: KeyPath, inline: Inline) -> bool:
    if isinstance(value, Mapping):
        return not inline(path)
    return isinstance(value, list) and bool(value) and all(isinstance(element, Mapping) for element in value)


def _comment(text: str) -> str:
    return f" # {visible(text)}" if text else ""
