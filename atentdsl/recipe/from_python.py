"""A recipe's tables as Python has them, as the TOML text that they mean."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from atentdsl.recipe.toml_text import toml_text
from atentdsl.source import DEEPEST, Diagnostic, Document, KeyPath, RecipeError, parse


def document(tables: Mapping[str, Any], name: str) -> Document:
    r"""The tables as a document, with places to point at.

    Any mapping is a table, any sequence an array, and numbers of numpy and torch are numbers.

    Raises:
        RecipeError: every value that TOML has no word for; what `parse` raises.

    >>> document({"schema": 1, "data": {"batch": 64}}, "dict").text
    'schema = 1\n\n[data]\nbatch = 64\n'
    """
    wrong: list[Diagnostic] = []
    plain = _plain(tables, (), (), wrong)
    if wrong:
        raise RecipeError(wrong, {})
    return parse(toml_text(plain), name)


def _plain(value: Any, path: KeyPath, around: tuple[int, ...], wrong: list[Diagnostic]) -> Any:
    """The value of TOML's own types; what cannot be one is noted. `around` are the identities of what it stands in."""
    if len(path) > DEEPEST or id(value) in around:
        inside = "stands in itself" if id(value) in around else f"nests deeper than {DEEPEST} levels"
        wrong.append(Diagnostic("too-deep", f"{_said(path[:8])} {inside}"))
        return 0
    around = (*around, id(value))
    if hasattr(value, "tolist"):
        value = value.tolist()
    match value:
        case bool() | datetime.datetime(tzinfo=None) | datetime.time(tzinfo=None):
            return value
        case datetime.date() if not isinstance(value, datetime.datetime):
            return value
        case int() if -(2**63) <= value < 2**63:
            return int(value)
        case int():
            limits = "integers lie between -2**63 and 2**63 - 1"
            wrong.append(Diagnostic("integer-too-long", f"{_said(path)} does not fit into 64 bits", help=limits))
        case float():
            return float(value)
        case str():
            return str.__str__(value)
        case os.PathLike():
            return os.fspath(value)
        case Mapping():
            return {key: _plain(child, (*path, key), around, wrong) for key, child in _entries(value, path, wrong)}
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [_plain(child, (*path, i), around, wrong) for i, child in enumerate(value)]
        case None:
            mend = "leave the key out: a recipe has no null"
            wrong.append(Diagnostic("wrong-type", f"{_said(path)} is None", help=mend))
        case _:
            mend = "write a dict, a list, a string, a number or a truth value"
            mend = "write a list, which has an order" if isinstance(value, Set) else mend
            message = f"{_said(path)} is a `{type(value).__name__}`, which TOML has no word for"
            wrong.append(Diagnostic("wrong-type", message, help=mend))
    return 0


def _entries(table: Mapping[Any, Any], path: KeyPath, wrong: list[Diagnostic]) -> Iterator[tuple[str, Any]]:
    for key, child in table.items():
        if isinstance(key, str):
            yield str.__str__(key), child
        else:
            where = f"in {_said(path)}" if path else "of the recipe"
            message = f"a key {where} is no string: {str(key)[:60]!r}"
            wrong.append(Diagnostic("wrong-type", message, help="keys are strings"))


def _said(path: KeyPath) -> str:
    """The path as Python's users write one: `sampler[0].kernel.noise`."""
    return "`" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".") + "`"
