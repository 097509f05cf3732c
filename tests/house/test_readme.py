"""What the README tells a newcomer to type does what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from forked import COMMAND_LINE, ran

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
    return [line.split("  #")[0].strip() for line in lines]


def test_the_two_commands_head_the_readme():
    assert commands()[:2] == ["make run", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    assert "$(BIN)/atentdsl run recipes/atent_linf.toml" in makefile


def typed(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)
    assert words[0] == "atentdsl", f"a README command that this test cannot type: {line}"
    return ran(COMMAND_LINE, words[1:], folder, os.environ, timeout=400)


def test_every_command_of_the_readme(tmp_path):
    """In the README's order, in one empty folder; `make` targets are what CI and the next test run."""
    lines = [line for line in commands() if not line.startswith("make ")]
    assert len(lines) >= 8
    run = ""
    for line in lines:
        quick = line.replace("RUN", run)
        if "--resume" in line:
            (tmp_path / run / "evaluation.json").unlink()  # as a run that was interrupted in its evaluation
        elif line.startswith("atentdsl run "):
            quick += " --max-steps 3"
        elif line.startswith("atentdsl bench "):
            quick += " --rounds 1"
        done = typed(quick, tmp_path)
        assert done.returncode == 0, f"{quick}\n{done.stdout}{done.stderr}"
        if line.startswith("atentdsl run "):
            run = done.stdout.splitlines()[-1]
            assert (tmp_path / run / "evaluation.json").is_file()


def test_python_of_the_readme(tmp_path):
    for block in blocks("python"):
        (tmp_path / "block.py").write_text(block)
        done = ran(tmp_path / "block.py", [], tmp_path, os.environ)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def robust_accuracy(line: str, folder: Path, clean: float) -> float:
    """Of the test split under the attack that the README names; the clean accuracy has to be above `clean`."""
    done = typed(line, folder)
    assert done.returncode == 0, done.stderr
    evaluation = json.loads((folder / done.stdout.splitlines()[-1] / "evaluation.json").read_text())
    attack = evaluation["attacks"]["pgd-20"]
    assert evaluation["split"] == "test"
    assert evaluation["clean_accuracy"] > clean
    assert (attack["norm"], attack["radius"], attack["steps"], attack["restarts"]) == ("linf", 0.15, 20, 1)
    return float(attack["robust_accuracy"])


@pytest.mark.long
@pytest.mark.parametrize(("recipe", "least", "most"), [("atent_linf", 0.8, 1.0), ("sgd", 0.0, 0.25)])
def test_the_flagship_is_robust_and_plain_training_is_not(tmp_path, recipe, least, most):
    """What `make run` runs, as it runs it."""
    assert least <= robust_accuracy(f"atentdsl run recipes/{recipe}.toml", tmp_path, clean=0.95) <= most


@pytest.mark.parametrize(("recipe", "epochs", "least", "most"), [("atent_linf", 8, 0.5, 1.0), ("sgd", 5, 0.0, 0.25)])
def test_a_quarter_of_its_training_tells_the_flagship_from_plain_training(tmp_path, recipe, epochs, least, most):
    line = f"atentdsl run recipes/{recipe}.toml --set optimizer.epochs={epochs}"
    assert least <= robust_accuracy(line, tmp_path, clean=0.9) <= most
