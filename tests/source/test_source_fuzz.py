"""No bytes lead to anything but a document or diagnostics that can be shown."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from source.toml_texts import RECIPE

from atentdsl.source import FORMATS, Document, RecipeError, parse, read, render
from atentdsl.source.span import Lines

CODES = {"not-utf8", "empty", "toml-syntax", "too-deep", "integer-too-long", "file-too-large"}
SHIPPED = [path.read_text("utf-8") for path in sorted(Path(__file__).parents[2].glob("recipes/**/*.toml"))]
STRUCTURE = [*"[]{}=.,#'\" \n\r\t\\", '"""', "'''", "[[", "]]", "\r\n", "[sampler]", "schema = 1\n"]
CHARACTERS = ["", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\ufeff", "é", "数", "\\u"]
VALUES = ["1" * 5000, "[" * 70, "a." * 70, "0x", "1e999", "nan", "1979-05-27T07:32:00Z", "0000-00-00", "true"]
PIECES = st.sampled_from([*STRUCTURE, *CHARACTERS, *VALUES])


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A recipe with pieces put in, taken out and repeated."""
    text = draw(st.sampled_from([RECIPE, *SHIPPED]))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(PIECES | st.just(text[start:end] * 2)) + text[end:]
    return text


def check(document: Document) -> None:
    """Positions of whatever can be asked lie in the text."""
    lines = Lines(document.text)
    ahead = [((), document.data)]
    while ahead:
        path, value = ahead.pop()
        if isinstance(value, dict):
            ahead += [((*path, key), below) for key, below in value.items()]
        elif isinstance(value, list):
            ahead += [((*path, index), below) for index, below in enumerate(value)]
        for span in (document.key(path), document.value(path), document.table(path)):
            assert not path or span is None or span.column + span.length - 1 <= len(lines[span.line])
        assert document.has(path)


def check_error(error: RecipeError) -> None:
    assert {mistake.code for mistake in error.diagnostics} <= CODES
    for mistake in error.diagnostics:
        if mistake.span:
            assert mistake.span.line <= len(Lines(error.sources[mistake.span.file]))
    for name in FORMATS:
        render(error, name).encode("utf-8")
    assert len(json.loads(render(error, "json"))) == len(error.diagnostics)


@given(st.binary(max_size=200) | mutated().map(lambda text: text.encode("utf-8")))
def test_bytes(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(content)
        file.flush()
        try:
            check(read(Path(file.name), "r.toml"))
        except RecipeError as error:
            check_error(error)


@given(st.text(st.characters()) | st.text(st.sampled_from("a.=[]{},\"'#\n\r\\ 1é-:T\x00\ud800")) | mutated())
def test_text(text: str) -> None:
    try:
        check(parse(text, "r.toml"))
    except RecipeError as error:
        check_error(error)


@given(mutated(), st.binary(min_size=1, max_size=3), st.integers(0, 2000))
def test_a_recipe_with_foreign_bytes(text: str, foreign: bytes, at: int) -> None:
    content = text.encode("utf-8")
    content = content[:at] + foreign + content[at:]
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(content)
        file.flush()
        try:
            check(read(Path(file.name), "r.toml"))
        except RecipeError as error:
            check_error(error)
