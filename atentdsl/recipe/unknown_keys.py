"""What is said of a key that its table does not take: what was meant, or where it belongs."""

from __future__ import annotations

import difflib

from atentdsl.primitives import registry
from atentdsl.recipe.grammar import TABLES, Place, Table, header, homes, shape_of, singular
from atentdsl.recipe.merging import Written
from atentdsl.source import Diagnostic, Span, suggest


def unknown_table(whole: Written, key: str) -> tuple[Diagnostic, str | None]:
    """`unknown-key` at the top of the recipe; and the table that was meant, where there is telling."""
    found = whole.value[key]
    accepted = ["schema", *TABLES]
    near = suggest(key, accepted)
    if homes(key) and (near is None or not isinstance(found.value, dict | list)):
        near, mend = None, f"`{key}` is a key of `{homes(key)[0]}`.  "
    else:
        mend = f"did you mean `{near}`?  " if near else ""
    label = "not a table of a recipe"
    help_ = f"{mend}accepted: {', '.join(accepted)}"
    return Diagnostic("unknown-key", f"unknown key `{key}`", found.key(), label, help=help_), near


def unknown_key(whole: Written, place: Place) -> tuple[Diagnostic, frozenset[str]]:
    """`unknown-key` inside a table; and the keys that need not be called missing, since this one explains it."""
    table, key = place.table, str(place.path[-1])
    assert table is not None, "a key that a table refuses stands in a table"
    found, inside = whole.walk_to(place.path), whole.walk_to(place.path[:-1])
    mend, meant = _mend(table, key, inside)
    thing = f"`{table.kind}`" if table.slot else table.name
    help_ = mend + (f"accepted: {', '.join(table.fields)}" if table.fields else f"{table.name} has no parameters")
    message = f"unknown key `{key}` in {table.name}"
    label = f"not a {'parameter' if table.slot else 'key'} of {thing}"
    return Diagnostic("unknown-key", message, found.key(), label, _context(table, found, inside), help_), meant


def _mend(table: Table, key: str, inside: Written) -> tuple[str, frozenset[str]]:
    """What to do instead, and the missing keys that this explains."""
    others = table.kinds_with(key)
    if others and inside.child("kind") is None:
        choice = " or ".join(f'`kind = "{kind}"`' for kind in others)
        return f"`{key}` asks for {choice}.  ", frozenset(table.fields)
    if others:
        return f"`{key}` is a parameter of {' and '.join(f'`{kind}`' for kind in others)}.  ", frozenset()
    if key == "schema":
        return "`schema` stands at the top, before the first table.  ", frozenset()
    if key in TABLES:
        head = header((key, 0) if shape_of(TABLES[key]).element else (key,))
        return f"`{key}` is a table of its own: write `{head}`.  ", frozenset()
    near = suggest(key, [*table.fields, *(["kind"] if table.slot else [])])
    mend = f"did you mean `{near}`?  " if near else ""
    if homes(key) and (near is None or near in difflib.get_close_matches(key, table.fields)):
        mend += f"`{key}` is a key of `{homes(key)[0]}`.  "  # close spelling is a guess; another library's word is none
    return mend, frozenset({near} if near else ())


def _context(table: Table, found: Written, inside: Written) -> tuple[Span, str] | None:
    """What makes the table the one it is: its kind, where another layer chose it; else its header."""
    if table.slot is None:
        return None
    a = "an" if table.kind[0] in "aeio" else "a"
    what = f"{a} `{table.kind}` {singular(table.slot.family)}"
    kind = inside.child("kind")
    if kind is not None and kind.document is not found.document:
        return kind.at(), f"this makes it {what}"
    path = found.path[:-1]
    head = found.document.table(found.path)
    if head is None or head != found.document.key(path):
        return None
    assumed = kind is None and len(registry.kinds(table.slot.family)) > 1
    return head, f"without a `kind` this table is {what}" if assumed else f"this table is {what}"
