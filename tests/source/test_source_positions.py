"""Where keys and values are written, against a writer that counted for itself, and against tomli."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
from hypothesis import example, given
from hypothesis import strategies as st
from source.toml_texts import RECIPE, Written, written_toml

from atentdsl.source import Document, RecipeError, Span, parse
from atentdsl.source.positions import locate
from atentdsl.source.span import Lines


def place(span: Span) -> tuple[int, int, int]:
    return span.line, span.column, span.length


def covered(document: Document, span: Span) -> str:
    return Lines(document.text)[span.line][span.column - 1 : span.column - 1 + span.length]


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in below for found in [(*path, key), *paths(inner, (*path, key))]]


def at(data: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        data = data[step]
    return data


@given(written_toml())
def test_every_place_is_where_the_writer_put_it(written: Written) -> None:
    document = parse(written.text, "r.toml")
    assert document.data == written.data  # the writer wrote what it meant
    assert locate(written.text).repeated is None
    everything = paths(written.data)
    assert {path: place(document.key(path)) for path in everything} == written.keys
    assert {path: place(document.value(path)) for path in everything} == written.values


@given(written_toml())
def test_the_innermost_written_table(written: Written) -> None:
    document = parse(written.text, "r.toml")
    for path in paths(written.data):
        above = [path[:end] for end in range(1, len(path)) if path[:end] in written.tables]
        found = document.table(path)
        assert (found and place(found)) == (written.tables[above[-1]] if above else None)


@given(written_toml(), st.lists(st.one_of(st.text(max_size=2), st.integers(-1, 3)), min_size=1, max_size=3))
def test_a_path_that_is_not_there_falls_back_to_its_nearest_ancestor(written: Written, beyond: list[str | int]) -> None:
    document = parse(written.text, "r.toml")
    for path in [(), *paths(written.data)]:
        missing = (*path, *beyond)
        if document.has(missing[: len(path) + 1]):
            continue
        assert not document.has(missing)
        assert document.has(path)
        assert document.key(missing) == document.key(path)
        assert document.value(missing) == document.value(path)


@given(st.data())
def test_the_paths_are_those_of_tomli_and_the_text_there_reads_as_the_value(data: st.DataObject) -> None:
    """Recipes with characters exchanged, as far as they are still TOML."""
    text = RECIPE
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(text)))
        piece = data.draw(
            st.sampled_from(["", "\n", "\r\n", '"', "'", "=", "a.", "[", "]", "{", "}", ",", "#", "é", " 1"])
        )
        text = text[:start] + piece + text[start + data.draw(st.integers(0, 2)) :]
    try:
        document = parse(text, "r.toml")
    except RecipeError:
        return
    assert set(locate(text).keys) == set(paths(document.data))
    assert locate(text).repeated is None
    for path in paths(document.data):
        value, span = at(document.data, path), document.value(path)
        if not isinstance(value, dict | list | str):
            assert tomli.loads("x = " + covered(document, span))["x"] == value
        if isinstance(path[-1], str) and document.key(path) != span:
            assert list(tomli.loads(covered(document, document.key(path)) + " = 1")) == [path[-1]]


def test_a_recipe() -> None:
    document = parse(RECIPE, "r.toml")
    seen = {path: covered(document, document.key(path)) for path in paths(document.data)}
    assert seen["sampler",] == seen["sampler", 0] == seen["sampler", 1] == "[[sampler]]"
    assert place(document.key(("sampler", 1))) == (31, 1, 11)
    assert place(document.key(("sampler",))) == (10, 1, 11)
    assert place(document.key(("sampler", 0, "kernel", "noise"))) == (24, 1, 5)
    assert place(document.key(("sampler", 0, "projection", 1))) == (29, 1, 22)
    assert place(document.key(("sampler", 1, "projection", 0, "kind"))) == (36, 1, 4)
    assert place(document.key(("sampler", 1, "kernel", "momentum", "mu"))) == (34, 10, 2)
    assert place(document.value(("optimizer", "lr", "at", 1))) == (39, 54, 2)
    assert covered(document, document.value(("optimizer", "note"))) == "'''"
    table = document.table(("sampler", 1, "kernel", "momentum", "mu"))
    assert table is not None
    assert place(table) == (33, 1, 16)
    assert document.table(("schema",)) is None


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ('x = { "ü数😀" = "é", b = 1 }', ("x", "b"), (1, 20, 1)),
        ("'a.b'.c = 1", ("a.b", "c"), (1, 7, 1)),
        ("[a.b]\nx = 1\n[a]\ny = 1", ("a",), (3, 1, 3)),
        ("[a.b]\nx = 1", ("a",), (1, 2, 1)),
        ("s = '\x85\u2028'\nb = 1", ("b",), (2, 1, 1)),
        ('""=1', ("",), (1, 1, 2)),
        ("a = [[], [[1, 2], {b = [3]}]]", ("a", 1, 1, "b", 0), (1, 25, 1)),
        ('a = """""" # "\nb = """""x"""""\nc = 1', ("c",), (3, 1, 1)),
        ("a = ''''''\nb = '''''x'''''\nc = 1", ("c",), (3, 1, 1)),
        ("a = [\n 1, # ]\n 2]\nb = 1", ("a", 1), (3, 2, 1)),
        ("a = 1", (), (1, 1, 1)),
        ("\ufeffa = 1", ("a",), (1, 1, 1)),
    ],
)
def test_places(text: str, path: tuple[str | int, ...], expected: tuple[int, int, int]) -> None:
    document = parse(text, "r.toml")
    assert place(document.key(path)) == expected
    assert set(locate(document.text).keys) == set(paths(document.data))


def test_a_value_of_several_lines_is_its_first() -> None:
    document = parse('a = [  # one\r\n 1]\nb = """two\nthree"""', "r.toml")
    assert covered(document, document.value(("a",))) == "[  # one"
    assert covered(document, document.value(("b",))) == '"""two'


def test_an_index_is_no_key_and_a_key_no_index() -> None:
    document = parse('a = [1]\n0 = 2\nb = "x"', "r.toml")
    assert document.has(("a", 0))
    assert document.has(("0",))
    assert document.has(())
    assert not any(map(document.has, [("a", "0"), (0,), ("a", -1), ("a", 0, 0), ("b", 0), ("b", "x")]))


@pytest.mark.parametrize("fields", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_span_counts_from_one(fields: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=">= 1"):
        Span("r.toml", *fields)


@given(st.text(st.sampled_from("a.=[]{},\"'#\n\r\\ 1é"), max_size=40))
@example("1=\r")
def test_locating_raises_for_no_text(text: str) -> None:
    lines = Lines(text)
    for start, end in locate(text).values.values():
        span = lines.span("r.toml", start, end)
        assert span.column <= len(lines[span.line]) + 1
