"""`atentdsl runs`: list, show and prune, on real runs."""

from __future__ import annotations

import json
import shutil

import pytest
from cli.terminal import at_terminal
from runtime.real_runs import DIVERGED, FINISHED, INTERRUPTED, files, litter, make

from atentdsl.cli import run
from atentdsl.runtime import lock

SNAPSHOT = f"runs/sgd/{FINISHED}/checkpoints/step-00000003.safetensors"
QUESTION = "delete these? [y/N]:"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A working directory with three runs: finished, interrupted, diverged."""
    shutil.copytree(made, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def running(here):
    """The interrupted run, as one that is running."""
    held = lock.hold(here / "runs/sgd" / INTERRUPTED)
    yield here / "runs/sgd" / INTERRUPTED
    lock.release(held)


def shown(capsys, *words):
    assert run(["runs", *words]) == 0
    return capsys.readouterr().out


def test_list_has_a_line_for_each_run(here, capsys):
    lines = shown(capsys, "list").splitlines()
    assert [line.split()[:2] for line in lines] == [
        [f"runs/sgd/{FINISHED}", "finished"],
        [f"runs/sgd/{INTERRUPTED}", "interrupted"],
        [f"runs/sgd/{DIVERGED}", "diverged"],
    ]
    found = json.loads((here / "runs/sgd" / FINISHED / "evaluation.json").read_text())
    assert f"clean {100 * found['clean_accuracy']:.1f} %" in lines[0]
    assert f"pgd-2 {100 * found['attacks']['pgd-2']['robust_accuracy']:.1f} %" in lines[0]
    assert "step       3" in lines[0]
    assert "kB" in lines[0]
    assert "clean" not in lines[1] + lines[2]


def test_list_as_json_says_the_same(here, capsys):
    told = json.loads(shown(capsys, "list", "runs", "--json"))
    assert [one["status"] for one in told] == ["finished", "interrupted", "diverged"]
    for one in told:
        run_ = here / one["path"]
        assert one["size"] == sum(map(len, files(run_).values()))
        manifest = json.loads((run_ / "manifest.json").read_text())
        assert (one["seed"], one["started"], one["name"]) == (manifest["seed"], manifest["started"], "sgd")
    assert told[0]["evaluation"] == json.loads((here / told[0]["path"] / "evaluation.json").read_text())
    assert told[1]["evaluation"] is None


def test_a_run_at_work_is_listed_as_running(running, capsys):
    assert [one["status"] for one in json.loads(shown(capsys, "list", "--json"))] == ["finished", "running", "diverged"]
    assert "status    running" in shown(capsys, "show", str(running))
    assert "--resume" not in shown(capsys, "show", str(running))


def test_an_empty_folder_has_no_run(here, capsys):
    (here / "empty").mkdir()
    assert run(["runs", "list", "empty"]) == 0
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "no run in empty\n")
    assert json.loads(shown(capsys, "list", "empty", "--json")) == []
    assert shown(capsys, "prune", "empty") == "nothing to delete\n"
    assert run(["runs", "list", "absent"]) == 2


def test_show_says_what_a_run_is(here, capsys):
    path = f"runs/sgd/{FINISHED}"
    said = shown(capsys, "show", path)
    manifest = json.loads((here / path / "manifest.json").read_text())
    for part in (
        f"run       {path}", f"sgd (sha256 {manifest['recipe_sha256'][:12]})", "finished, 1 epochs with a line, step 3",
        f"started   {manifest['started']}", "network   mlp", "data      digits", "device    cpu",
        f"torch {manifest['versions']['torch']}", "sgd, 359 test images",
    ):  # fmt: skip
        assert part in said
    assert "--resume" not in said
    said = shown(capsys, "show", f"runs/sgd/{INTERRUPTED}")
    assert said.splitlines()[-1] == f"go on with `atentdsl run --resume runs/sgd/{INTERRUPTED}`"
    assert "status    diverged" in shown(capsys, "show", f"runs/sgd/{DIVERGED}")


def test_show_as_json_has_the_manifest(here, capsys):
    for name in (FINISHED, INTERRUPTED, DIVERGED):
        told = json.loads(shown(capsys, "show", f"runs/sgd/{name}", "--json"))
        assert told["manifest"] == json.loads((here / "runs/sgd" / name / "manifest.json").read_text())


def test_show_says_when_a_run_was_gone_on_with(here, capsys):
    path = f"runs/sgd/{INTERRUPTED}"
    assert run(["run", "--resume", path]) == 0
    capsys.readouterr()
    said = shown(capsys, "show", path)
    assert "status    finished" in said
    assert "after step 3" in said


@pytest.mark.parametrize("damage", ["", "{}", "[]"])
def test_a_damaged_manifest_is_named_and_spoils_nothing_else(here, capsys, damage):
    (here / f"runs/sgd/{FINISHED}/manifest.json").write_text(damage)
    assert len(shown(capsys, "list").splitlines()) == 2
    assert run(["runs", "show", f"runs/sgd/{FINISHED}"]) == 2
    said = capsys.readouterr().err
    assert f"runs/sgd/{FINISHED} cannot be read" in said
    assert "Traceback" not in said


def test_show_of_a_folder_that_is_no_run_is_exit_code_2(here, capsys):
    assert run(["runs", "show", "runs"]) == 2
    assert "is no run directory: missing recipe.toml" in capsys.readouterr().err


def test_prune_lists_and_without_a_terminal_deletes_nothing(here, capsys):
    before = files(here)
    assert run(["runs", "prune"]) == 0
    out = capsys.readouterr()
    first, last = out.out.splitlines()
    assert first.split()[-1] == SNAPSHOT
    assert last.strip() == f"{first.split(SNAPSHOT)[0].strip()}  in all"
    assert out.err == "nothing is deleted: pass --yes\n"
    assert files(here) == before


def test_prune_deletes_what_it_lists_and_no_more(here, capsys):
    left = [path for name in (FINISHED, INTERRUPTED, DIVERGED) for path in litter(here / "runs/sgd" / name)]
    unfinished = here / "runs/sgd/.unfinished-1-abcdef01"
    (unfinished / "checkpoints").mkdir(parents=True)
    before = files(here)
    said = shown(capsys, "prune", "--yes").splitlines()
    named = {line.split()[-1] for line in said[:-2]}
    assert named == {SNAPSHOT, *(str(path.relative_to(here)) for path in [*left, unfinished])}
    assert said[-1] == "deleted"
    assert files(here).keys() == before.keys() - named
    assert not unfinished.exists()
    assert shown(capsys, "prune", "--yes") == "nothing to delete\n"


def test_a_pruned_run_evaluates_to_the_same(here, capsys):
    path = here / "runs/sgd" / FINISHED
    expected = json.loads((path / "evaluation.json").read_text())
    shown(capsys, "prune", "--yes", "--unfinished")
    assert [one.name for one in path.parent.iterdir()] == [FINISHED]
    assert run(["eval", str(path), "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out) == expected
    (path / "evaluation.json").unlink()
    assert run(["eval", str(path), "--device", "cpu"]) == 0
    assert json.loads((path / "evaluation.json").read_text()) == expected


def test_an_interrupted_run_stays_unless_it_is_asked_for(here, capsys):
    shown(capsys, "prune", "--yes")
    assert run(["run", "--resume", f"runs/sgd/{INTERRUPTED}"]) == 0
    capsys.readouterr()
    assert f"runs/sgd/{DIVERGED}" in shown(capsys, "prune", "--unfinished")


def test_a_running_one_stays_whatever_is_asked_for(running, here, capsys):
    litter(running)
    before = files(running)
    shown(capsys, "prune", "--yes", "--unfinished")
    assert files(running) == before
    assert not (here / "runs/sgd" / DIVERGED).exists()


@pytest.mark.parametrize(("answer", "deleted"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_at_a_terminal_prune_asks_first(here, answer, deleted):
    before = files(here)
    code, said = at_terminal(["runs", "prune"], here, (QUESTION, answer))
    assert code == 0
    assert said.index(SNAPSHOT) < said.index(QUESTION)
    assert said.rstrip().endswith("deleted") == deleted
    assert files(here).keys() == before.keys() - ({SNAPSHOT} if deleted else set())


def test_an_interrupt_at_the_question_deletes_nothing(here):
    before = files(here)
    code, said = at_terminal(["runs", "prune", "--unfinished"], here, (QUESTION, "\x03"))
    assert code == 130
    assert "Traceback" not in said
    assert files(here) == before


def test_what_begins_to_run_while_the_question_stands_is_left(here):
    """Between the list and the answer minutes may pass, in which somebody goes on with a run."""
    path, held = here / "runs/sgd" / INTERRUPTED, []
    before = files(path)
    try:
        code, _ = at_terminal(
            ["runs", "prune", "--unfinished"], here, (QUESTION, "y\n"), meanwhile=lambda: held.append(lock.hold(path))
        )
    finally:
        lock.release(held[0])
    assert code == 0
    assert files(path).items() >= before.items()
    assert not (here / "runs/sgd" / DIVERGED).exists()
    assert not (here / SNAPSHOT).exists()
