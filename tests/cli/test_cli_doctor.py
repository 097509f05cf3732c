"""`atentdsl doctor` as it is typed: its text, its JSON, its exit codes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

from atentdsl.cli import run
from atentdsl.runtime import roots


def doctor(folder, *words, environment=None, before=None):
    return subprocess.run(
        [sys.executable, "-m", "atentdsl", "doctor", *words],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        preexec_fn=before,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module")
def said(here):
    done = doctor(here, "--json", "--data-root", "mine", "--out", "deep/er")
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def text(here):
    """Typed to a process that fails where the command itself, and not a process of its own, has loaded torch."""
    probe = "import sys; from atentdsl.cli import run; run(sys.argv[1:]); sys.exit('torch._C' in sys.modules)"
    command = [sys.executable, "-c", probe, "doctor", "--data-root", "mine", "--out", "deep/er"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_json_has_facts_and_findings_and_the_exit_code_counts_them(here, said):
    code, found, errors = said
    assert code == (2 if found["findings"] else 0)
    assert list(found["facts"]) == ["versions", "processor", "devices", "no_cuda", "precision", "data", "out"]
    assert found["facts"]["out"]["path"] == "deep/er"
    assert (found["facts"]["data"]["root"], found["facts"]["data"]["source"]) == ("mine", "the folder given")
    assert errors == ""
    assert list(here.iterdir()) == []


def test_the_text_says_the_same_in_columns(said, text):
    facts = said[1]["facts"]
    blocks = [block.splitlines() for block in text.split("\n\n")]
    headings = [lines[0] for lines in blocks]
    assert headings[:-1] == ["versions", "processor", "devices", "precision", "data", "runs"]
    rows = {line[2:18].strip(): line[18:] for lines in blocks[:-1] for line in lines[1:]}
    assert all(line.startswith("  ") and line[18] != " " for lines in blocks[:-1] for line in lines[1:])
    assert rows["torch"] == facts["versions"]["torch"]
    assert rows["torch's threads"] == str(facts["processor"]["torch_threads"])
    assert rows["float32"] == "always"
    assert rows["digits"] == facts["data"]["sets"]["digits"]
    assert rows["mnist"] == facts["data"]["sets"]["mnist"]
    assert rows["cifar10"] == facts["data"]["sets"]["cifar10"]
    assert rows["root"] == "mine (the folder given), which is not there"
    assert rows["folder"] == "deep/er"
    findings = said[1]["findings"]
    assert text.endswith("nothing is wrong\n") == (not findings)
    for finding in findings:
        assert finding["wrong"] in text
        assert finding["mend"] in text


def test_everything_that_is_wrong_is_said_at_once(here, tmp_path):
    """Few files, small files, one core for two threads, no data root, and a file in the way."""
    (tmp_path / "taken").write_text("")

    def before():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    environment = {"OMP_NUM_THREADS": "2", roots.VARIABLE: str(tmp_path / "gone")}
    done = doctor(tmp_path, "--out", "taken", environment=environment, before=before)
    assert done.returncode == 2
    assert done.stderr == ""
    expected = [
        "limits: a file's size is limited to 1048576 bytes",
        "limits: only 200 files may be open at once",
        f"data: the data root {tmp_path}/gone ({roots.VARIABLE}) does not exist",
        "out: taken is no folder",
    ]
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        expected.append(
            "threads: torch computes with 2 threads, and this process may use 1 core\n     mend: set OMP_NUM_"
        )
    for wrong in expected:
        assert f". {wrong}" in done.stdout
    assert done.stdout.count("     mend: ") >= len(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_too_little_address_space_for_torch_is_a_finding_and_no_crash(tmp_path):
    done = doctor(tmp_path, before=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29)))
    assert done.returncode == 2, done.stderr
    assert ". torch: torch " in done.stdout
    assert " does not work: " in done.stdout
    assert "limits: address space is limited to 536870912 bytes" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["--nonsense"], ["recipe"]])
def test_wrong_usage_is_exit_code_2(words, capsys):
    assert run(["doctor", *words]) == 2
    assert words[0] in capsys.readouterr().err
