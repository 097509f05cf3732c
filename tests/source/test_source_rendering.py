"""The exact text of diagnostics, in every format."""

from __future__ import annotations

import json
import pickle
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.source import Diagnostic, RecipeError, Span, parse, render
from atentdsl.source.display import WINDOW, excerpt, visible

ATENT = "\n" * 25 + '[sampler.kernel]\nkind = "langevin"\nstep_size = 0.007\nnoize = 1e-3\n'
NOIZE = Diagnostic(
    code="unknown-key",
    message="unknown key `noize` in kernel `langevin`",
    span=Span("recipes/atent_linf.toml", 29, 1, 5),
    label="not a parameter of `langevin`",
    context=(Span("recipes/atent_linf.toml", 26, 1, 16), "this table is a `langevin` kernel"),
    help="did you mean `noise`?  accepted: step_size, noise, drift, covers, momentum",
)


def shown(text: str) -> str:
    """An expected text, written here with a margin of `> ` so that its own margin stays visible."""
    return "\n".join(line.strip().removeprefix(">")[1:] for line in text.strip().splitlines())


def test_a_diagnostic_in_full() -> None:
    error = RecipeError([NOIZE], {"recipes/atent_linf.toml": ATENT})
    expected = shown("""
        > error[unknown-key]: unknown key `noize` in kernel `langevin`
        >   --> recipes/atent_linf.toml:29:1
        >    |
        > 26 | [sampler.kernel]
        >    | ---------------- this table is a `langevin` kernel
        >    ...
        > 29 | noize = 1e-3
        >    | ^^^^^ not a parameter of `langevin`
        >    |
        > help: did you mean `noise`?  accepted: step_size, noise, drift, covers, momentum
        >
        > 1 error
    """)
    assert render(error) == expected
    assert str(error) == expected


def test_several_diagnostics_stand_in_the_order_of_files_and_places() -> None:
    sources = {"b.toml": "x = 1\ny = 2\n", "a.toml": "z = 3"}
    error = RecipeError(
        [
            Diagnostic("third", "in the second file", Span("a.toml", 1, 1, 1)),
            Diagnostic("fourth", "in a file without text", Span("c.toml", 7, 2, 1), "unseen", help="look there"),
            Diagnostic("second", "below", Span("b.toml", 2, 1, 1), help="one\ntwo"),
            Diagnostic("first", "above", Span("b.toml", 1, 5, 1), "one"),
            Diagnostic("whole", "nowhere", help="anywhere"),
        ],
        sources,
    )
    assert render(error) == shown("""
        > error[whole]: nowhere
        > help: anywhere
        >
        > error[first]: above
        >  --> b.toml:1:5
        >   |
        > 1 | x = 1
        >   |     ^ one
        >
        > error[second]: below
        >  --> b.toml:2:1
        >   |
        > 2 | y = 2
        >   | ^
        >   |
        > help: one
        >       two
        >
        > error[third]: in the second file
        >  --> a.toml:1:1
        >   |
        > 1 | z = 3
        >   | ^
        >
        > error[fourth]: in a file without text
        >  --> c.toml:7:2
        >   |
        > help: look there
        >
        > 5 errors
    """)
    assert render(error, "concise") == shown("""
        > whole: nowhere (anywhere)
        > b.toml:1:5: first: above
        > b.toml:2:1: second: below (one two)
        > a.toml:1:1: third: in the second file
        > c.toml:7:2: fourth: in a file without text (look there)
    """)


def test_context_below_beside_and_on_the_next_line() -> None:
    text = "a = { b = 1, c = 2 }\nd = 3\n\ne = 4"
    span = Span("r.toml", 1, 14, 1)
    contexts = [(Span("r.toml", 1, 7, 1), "same"), (Span("r.toml", 2, 1, 1), "next"), (Span("r.toml", 4, 1, 1), "far")]
    error = RecipeError([Diagnostic("c", "m", span, "here", context) for context in contexts], {"r.toml": text})
    assert render(error) == shown("""
        > error[c]: m
        >  --> r.toml:1:14
        >   |
        > 1 | a = { b = 1, c = 2 }
        >   |              ^ here
        >   |       - same
        >
        > error[c]: m
        >  --> r.toml:1:14
        >   |
        > 1 | a = { b = 1, c = 2 }
        >   |              ^ here
        > 2 | d = 3
        >   | - next
        >
        > error[c]: m
        >  --> r.toml:1:14
        >   |
        > 1 | a = { b = 1, c = 2 }
        >   |              ^ here
        >   ...
        > 4 | e = 4
        >   | - far
        >
        > 3 errors
    """)


def test_context_in_another_file_and_a_gutter_for_both() -> None:
    base = "\n" * 99 + "radius = 0.1"
    mistake = Diagnostic(
        "c", "m", Span("r.toml", 1, 1, 6), "here", (Span("base.toml", 100, 1, 6), "inherited"), help="mend"
    )
    assert render(RecipeError([mistake], {"base.toml": base, "r.toml": "radius = 0.2"})) == shown("""
        > error[c]: m
        >    --> r.toml:1:1
        >     |
        >   1 | radius = 0.2
        >     | ^^^^^^ here
        >    --> base.toml:100:1
        >     |
        > 100 | radius = 0.1
        >     | ------ inherited
        >     |
        > help: mend
        >
        > 1 error
    """)


@pytest.mark.parametrize(
    ("text", "path", "line", "carets"),
    [
        ('x = { s = "é", bb = 1 }', ("x", "bb"), 'x = { s = "é", bb = 1 }', " " * 15 + "^^"),
        ('x = { s = "数", bb = 1 }', ("x", "bb"), 'x = { s = "数", bb = 1 }', " " * 16 + "^^"),
        ('x = { s = "e\u0301", bb = 1 }', ("x", "bb"), 'x = { s = "e\u0301", bb = 1 }', " " * 15 + "^^"),
        ("\tx\t=\t1", ("x",), "    x    =    1", "    ^"),
        ('"数" = 1', ("数",), '"数" = 1', "^^^^"),
        ('x = { s = "\u202e", b = 1 }', ("x", "b"), r'x = { s = "\u202e", b = 1 }', " " * 20 + "^"),
        ("x = 1 # \u200b\x85\r\n", ("x",), r"x = 1 # \u200b\x85", "^"),
    ],
)
def test_carets_stand_under_the_key(text: str, path: tuple[str, ...], line: str, carets: str) -> None:
    span = parse(text, "r.toml").key(path)
    assert render(RecipeError([Diagnostic("c", "m", span)], {"r.toml": text})).split("\n")[3:5] == [
        f"1 | {line}",
        f"  | {carets}",
    ]


@pytest.mark.parametrize("column", [1, 60, 500, 996])
def test_a_long_line_is_cut_around_the_caret(column: int) -> None:
    line = "".join(chr(ord("a") + index % 26) for index in range(column - 1)) + "KEY"
    line += "." * (1000 - len(line))
    found = excerpt(line, column, 3)
    assert found.under == 3
    assert found.line[found.before : found.before + 3] == "KEY"
    assert len(found.line.strip("…")) == WINDOW
    assert found.line.startswith("…") == (column > WINDOW // 4 + 1)
    assert found.line.endswith("…") == (column < 990)


def test_context_outside_the_window_of_a_long_line_has_an_excerpt_of_its_own() -> None:
    text = "a = [" + " " * 400 + "1]"
    mistake = Diagnostic("c", "m", Span("r", 1, 406, 1), "here", (Span("r", 1, 1, 1), "there"))
    _, _, _, first, under, second, below, *_ = render(RecipeError([mistake], {"r": text})).split("\n")
    assert first.startswith("1 | … ")
    assert under[first.index("1]")] == "^"
    assert second.startswith("1 | a = [ ")
    assert below == "  | - there"


def test_colour_adds_nothing_but_colour() -> None:
    error = RecipeError([NOIZE], {NOIZE.span.file: ATENT} if NOIZE.span else {})
    coloured = render(error, colour=True)
    assert coloured != render(error)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(error)
    assert coloured.count("\x1b[0m") * 2 == coloured.count("\x1b[")


def test_json() -> None:
    error = RecipeError([NOIZE, Diagnostic("c", "\x1b\x7f\ud800é")], {})
    text = render(error, "json")
    assert text.isascii()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text)
    assert json.loads(text) == [
        {
            "code": "c",
            "message": "\x1b\x7f\ud800é",
            "file": None,
            "line": None,
            "column": None,
            "length": None,
            "label": "",
            "help": None,
        },
        {
            "code": "unknown-key",
            "message": "unknown key `noize` in kernel `langevin`",
            "file": "recipes/atent_linf.toml",
            "line": 29,
            "column": 1,
            "length": 5,
            "label": "not a parameter of `langevin`",
            "help": "did you mean `noise`?  accepted: step_size, noise, drift, covers, momentum",
        },
    ]


ANY = st.text(st.characters(), max_size=30) | st.text(st.sampled_from("\x1b\x9b\n\r\t\u2028\ud800数é\u0301a\x7f\x00"))


@given(ANY, ANY, ANY, ANY, ANY, st.integers(1, 4), st.integers(1, 40), st.integers(1, 40))
def test_nothing_a_terminal_obeys_is_shown(
    text: str, name: str, message: str, label: str, mend: str, line: int, column: int, length: int
) -> None:
    span = Span(name, line, column, length)
    error = RecipeError([Diagnostic("c", message, span, label, (span, label), mend)], {name: text})
    for rendered in (render(error), render(error, "concise")):
        assert {unicodedata.category(character) for character in set(rendered) - {"\n"}}.isdisjoint(
            {"Cc", "Cf", "Cs", "Zl", "Zp"}
        )
        rendered.encode("utf-8")
    assert "\n" not in render(error, "concise")


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=50))
def test_what_is_harmless_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text
    assert excerpt(text, 1, 1).line == text


def test_a_message_of_a_mebibyte_is_cut() -> None:
    error = RecipeError([Diagnostic("c", "x" * (1 << 20))], {})
    assert len(render(error)) < 3000


def test_an_error_survives_pickling() -> None:
    error = RecipeError([NOIZE], {"recipes/atent_linf.toml": ATENT})
    again = pickle.loads(pickle.dumps(error))
    assert (again.diagnostics, again.sources, str(again)) == (error.diagnostics, error.sources, str(error))


def test_an_error_needs_a_diagnostic() -> None:
    with pytest.raises(ValueError, match="needs a diagnostic"):
        RecipeError([], {})


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted: full, concise, json"):
        render(RecipeError([NOIZE], {}), "xml")  # type: ignore[arg-type]
