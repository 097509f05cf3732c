"""Values together with where they were written, and how `extends` and overrides lay one over another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from atentdsl.source import Document, KeyPath, Span
from atentdsl.source.span import Lines


@attrs.frozen
class Written:
    """A value and its place. A table's value is a dict of `Written`, an array's a list of them.

    Attributes:
        replaced: the values that stood here before, oldest first.
    """

    value: Any
    document: Document = attrs.field(repr=False)
    path: KeyPath
    replaced: tuple[Written, ...] = ()

    def key(self) -> Span:
        """Where its key stands; a table's header."""
        return self.document.key(self.path)

    def at(self) -> Span:
        """Where its value stands."""
        return self.document.value(self.path)

    def top(self) -> Span:
        """Of a recipe: the line that begins it, where what is nowhere can be pointed at."""
        schema = self.child("schema")
        own = schema is not None and schema.document is self.document
        return schema.key() if schema is not None and own else Span(self.document.name, 1, 1)

    def source(self) -> str:
        """The value as it is written, of several lines the first; a table's header."""
        span = self.at()
        return Lines(self.document.text)[span.line][span.column - 1 :][: span.length]

    def walk_to(self, path: KeyPath) -> Written:
        """The value at the path, or the nearest one around it that is written."""
        found = self
        for key in path:
            child = found.child(key)
            if child is None:
                break
            found = child
        return found

    def child(self, key: str | int) -> Written | None:
        """The value at the key or index; None where there is none."""
        if isinstance(self.value, dict):
            found: Written | None = self.value.get(key)
            return found
        inside = isinstance(self.value, list) and isinstance(key, int) and key < len(self.value)
        return self.value[key] if inside else None

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def walk(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Written]]:
        """This value and every one inside it, by path."""
        yield path, self
        if isinstance(self.value, dict | list):
            for key, child in self.value.items() if isinstance(self.value, dict) else enumerate(self.value):
                yield from child.walk((*path, key))


def written(document: Document, value: Any = None, path: KeyPath = ()) -> Written:
    """The document's data with its places."""
    value = document.data if not path else value
    if isinstance(value, dict):
        value = {key: written(document, child, (*path, key)) for key, child in value.items()}
    elif isinstance(value, list):
        value = [written(document, child, (*path, i)) for i, child in enumerate(value)]
    return Written(value, document, path)


def sampler_name(sampler: Written) -> Any:
    """The name that samplers merge by: `name`, else the space."""
    for key in ("name", "space"):
        found = sampler.child(key)
        if found is not None:
            return found.value
    return "data"


def changed_by_name(whole: Written, i: int) -> tuple[tuple[Span, str], str] | None:
    """Of a sampler without a name that a layer adds: where the last one of a base is, and how to change that one."""
    sampler = whole.walk_to(("sampler", i))
    before = whole.walk_to(("sampler", i - 1)) if i else sampler
    name = before.child("name")
    if sampler.child("name") is not None or name is None or before.key().file == sampler.key().file:
        return None
    mend = f"to change the sampler of {before.key().file}, write `name = {name.source()}`"
    return (before.key(), "the one before it"), mend


def merge(base: Written, over: Written, path: KeyPath = ()) -> Written:
    """`over` laid over `base`: tables merge, samplers merge by name, everything else is replaced.

    A table that names another `kind` is another part, and replaces the whole table. What says the same as before stays
    the older value's.
    """
    if path == ("sampler",) and isinstance(base.value, list) and isinstance(over.value, list):
        return _merge_samplers(base, over)
    if isinstance(base.value, dict) and isinstance(over.value, dict) and not _other_kind(base, over):
        merged = dict(base.value)
        for key, child in over.value.items():
            merged[key] = merge(merged[key], child, (*path, key)) if key in merged else child
        return attrs.evolve(over, value=merged, replaced=base.replaced)
    if repr(base.plain()) == repr(over.plain()):  # not `==`, to which true is 1 and 1 is 1.0
        return base
    return attrs.evolve(over, replaced=(*base.replaced, attrs.evolve(base, replaced=())))


def _other_kind(base: Written, over: Written) -> bool:
    before, after = base.child("kind"), over.child("kind")
    return before is not None and after is not None and before.plain() != after.plain()


def _merge_samplers(base: Written, over: Written) -> Written:
    merged = list(base.value)
    names = [sampler_name(sampler) for sampler in merged]
    for sampler in over.value:
        name = sampler_name(sampler)
        if name in names:
            i = names.index(name)
            merged[i] = merge(merged[i], sampler, ("sampler", i))
        else:
            merged.append(sampler)
    return attrs.evolve(over, value=merged, replaced=base.replaced)
