"""The recipe as one TOML text that stands alone: what `extends` and overrides gave, and what they put aside."""

from __future__ import annotations

from typing import Any

import tomlkit

from atentdsl.recipe.merging import Written


def resolved_text(whole: Written) -> str:
    """The recipe with every layer worked in; a value from another layer says in a comment where it comes from.

    A replaced value is commented with what it replaced and where that stood.
    """
    document = tomlkit.document()
    home = whole.document.name
    for key, child in whole.value.items():
        if key == "schema":
            document.add("schema", child.value)
    for key, child in whole.value.items():
        if key != "schema":
            _add(document, key, child, home, top=True)
    return tomlkit.dumps(document)


def _add(container: Any, key: str, child: Written, home: str, top: bool = False) -> None:
    if top and key == "recipe" and isinstance(child.value, dict) and "extends" in child.value:
        kept = {name: value for name, value in child.value.items() if name != "extends"}
        table = _table(kept, home)
        table.comment(f"extends {child.value['extends'].value}, worked in here")
        container.add(key, table)
        return
    if isinstance(child.value, dict) and not _inline(child):
        container.add(key, _table(child.value, home))
    elif isinstance(child.value, list) and child.value and all(isinstance(c.value, dict) for c in child.value):
        array = tomlkit.aot()
        for element in child.value:
            array.append(_table(element.value, home))
        container.add(key, array)
    else:
        item = tomlkit.item(_plain(child))
        note = _note(child, home)
        if note:
            item.comment(note)
        container.add(key, item)


def _table(entries: dict[str, Written], home: str) -> Any:
    table = tomlkit.table()
    simple = {k: c for k, c in entries.items() if not _is_table(c)}
    for key, child in {**simple, **entries}.items():  # TOML wants a table's own keys before its sub-tables
        _add(table, key, child, home)
    return table


def _is_table(child: Written) -> bool:
    if isinstance(child.value, dict):
        return not _inline(child)
    return isinstance(child.value, list) and bool(child.value) and all(isinstance(c.value, dict) for c in child.value)


def _inline(child: Written) -> bool:
    """A table inside a sampler's or optimizer's table that was written in braces stays so."""
    return isinstance(child.value, dict) and bool(child.path) and child.path[-1] in {"coupling", "lr"}


def _plain(child: Written) -> Any:
    value = child.plain()
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update(value)
        return table
    return value


def _note(child: Written, home: str) -> str:
    """Where a value that was not written in the recipe itself comes from, and what it stands in place of."""
    origin = child.document.name
    source = "" if origin == home else ("--set" if origin.startswith("--set ") else f"{origin}:{child.at().line}")
    before = [
        f"{tomlkit.item(_plain(old)).as_string()} ({old.document.name.split(' ')[0]}"
        + ("" if old.document.name.startswith("--set ") else f":{old.at().line}")
        + ")"
        for old in child.replaced
    ]
    if before:
        return f"{source or 'here'}; overrides {', then '.join(before)}"
    return f"from {source}" if source else ""
