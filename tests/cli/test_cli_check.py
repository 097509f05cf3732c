"""Wrong input at the command line: what is said, where, with which exit code, and that nothing is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from recipe.recipe_texts import TEXT

from atentdsl.cli import run
from atentdsl.source import LONGEST_FILE

COMMANDS = ["check", "compile", "explain", "run"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bad(text: str | bytes) -> str:
    Path("bad.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return "bad.toml"


def listing() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


# Each with the code it is refused by, and the place.
WRONG = {
    "an unknown key": (TEXT.replace("noise", "noize"), "unknown-key", ":21:1"),
    "a missing key": (TEXT.replace("batch = 64\n", ""), "missing-key", ":5:1"),
    "an unknown value": (TEXT.replace('"sign"', '"sgn"'), "unknown-value", ":22:9"),
    "a wrong type": (TEXT.replace("moves = 5", 'moves = "5"'), "wrong-type", ":12:9"),
    "a sampler below one pair of brackets": (TEXT.replace("[[sampler]]", "[sampler]"), "wrong-type", ":10:1"),
    "out of range": (TEXT.replace("moves = 5", "moves = -5"), "out-of-range", ":12:9"),
    "no number": (TEXT.replace("noise = 1e-3", "noise = nan"), "out-of-range", ":21:9"),
    "a table missing": (TEXT.replace('[model]\nname = "mlp"\n', ""), "missing-table", ":1:1"),
    "parts that do not fit": (TEXT.replace("burn_in = 2", "burn_in = 9"), "inconsistent", ":28:1"),
    "no schema": (TEXT.removeprefix("schema = 1\n"), "missing-schema", ":1:1"),
    "another schema": (TEXT.replace("schema = 1", "schema = 2"), "unknown-schema", ":1:10"),
    "no TOML": (TEXT.replace('"mine"', "mine"), "toml-syntax", ":3:8"),
    "an integer too long": (TEXT.replace("seed = 1", "seed = " + "9" * 30), "integer-too-long", ":4:8"),
    "nested too deeply": ("a = " + "[" * 1000, "too-deep", ":1:69"),
    "more than a mebibyte": ("#" * (LONGEST_FILE + 1), "file-too-large", ""),
    "not UTF-8": (b'name = "\xff\xfe"', "not-utf8", ":1:9"),
    "UTF-16": (TEXT.encode("utf-16"), "not-utf8", ":1:1"),
    "empty": ("", "empty", ":1:1"),
    "only comments": ("# nothing\n\n", "empty", ":1:1"),
    "a base that is not there": (TEXT.replace("seed = 1", 'extends = "none.toml"'), "not-found", ":4:11"),
    "itself": (TEXT.replace("seed = 1", 'extends = "bad.toml"'), "extends-cycle", ":4:11"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_recipe_is_exit_code_2_a_diagnostic_and_nothing_else(capfd, command, case):
    text, code, place = case
    file = bad(text)
    assert run([command, file]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"error[{code}]: ")
    assert f"--> bad.toml{place}\n" in err if place else "-->" not in err
    assert err.endswith("\n\n1 error\n")
    assert "Traceback" not in err
    assert listing() == ["bad.toml"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "code"),
    [("nowhere.toml", "not-found"), ("folder", "is-directory"), ("/dev/null", "not-a-file"), ("pipe", "not-a-file")],
)
def test_what_is_no_file_is_exit_code_2(capfd, command, name, code):
    Path("folder").mkdir()
    os.mkfifo("pipe")
    assert run([command, name]) == 2
    out, err = capfd.readouterr()
    assert (out, err.splitlines()[0].split(":")[0]) == ("", f"error[{code}]")
    assert listing() == ["folder", "pipe"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_override_is_exit_code_2(capfd, command):
    assert run([command, "sgd", "--set", "optimizer.momentum=2", "--set", "data"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert [line for line in err.splitlines() if "-->" in line] == [
        " --> --set optimizer.momentum=2:1:20",
        " --> --set data:1:1",
    ]
    assert listing() == []


def test_every_mistake_of_every_file_is_said_at_once(capfd):
    Path("base.toml").write_text(TEXT.replace("noise", "noize"))
    over = 'schema = 1\n[recipe]\nname = "over"\nextends = "base.toml"\n[data]\nbatch = 0\n'
    Path("over.toml").write_text(over)
    assert run(["check", "over.toml", "base.toml", "--format", "concise"]) == 2
    out, err = capfd.readouterr()
    assert err == ""
    assert [line.split(": ")[:2] for line in out.splitlines()] == [
        ["over.toml:6:9", "out-of-range"],
        ["base.toml:21:1", "unknown-key"],
        ["base.toml:21:1", "unknown-key"],
    ]


def test_json_is_for_programs(capfd):
    file = bad(TEXT.replace("noise", "noize").replace("moves = 5", "moves = -5"))
    assert run(["check", file, "--format", "json"]) == 2
    out, err = capfd.readouterr()
    assert err == ""
    first, second = json.loads(out)
    assert first == {
        "code": "out-of-range",
        "message": "`moves` must be at least 0",
        "file": "bad.toml",
        "line": 12,
        "column": 9,
        "length": 2,
        "label": "",
        "help": "accepted: 0 <= moves <= 10000",
    }
    assert second["code"] == "unknown-key"


def test_a_right_recipe_is_fine(capfd):
    Path("good.toml").write_text(TEXT)
    assert run(["check", "good.toml", "sgd"]) == 0
    assert capfd.readouterr() == ("good.toml: fine, the recipe `mine`\nsgd: fine, the recipe `sgd`\n", "")
    assert listing() == ["good.toml"]


def test_one_wrong_recipe_among_right_ones_is_exit_code_2(capfd):
    assert run(["check", "sgd", bad(""), "atent_linf"]) == 2
    out, err = capfd.readouterr()
    assert out.splitlines() == ["sgd: fine, the recipe `sgd`", "atent_linf: fine, the recipe `atent_linf`"]
    assert err.startswith("error[empty]")


@pytest.mark.parametrize("arguments", [[], ["--format", "concise"]])
def test_as_a_process(arguments):
    """Nothing of Python's shows, no torch is loaded, and the exit code is the process's."""
    bad(TEXT.replace("noise", "noize"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-X", "importtime", "-m", "atentdsl", "check", "bad.toml", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    imports = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("import time:"))
    assert done.returncode == 2
    assert not any(line.split("|")[-1].strip() == "torch._C" for line in imports)
    concise = "bad.toml:21:1: unknown-key: unknown key `noize` in kernel `langevin` (did you mean `noise`?  accepted: "
    if arguments:
        assert done.stdout.startswith(concise)
        assert said == ""
    else:
        assert done.stdout == ""
        assert said.startswith("error[unknown-key]: unknown key `noize` in kernel `langevin`\n  --> bad.toml:21:1\n")
    assert listing() == ["bad.toml"]


def test_loading_takes_less_than_thrice_the_import_of_its_libraries():
    """Processor times, by turns, the least of several: a busy machine stretches both, and one more than the other, so
    that more turns are taken while it does.

    On a quiet machine where the libraries take 0.09 s, loading takes 0.21 s, imports included.
    """
    libraries = "import attrs, pydantic, tomli; from pydantic import BaseModel; from pydantic_core import core_schema"
    loading = "from atentdsl.recipe import load; load('atent_linf')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def seconds(code):
        command = [sys.executable, "-c", f"import time; {code}; print(time.process_time())"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)

    def within(times):
        return min(own for _, own in times) < 3 * min(theirs for theirs, _ in times)

    times = [(seconds(libraries), seconds(loading)) for _ in range(6)]
    while not within(times) and len(times) < 24:
        times.append((seconds(libraries), seconds(loading)))
    assert within(times), times


def test_json_of_several_recipes_is_one_document(tmp_path, monkeypatch, capsys):
    import json

    from atentdsl.cli import run

    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text("schema = 1\n")
    assert run(["check", "one.toml", "sgd", "two.toml", "--format", "json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert {row["file"] for row in found} == {"one.toml", "two.toml"}
    assert run(["check", "sgd", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
