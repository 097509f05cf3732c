"""`atentdsl run` with a run that was interrupted: it is offered, named, or gone on with."""

from __future__ import annotations

import json
import shutil

import pytest
from cli.terminal import at_terminal
from runtime.real_runs import DIVERGED, FINISHED, INTERRUPTED, WORDS, files, make

from atentdsl.cli import run
from atentdsl.runtime import lock

RUN = f"runs/sgd/{INTERRUPTED}"
AGAIN = ["run", "sgd", *WORDS, "--device", "cpu"]
OFFER = "go on with it? [Y/n]:"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A working directory with three runs: finished, interrupted, diverged."""
    shutil.copytree(made, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new_ones(here):
    return [path for path in (here / "runs/sgd").iterdir() if path.name not in (FINISHED, INTERRUPTED, DIVERGED)]


def evaluation(path):
    return json.loads((path / "evaluation.json").read_text())


def test_at_a_terminal_yes_goes_on_with_it(here):
    code, said = at_terminal(AGAIN, here, (OFFER, "\n"))
    assert code == 0, said
    assert f"a run of this recipe was interrupted after step 3: {RUN}" in said
    assert said.splitlines()[-1] == RUN
    assert evaluation(here / RUN) == evaluation(here / "runs/sgd" / FINISHED)
    assert new_ones(here) == []


def test_at_a_terminal_no_begins_a_new_one(here):
    before = files(here / RUN)
    code, said = at_terminal(AGAIN, here, (OFFER, "n\n"))
    assert code == 0, said
    (new,) = new_ones(here)
    assert said.splitlines()[-1] == str(new.relative_to(here))
    assert evaluation(new) == evaluation(here / "runs/sgd" / FINISHED)
    assert files(here / RUN) == before


def test_an_interrupt_at_the_question_ends_it_at_once(here):
    before = files(here)
    code, said = at_terminal(AGAIN, here, (OFFER, "\x03"))
    assert code == 130, said
    assert "next step" not in said, "no step is being made"
    assert "Traceback" not in said
    assert files(here) == before


def test_at_a_terminal_a_damaged_checkpoint_s_predecessor_is_offered(here):
    newest = here / RUN / "checkpoints/step-00000003.safetensors"
    shutil.copy(newest, newest.with_name("step-00000009.safetensors"))
    damaged = newest.with_name("step-00000009.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    code, said = at_terminal(["run", "--resume", RUN], here, ("go on from there? [Y/n]:", "n\n"))
    assert code == 6, said
    assert damaged.exists()
    code, said = at_terminal(["run", "--resume", RUN], here, ("go on from there? [Y/n]:", "y\n"))
    assert code == 0, said
    assert f"{newest.relative_to(here)}: go on from there with --skip-damaged" in said
    assert evaluation(here / RUN) == evaluation(here / "runs/sgd" / FINISHED)
    assert damaged.with_name(damaged.name + ".damaged").exists()


def test_an_interrupt_at_a_damaged_checkpoint_ends_it_at_once(here):
    newest = here / RUN / "checkpoints/step-00000003.safetensors"
    newest.with_name("step-00000009.safetensors").write_bytes(b"")
    before = files(here)
    code, said = at_terminal(["run", "--resume", RUN], here, ("go on from there? [Y/n]:", "\x03"))
    assert code == 130, said
    assert "next step" not in said, "no step is being made"
    assert files(here) == before


def test_without_a_terminal_it_is_named_and_a_new_one_begins(here, capsys):
    before = files(here / RUN)
    assert run(AGAIN) == 0
    out = capsys.readouterr()
    assert f"a run of this recipe was interrupted after step 3: {RUN}" in out.err
    assert f"go on with that one by `atentdsl run --resume {RUN}`" in out.err
    (new,) = new_ones(here)
    assert out.out.splitlines()[-1] == str(new.relative_to(here))
    assert files(here / RUN) == before


@pytest.mark.parametrize(
    "words",
    [
        [*AGAIN, "--new"],
        [*AGAIN, "--seed", "5"],
        [*AGAIN, "--set", "optimizer.lr=0.05"],
        [*AGAIN, "--out", "elsewhere"],
        [*AGAIN[:-4], "--max-steps", "2", "--device", "cpu"],
    ],
)
def test_of_another_run_nothing_is_said(here, capsys, words):
    """Nor where a new one is asked for."""
    assert run(words) == 0
    assert "interrupted" not in capsys.readouterr().err


def test_at_a_terminal_nothing_is_asked_with_new(here):
    code, said = at_terminal([*AGAIN, "--new"], here)
    assert code == 0, said
    assert "interrupted" not in said
    assert len(new_ones(here)) == 1


def test_a_running_one_is_not_offered(here, capsys):
    held = lock.hold(here / RUN)
    try:
        assert run(AGAIN) == 0
        assert "interrupted" not in capsys.readouterr().err
        assert run(["run", "--resume", RUN]) == 2
        assert f"another process is at work on {RUN}" in capsys.readouterr().err
    finally:
        lock.release(held)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sgd"], "takes RECIPE from the run itself"),
        (["--set", "optimizer.lr=0.05"], "takes --set from the run itself"),
        (["--seed", "7"], "takes --seed from the run itself"),
        (["--seed", "0"], "takes --seed from the run itself"),
        (["--out", "elsewhere"], "takes --out from the run itself"),
        (["--max-steps", "5"], "takes --max-steps from the run itself"),
        (["--new"], "takes --new from the run itself"),
    ],
)
def test_what_a_run_takes_from_itself_is_not_given_beside_resume(here, capsys, words, said):
    before = files(here)
    assert run(["run", "--resume", RUN, *words]) == 2
    assert f"--resume {said}: leave it out" in capsys.readouterr().err
    assert files(here) == before


@pytest.mark.parametrize("flag", ["--skip-damaged", "--other-version"])
def test_what_goes_with_resume_is_not_given_without_it(here, capsys, flag):
    assert run(["run", "sgd", flag]) == 2
    assert "go with --resume" in capsys.readouterr().err
    assert new_ones(here) == []


def test_a_finished_run_is_not_gone_on_with(here, capsys):
    path = f"runs/sgd/{FINISHED}"
    before = files(here)
    assert run(["run", "--resume", path]) == 6
    assert f"it is finished; `atentdsl eval {path}` evaluates it again" in capsys.readouterr().err
    assert files(here) == before


@pytest.mark.parametrize("path", ["runs", "absent", "runs/sgd"])
def test_a_folder_that_is_no_run_is_exit_code_2(here, capsys, path):
    before = files(here)
    assert run(["run", "--resume", path]) == 2
    assert f"{path} is no run directory: missing" in capsys.readouterr().err
    assert files(here) == before


def test_a_run_gone_on_with_is_the_one_that_was_not_interrupted(here, capsys):
    assert run(["run", "--resume", RUN]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == RUN
    assert evaluation(here / RUN) == evaluation(here / "runs/sgd" / FINISHED)
    (resumed,) = json.loads((here / RUN / "manifest.json").read_text())["resumed"]
    assert resumed["step"] == 3
