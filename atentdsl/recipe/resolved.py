"""The recipe as one TOML text that stands alone: what `extends` and overrides gave, and what they put aside."""

from __future__ import annotations

from typing import Any

from atentdsl.recipe.merging import Written
from atentdsl.recipe.toml_text import toml_text, value_text
from atentdsl.source import KeyPath

LONGEST = 160
"""Characters of a replaced value that are shown."""


def resolved_text(whole: Written) -> str:
    """The recipe with every layer worked in; a value from another layer says in a comment where it comes from.

    A replaced value or table is commented with what it replaced and where that stood. A table in braces stays in them
    where all of it comes from one layer.
    """
    home = whole.document.name
    extends = whole.walk_to(("recipe", "extends"))
    tables = whole.plain()
    tables["recipe"].pop("extends", None)
    ordered = {"schema": tables.pop("schema"), **tables}

    def note(path: KeyPath) -> str:
        said = "" if path == ("schema",) else _note(whole.walk_to(path), path, home)
        if path == ("recipe",) and isinstance(extends.value, str):
            said = "; ".join(filter(None, [f"extends {extends.value}, worked in here", said]))
        return said

    return toml_text(ordered, note, lambda path: _inline(whole.walk_to(path)))


def _inline(table: Written) -> bool:
    """Whether a table was written in braces, and nothing inside it elsewhere."""
    layers = {child.document.name for _, child in table.walk()}
    untouched = not any(child.replaced for path, child in table.walk() if path)
    return len(layers) == 1 and untouched and table.source().startswith("{")


def _note(found: Written, path: KeyPath, home: str) -> str:
    """Where a value that was not written in the recipe itself comes from, and what it stands in place of."""
    if not found.replaced and _headed(found, path):
        return ""  # what stands inside says it
    said = [_layer(found, home)]
    for i, child in enumerate(found.value if isinstance(found.value, list) else []):
        if child.document is not found.document or child.replaced:
            said.append(f"[{i}] {_layer(child, home)}")
    return "; ".join(filter(None, said))


def _layer(found: Written, home: str) -> str:
    source = "" if found.document.name == home else _place(found)
    if not found.replaced:
        return f"from {source}" if source else ""
    before = ", then ".join(f"{_shown(old.plain())} ({_place(old)})" for old in found.replaced)
    return f"{source or 'here'}; overrides {before}"


def _headed(found: Written, path: KeyPath) -> bool:
    if isinstance(found.value, dict):
        return isinstance(path[-1], int) or not _inline(found)
    return (
        isinstance(found.value, list)
        and bool(found.value)
        and all(isinstance(child.value, dict) for child in found.value)
    )


def _shown(value: Any) -> str:
    text = value_text(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _place(found: Written) -> str:
    name = found.document.name
    return "--set" if name.startswith("--set ") else f"{name}:{found.at().line}"
