"""The offsets of every key and value of a TOML text.

One walk over the tokens, beside tomli's own: tomli says what a text means, this says where it is written. Tests hold
the two against each other: the paths found here are exactly the paths of the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import tomli

from atentdsl.source.tokens import Token, tokenize

if TYPE_CHECKING:
    from atentdsl.source.span import KeyPath

Extent = tuple[int, int]
"""Offsets in the text: from, up to."""


@attrs.define
class Positions:
    """What `locate` finds. Maps from key paths to extents, and the paths that are tables with a header or braces.

    `repeated` is the extent of a key or header written a second time, and that of its first: tomli refuses such a text,
    and this says where to look.
    """

    keys: dict[KeyPath, Extent] = attrs.field(factory=dict)
    values: dict[KeyPath, Extent] = attrs.field(factory=dict)
    tables: set[KeyPath] = attrs.field(factory=set)
    repeated: tuple[Extent, Extent] | None = None


def locate(text: str) -> Positions:
    """Find every key, element, value and table. A text that tomli refuses gives what can be made of it; none raises.

    >>> locate("a.b = 1").keys
    {('a',): (0, 1), ('a', 'b'): (2, 3)}
    """
    return _Walk(text).positions


class _Walk:
    """One pass over the tokens. Nests as deep as the brackets do, which `too_deep` has limited."""

    def __init__(self, text: str) -> None:
        self.tokens = list(tokenize(text))
        self.at = 0
        self.positions = Positions()
        self.written: set[KeyPath] = set()  # paths with a key or header of their own, not only passed through
        self.elements: dict[KeyPath, int] = {}  # how many `[[…]]` an array of tables has so far
        table: KeyPath = ()
        while not self.finished:
            if self.next.text == "[":
                table = self.header()
            elif not self.pair(table):
                self.at += 1

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    @property
    def finished(self) -> bool:
        return self.next.kind in ("end", "unclosed")

    def take(self, text: str) -> bool:
        """Step over the next token if it reads so."""
        found = self.next.text == text
        self.at += found
        return found

    def pass_through(self, path: KeyPath, extent: Extent) -> None:
        """Note a path that a longer one implies: it stands at its first mention, until it is written itself."""
        self.positions.keys.setdefault(path, extent)
        self.positions.values.setdefault(path, extent)

    def write(self, path: KeyPath, extent: Extent) -> None:
        if path in self.written:
            self.positions.repeated = extent, self.positions.keys[path]
        self.written.add(path)
        self.positions.keys[path] = self.positions.values[path] = extent

    def header(self) -> KeyPath:
        """Read `[a.b]` or `[[a.b]]`, and give the path of the table it opens."""
        start = self.next.start
        self.take("[")
        several = self.next.start == start + 1 and self.take("[")
        parts = self.key()
        self.take("]")
        if several:
            self.take("]")
        extent = start, self.tokens[self.at - 1].end
        path: KeyPath = ()
        for name, part in parts[:-1]:
            path += (name,)
            self.pass_through(path, part)
            if path in self.elements:
                path += (self.elements[path] - 1,)
        path += tuple(name for name, _ in parts[-1:])
        if several:
            self.pass_through(path, extent)
            self.elements[path] = self.elements.get(path, 0) + 1
            path += (self.elements[path] - 1,)
        self.write(path, extent)
        self.positions.tables.add(path)
        return path

    def pair(self, table: KeyPath) -> bool:
        """Read `key = value`; False, and no step taken, where no key begins."""
        parts = self.key()
        if not parts:
            return False
        path = table
        for name, part in parts[:-1]:
            path += (name,)
            self.pass_through(path, part)
        name, part = parts[-1]
        path += (name,)
        self.write(path, part)
        if self.take("="):
            self.positions.values[path] = self.value(path)
        return True

    def key(self) -> list[tuple[str, Extent]]:
        """Read the parts of a dotted key, each with its extent."""
        parts = []
        while self.next.kind in ("bare", "string"):
            parts.append((_unquote(self.next), (self.next.start, self.next.end)))
            self.at += 1
            if not self.take("."):
                break
        return parts

    def value(self, path: KeyPath) -> Extent:
        start = self.next.start
        if self.take("["):
            self.array(path)
        elif self.take("{"):
            self.inline_table(path)
        elif self.next.kind == "string":
            self.at += 1
        else:  # `1.5` is three tokens, and a date and its time may stand apart
            while self.next.kind == "bare" or self.next.text == ".":
                self.at += 1
        return start, max(start, self.tokens[self.at - 1].end)

    def array(self, path: KeyPath) -> None:
        index = 0
        while not self.finished and not self.take("]"):
            before = self.at
            element: KeyPath = (*path, index)
            if self.next.kind != "newline" and self.next.text not in (",", "}", "="):
                extent = self.value(element)
                self.positions.keys[element] = self.positions.values[element] = extent
                index += 1
            if self.at == before:
                self.at += 1

    def inline_table(self, path: KeyPath) -> None:
        self.positions.tables.add(path)
        while not self.finished and not self.take("}"):
            if not self.pair(path):
                self.at += 1


def _unquote(part: Token) -> str:
    if part.kind == "bare":
        return part.text
    try:
        return str(tomli.loads("key = " + part.text)["key"])
    except tomli.TOMLDecodeError:
        return part.text
