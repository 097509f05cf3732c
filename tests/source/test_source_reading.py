"""Every way in which a file cannot be read or parsed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from atentdsl.source import DEEPEST, LONGEST_FILE, Diagnostic, RecipeError, parse, read


def only(error: pytest.ExceptionInfo[RecipeError]) -> Diagnostic:
    (mistake,) = error.value.diagnostics
    return mistake


def refused(text: str) -> Diagnostic:
    with pytest.raises(RecipeError) as error:
        parse(text, "r.toml")
    return only(error)


def unread(path: Path, name: str | None = "shown/r.toml") -> Diagnostic:
    with pytest.raises(RecipeError) as error:
        read(path, name)
    assert str(path.parent) not in str(error.value) or name is None
    return only(error)


def place(mistake: Diagnostic) -> tuple[int, int, int] | None:
    return (mistake.span.line, mistake.span.column, mistake.span.length) if mistake.span else None


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b"\xef\xbb\xbfa = '\xc3\xa9'\r\nb = 1\r\n")
    document = read(path)
    assert document.name == str(path)
    assert document.data == {"a": "é", "b": 1}
    assert read(path, "shown.toml").key(("b",)).file == "shown.toml"
    assert (document.key(("a",)).column, document.key(("b",)).line) == (1, 2)


def test_not_found_names_what_is_close(tmp_path: Path) -> None:
    for name in ("atent_linf.toml", "atent_l2.toml", "sgd.toml", "atent_linf.txt"):
        (tmp_path / name).touch()
    mistake = unread(tmp_path / "atent_lnf.toml", "recipes/atent_lnf.toml")
    assert mistake.code == "not-found"
    assert mistake.message == "there is no file `recipes/atent_lnf.toml`"
    assert mistake.help == "did you mean `atent_linf.toml` or `atent_l2.toml`?"
    assert unread(tmp_path / "SGD").help == "did you mean `sgd.toml`?"
    assert unread(tmp_path / "qqqqqqqq").help is None


@pytest.mark.parametrize("name", ["missing/r.toml", "a\0b", "\ud800", "file/r.toml"])
def test_not_found_in_stranger_ways(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    assert unread(tmp_path / name).code == "not-found"


def test_a_folder_lists_its_recipes(tmp_path: Path) -> None:
    assert unread(tmp_path).help == "there is no .toml file in it"
    for index in range(10):
        (tmp_path / f"{index}.toml").touch()
    mistake = unread(tmp_path, "recipes")
    assert (mistake.code, mistake.message) == ("is-directory", "`recipes` is a folder")
    assert mistake.help == "name a file in it: " + ", ".join(f"{index}.toml" for index in range(8)) + " and 2 more"


def test_what_is_no_regular_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(RecipeError) as error:
            read(path)
        assert only(error).code == "not-a-file"


def test_unreadable(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    mistake = unread(loop)
    assert mistake.code == "unreadable"
    assert "symbolic links" in mistake.message
    assert unread(tmp_path / ("x" * 5000)).code == "unreadable"


def test_a_file_one_may_not_read() -> None:
    """Root may read everything, so a child process gives that up first."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "r.toml"
        path.touch(mode=0)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                code = int(unread(path).message != "cannot read `shown/r.toml`: permission denied")
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_longest_file(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("a=1 #".ljust(LONGEST_FILE))
    assert read(path).data == {"a": 1}
    path.write_text("a=1 #".ljust(LONGEST_FILE + 1))
    assert unread(path).code == "file-too-large"
    assert refused("é" * (LONGEST_FILE // 2 + 1)).code == "file-too-large"


def test_a_file_that_says_it_is_empty_and_is_not() -> None:
    """What /proc calls an empty regular file: the size is checked on what was read as well."""
    path = Path("/proc/self/environ")
    if not path.exists():
        pytest.skip("no /proc")
    program = "import pathlib, atentdsl.source as s\ntry: s.read(pathlib.Path('/proc/self/environ'))\n"
    program += "except s.RecipeError as error: print(error.diagnostics[0].code)"
    large = {b"LARGE%d" % index: b"\xff" * 100_000 for index in range(11)}
    done = subprocess.run([sys.executable, "-c", program], env={**os.environb, **large}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("file-too-large\n", "")


@pytest.mark.parametrize(
    ("content", "where", "label"),
    [
        (b"a = 1\nb = '\xc3\xa9\xe9'", (2, 7, 1), "byte 0xe9"),
        (b"\xff\xfea\x00", (1, 1, 1), "byte 0xff"),
        (b"\xef\xbb\xbfa = \x80", (1, 5, 1), "byte 0x80"),
        (b"a = '\xf0\x9f\x98", (1, 6, 1), "byte 0xf0"),
    ],
)
def test_not_utf8_says_where(tmp_path: Path, content: bytes, where: tuple[int, int, int], label: str) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(content)
    mistake = unread(path)
    assert (mistake.code, place(mistake), mistake.label) == ("not-utf8", where, label)


def test_a_lone_surrogate_is_not_utf8() -> None:
    mistake = refused("a = 1\nb = '\ud800'")
    assert (mistake.code, place(mistake), mistake.label) == ("not-utf8", (2, 6, 1), "surrogate U+D800")


@pytest.mark.parametrize("text", ["", "\ufeff", "\n\n", " \t\r\n# schema = 1\n#"])
def test_empty(text: str) -> None:
    mistake = refused(text)
    assert (mistake.code, place(mistake)) == ("empty", (1, 1, 1))
    assert "schema = 1" in str(mistake.help)


NESTED = {
    "arrays": lambda depth: "a = " + "[" * depth + "]" * depth,
    "inline tables": lambda depth: "a = " + "{a = " * depth + "1" + "}" * depth,
    "dotted keys": lambda depth: ".".join(["a"] * depth) + " = 1",
    "headers": lambda depth: "[" + " . ".join(["'a'"] * depth) + "]",
    "arrays of tables": lambda depth: "[[" + ".".join(["a"] * (depth - 1)) + "]]",
    "together": lambda depth: "[b.c]\n" + ".".join(["a"] * (depth - 4)) + " = [[1]]",
}


@pytest.mark.parametrize("kind", NESTED)
def test_the_deepest(kind: str) -> None:
    text = NESTED[kind]
    parse(text(DEEPEST - 1), "r.toml")
    assert refused(text(DEEPEST + 1)).code == "too-deep"
    for depth in (300, 20_000, 100_000):
        mistake = refused(text(depth))
        assert mistake.code == "too-deep"
        assert mistake.span is not None
        assert mistake.span.column > DEEPEST  # found before tomli, which cannot say where


@pytest.mark.parametrize(
    "text",
    [
        "a = '''" + "[" * 100 + "'''",
        'a = "' + "{" * 100 + '"',
        "a = 1 #" + "[" * 100,
        f"'{'.a' * 100}' = 1",
    ],
)
def test_brackets_and_dots_in_strings_and_comments_do_not_nest(text: str) -> None:
    assert parse(text, "r.toml").has(())


def test_an_unclosed_string_is_named_before_what_it_swallows() -> None:
    for quote in ('"', "'"):
        assert refused("a = " + quote + "\n" + "[" * 100).code == "toml-syntax"
        assert refused("a = " + 3 * quote + "b" + quote + "[" * 100).code == "toml-syntax"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("b = 1\na = " + "1" * 4301, (2, 5, 4301)),
        ("a = [1, -" + "1_" * 4400 + "1]", (1, 9, 8802)),
        ("a = { b = 9223372036854775808 }", (1, 11, 19)),
        ("a = -9223372036854775809", (1, 5, 20)),
        ("a = 0x" + "f" * 300, (1, 5, 302)),
    ],
)
def test_integers_outside_64_bits(text: str, where: tuple[int, int, int]) -> None:
    mistake = refused(text)
    assert (mistake.code, place(mistake)) == ("integer-too-long", where)


def test_integers_of_64_bits() -> None:
    text = "a = [9223372036854775807, -9223372036854775808]\n" + "1" * 5000 + " = 0." + "1" * 5000
    assert parse(text, "r.toml").data["a"] == [2**63 - 1, -(2**63)]


def test_every_integer_outside_64_bits_is_named() -> None:
    with pytest.raises(RecipeError) as error:
        parse("b = 1e3\na = 99999999999999999999\n[c]\nd = [1, 0xfffffffffffffffff]", "r.toml")
    assert [place(mistake) for mistake in error.value.diagnostics] == [(2, 5, 20), (4, 9, 19)]


@pytest.mark.parametrize(
    ("text", "where", "mend"),
    [
        ("name = wrn_34_10", (1, 8, 9), 'a string needs quotes: `"wrn_34_10"`'),
        ("a = [linf, 1]", (1, 6, 4), 'a string needs quotes: `"linf"`'),
        ("a = True", (1, 5, 4), "TOML's booleans are `true` and `false`: write `true`"),
        ("a = no # not", (1, 5, 2), "TOML's booleans are `true` and `false`: write `false`"),
        ("a = None", (1, 5, 4), "TOML has no null: leave the key out"),
        ("a = .5", (1, 5, 2), "a number needs a digit before its point: `0.5`"),
        ("a = 1.", (1, 6, 1), "a number needs a digit after its point, as in `1.0`"),
        ("radius = 8/255", (1, 11, 1), "TOML does not compute: write `0.03137254901960784`"),
        ("a = 2 * 3", (1, 7, 1), "TOML does not compute: write the number itself"),
        ("a = 1/0", (1, 6, 1), "TOML does not compute: write the number itself"),
        ("a = −1", (1, 5, 2), "write the minus as `-`"),
        ("a = “b”", (1, 5, 3), "strings stand between straight quotes"),
        ("a == 1", (1, 4, 1), "one `=` is enough"),
        ("a =", (1, 4, 1), "a value must follow"),
        ("a: 1", (1, 2, 1), "write `key = value`"),
        ("a = 1 // b", (1, 7, 1), "a comment begins with `#`"),
        ("a = 1 b = 2", (1, 7, 1), "one key to a line"),
        ("é = 1", (1, 1, 1), 'a key of other characters than A-Z a-z 0-9 _ - needs quotes: `"a key" = 1`'),
        ('a = "\\d"', (1, 8, 1), """in "…" a backslash begins an escape; in '…' it stands for itself"""),
        ("[a\nb = 1", (1, 3, 1), "a header ends with its bracket: `[table]`, `[[array.of.tables]]`"),
        ("a = 1\r\nb = 01", (2, 6, 1), "a number begins with no zero"),
    ],
)
def test_syntax(text: str, where: tuple[int, int, int], mend: str) -> None:
    mistake = refused(text)
    assert mistake.code == "toml-syntax"
    assert place(mistake) == where
    assert mistake.help == mend


@pytest.mark.parametrize(
    ("text", "where", "opened"),
    [
        ("a = [1,\n\nb = 2", (3, 1, 1), (1, 5, 1)),
        ("a = [1, {b = [2], c = 3\n", (2, 1, 1), (1, 9, 1)),
        ('a = "x\nb = 1', (1, 7, 1), (1, 5, 1)),
        ("a = 'x\nb = 'y'", (1, 7, 1), (1, 5, 1)),
        ("a = 1\nb = '''x", (2, 9, 1), (2, 5, 3)),
    ],
)
def test_what_is_never_closed_is_shown_where_it_opens(
    text: str, where: tuple[int, int, int], opened: tuple[int, int, int]
) -> None:
    mistake = refused(text)
    assert mistake.context is not None
    span, label = mistake.context
    assert (place(mistake), (span.line, span.column, span.length), label) == (where, opened, "opened here")
    assert mistake.help


@pytest.mark.parametrize(
    ("text", "message", "where", "first"),
    [
        ("a = 1\nb = 2\na = [\n1]", "`a` is written twice", (3, 1, 1), (1, 1, 1)),
        ("[a]\r\n\r\n[a]  # é\r\n", "`[a]` is written twice", (3, 1, 3), (1, 1, 3)),
        ('a = { b = 1, "b" = 2 }', '`"b"` is written twice', (1, 14, 3), (1, 7, 1)),
        ("a.b = 1\na . b = 2", "`b` is written twice", (2, 5, 1), (1, 3, 1)),
        ("[[s]]\n[s.k]\n[[s]]\n[s.k]\nx = 1\nx = 2", "`x` is written twice", (6, 1, 1), (5, 1, 1)),
    ],
)
def test_what_is_written_twice(
    text: str, message: str, where: tuple[int, int, int], first: tuple[int, int, int]
) -> None:
    mistake = refused(text)
    assert mistake.context is not None
    span, label = mistake.context
    assert (mistake.code, mistake.message, place(mistake)) == ("toml-syntax", message, where)
    assert ((span.line, span.column, span.length), label) == (first, "first written here")


def test_importing_loads_nothing_heavy() -> None:
    program = (
        "import sys, atentdsl.source\n"
        "loaded = {'torch', 'numpy', 'pydantic', 'jinja2', 'rich', 'click'} & set(sys.modules)\n"
        "floors = {name for name in sys.modules if name.startswith('atentdsl.')}\n"
        "print(loaded, {name.split('.')[1] for name in floors})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set() {'source'}\n"
