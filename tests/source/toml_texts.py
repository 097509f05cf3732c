"""Texts to test with: a whole recipe, and TOML whose writer knows where it put everything."""

from __future__ import annotations

import datetime
from typing import Any

import attrs
from hypothesis import strategies as st

RECIPE = """\
#:schema ../recipe.schema.json
schema = 1
[recipe]
name = "cifar10_atent_linf"
extends = "base.toml"         # optional; tables merge, samplers merge by name
seed = 1
[data]
name = "cifar10"
augment = ["crop4", "flip"]
[[sampler]]
name = "attack"
space = "data"
moves = 10
[sampler.target]
loss = "cross_entropy"
coupling = { kind = "l2", gamma = 5e-4, per = "move" }
[sampler.start]
kind = "corner"
radius = 0.031
projected = false
[sampler.kernel]
kind = "langevin"
step_size = 0.007
noise = 1e-3
[[sampler.projection]]
kind = "linf_ball"
radius = 0.031
when = "last"
[[sampler.projection]]
kind = "box"
[[sampler]]
name = "weights"
[sampler.kernel]
momentum.mu = 0.9
[[sampler.projection]]
kind = "l2_ball"
[optimizer]
kind = "sgd"
lr = { kind = "piecewise", over = "epochs", at = [1, 75], value = [0.1, 0.01] }
note = '''
[not.a.header]
'''
"""

Place = tuple[int, int, int]
"""Line and column, from 1, and length."""

WORDS = st.sampled_from(["a", "kernel", "1", "1e3", "true", "-", "_x-9"])
ODD = st.text(st.sampled_from("aé数😀 .[]{}=,#'\t-"), max_size=4)
STRINGS = st.text(st.sampled_from("aé数😀𝛼\u2028\x85 .[]{}=,#\"'\\\t-"), max_size=6)


@attrs.define
class Written:
    """TOML text as it is written, and the place of each path in it, counted by the writer."""

    text: str = ""
    line: int = 1
    column: int = 1
    newline: str = "\n"
    used: int = 0
    data: dict[str, Any] = attrs.field(factory=dict)
    keys: dict[tuple[str | int, ...], Place] = attrs.field(factory=dict)
    values: dict[tuple[str | int, ...], Place] = attrs.field(factory=dict)
    tables: dict[tuple[str | int, ...], Place] = attrs.field(factory=dict)

    def put(self, piece: str) -> Place:
        """Append a piece and say where its first line stands."""
        place = self.line, self.column, len(piece.split("\n")[0].rstrip())
        self.text += piece
        for character in piece:
            self.line, self.column = (self.line + 1, 1) if character == "\n" else (self.line, self.column + 1)
        return place


def escaped(name: str) -> str:
    """A basic string with every character as an escape, another writing of the same key."""
    return '"' + "".join(f"\\U{ord(character):08x}" for character in name) + '"'


class Writer:
    """Draws a document piece by piece. Every key is new, so that the text is valid."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.arrays: list[str] = []  # the arrays of tables at the top
        self.out = Written(newline=draw(st.sampled_from(["\n", "\r\n"])))

    def blank(self) -> None:
        self.out.put(self.draw(st.sampled_from(["", "", " ", "\t", "  "])))

    def end(self) -> None:
        self.blank()
        if self.draw(st.booleans()):
            self.out.put('# é [x] = "{\' """ 数')
        self.out.put(self.out.newline)

    def part(self) -> tuple[str, Place]:
        """One new part of a key: bare, 'literal' or "basic" with an escape."""
        self.out.used += 1
        form = self.draw(st.sampled_from(["bare", "literal", "basic", "escape"]))
        if form == "bare":
            name = f"{self.draw(WORDS)}_{self.out.used}"
            return name, self.out.put(name)
        name = f"{self.draw(ODD)}{self.out.used}"
        if form == "literal":
            name = name.replace("'", "")
            return name, self.out.put(f"'{name}'")
        return name, self.out.put(escaped(name) if form == "escape" else f'"{name}"')

    def dot(self) -> None:
        self.blank()
        self.out.put(".")
        self.blank()

    def pair(self, table: dict[str, Any], path: tuple[str | int, ...], depth: int) -> None:
        for _ in range(self.draw(st.sampled_from([0, 0, 0, 1, 2]))):
            name, place = self.part()
            path = (*path, name)
            self.out.keys[path] = self.out.values[path] = place
            table[name] = table = {}
            self.dot()
        name, place = self.part()
        path = (*path, name)
        self.out.keys[path] = place
        self.blank()
        self.out.put("=")
        self.blank()
        table[name], self.out.values[path] = self.value(path, depth, place)

    def value(self, path: tuple[str | int, ...], depth: int, head: Place | None) -> tuple[Any, Place]:
        kinds = ["number", "basic", "literal", "long", "date", "array", "table"]
        kind = self.draw(st.sampled_from(kinds if depth else kinds[:5]))
        put = self.out.put
        if kind == "number":
            number, piece = self.draw(st.sampled_from([(1, "1"), (-0.5, "-0.5"), (True, "true"), (1e-3, "1e-3")]))
            return number, put(piece)
        if kind == "date":
            return datetime.datetime(1979, 5, 27, 7, 32, 0, 500000), put("1979-05-27 07:32:00.5")
        if kind == "basic":
            content = self.draw(STRINGS)
            return content, put('"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"')
        if kind == "literal":
            content = self.draw(STRINGS).replace("'", "")
            return content, put(f"'{content}'")
        if kind == "long":
            content = self.draw(STRINGS).replace("'", "")
            return f".{content}\n[x]\nk = 1", put(f"'''.{content}{self.out.newline}[x]{self.out.newline}k = 1'''")
        start = self.out.line, self.out.column
        before = len(self.out.text)
        result: Any
        if kind == "array":
            result = []
            put("[")
            for index in range(self.draw(st.integers(0, 3))):
                self.gap()
                element = (*path, index)
                found, place = self.value(element, depth - 1, None)
                result.append(found)
                self.out.keys[element] = self.out.values[element] = place
                self.gap()
                put(",")
            put("]")
        else:
            result = {}
            put("{")
            for index in range(self.draw(st.integers(0, 3))):
                if index:
                    put(",")
                self.blank()
                self.pair(result, path, 0 if index else depth - 1)
            put("}")
        first = self.out.text[before:].split("\n")[0].rstrip()
        place = (*start, len(first))
        if kind == "table":
            self.out.tables[path] = head or place
        return result, place

    def gap(self) -> None:
        self.blank()
        if self.draw(st.booleans()):
            self.end()

    def header(self) -> None:
        """`[…]` or `[[…]]`, below a new name, or below the last element of an array of tables."""
        several = self.draw(st.booleans())
        start = self.out.line, self.out.column
        before = len(self.out.text)
        self.out.put("[[" if several else "[")
        self.blank()
        table: dict[str, Any] = self.out.data
        path: tuple[str | int, ...] = ()
        again = False
        if self.arrays and self.draw(st.booleans()):
            name = self.draw(st.sampled_from(self.arrays))
            self.out.put(escaped(name))
            again = several and self.draw(st.booleans())
            if again:
                path = (name,)
            else:
                table = self.out.data[name][-1]
                path = (name, len(self.out.data[name]) - 1)
                self.dot()
        elif self.draw(st.booleans()):
            name, place = self.part()
            table[name] = table = {}
            path = (name,)
            self.out.keys[path] = self.out.values[path] = place
            self.dot()
        if not again:
            name, _ = self.part()
            path = (*path, name)
        self.blank()
        self.out.put("]]" if several else "]")
        place = (*start, len(self.out.text) - before)
        if several:
            if len(path) == 1 and not again:
                self.arrays.append(str(path[0]))
            elements = table.setdefault(path[-1], [])  # type: ignore[arg-type]
            self.out.keys.setdefault(path, place)
            self.out.values.setdefault(path, place)
            path = (*path, len(elements))
            elements.append({})
            table = elements[-1]
        else:
            table[path[-1]] = table = {}  # type: ignore[index]
        self.out.keys[path] = self.out.values[path] = self.out.tables[path] = place
        self.end()
        self.pairs(table, path)

    def pairs(self, table: dict[str, Any], path: tuple[str | int, ...]) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.blank()
            self.pair(table, path, depth=2)
            self.end()


@st.composite
def written_toml(draw: st.DrawFn) -> Written:
    """Valid TOML of every construct, with its places."""
    writer = Writer(draw)
    writer.out.put("first = 1")
    writer.out.data["first"] = 1
    writer.out.keys["first",] = (1, 1, 5)
    writer.out.values["first",] = (1, 9, 1)
    writer.end()
    writer.pairs(writer.out.data, ())
    for _ in range(draw(st.integers(0, 5))):
        writer.header()
    return writer.out
