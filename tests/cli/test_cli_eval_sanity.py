"""`atentdsl eval --sanity`, `--curves` and `--first`: what is printed and written, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch

import atentdsl
from atentdsl.cli import run
from atentdsl.cli.tables import evaluation_table
from atentdsl.evaluation import curves, sanity
from atentdsl.reporting.curves import FILES

NETS = """
import torch
from sklearn.datasets import load_digits
from torch import nn

digits = load_digits()
x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))
with torch.no_grad():  # the least squares of logits against 10 times the label's vector
    LINEAR[1].weight.copy_(torch.linalg.lstsq(x, 10 * nn.functional.one_hot(y, 10).float(), driver="gelsd").solution.T)


class Rounded(nn.Module):
    def forward(self, x):
        return LINEAR((9 * x).round() / 9)


class Cut(nn.Module):
    def forward(self, x):
        return LINEAR(x.detach())


ROUNDED, CUT = Rounded(), Cut()
"""
EVAL = ["--recipe", "sgd", "--device", "cpu", "--attack", "pgd-2", "--set", "evaluate.radius=0.1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a network of no gradient and one with; fewer images and queries than a user has."""
    import sys

    (tmp_path / "sane_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sanity.sanity.__kwdefaults__, "queries", 100)
    monkeypatch.setitem(curves.curves.__kwdefaults__, "steps", (1, 5, 10))
    yield tmp_path
    sys.modules.pop("sane_nets", None)


@pytest.mark.parametrize("network", ["ROUNDED", "CUT"])
def test_what_fails_stands_on_top(network, here, capsys):
    assert run(["eval", f"sane_nets:{network}", *EVAL, "--sanity"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert next(iter(found)) == "warnings"
    assert [warning.split(":")[0] for warning in found["warnings"]][:2] == ["sanity black-box", "sanity unbounded"]
    outcome = {check["check"]: check["passed"] for check in found["sanity"]}
    assert list(outcome) == ["black-box", "unbounded", "more-steps", "noise"]
    assert not outcome["black-box"]
    assert not outcome["unbounded"]
    assert found["n"] > 256
    assert {check["n"] for check in found["sanity"]} == {256}
    assert evaluation_table("mine", found).startswith("WARNING: sanity black-box")


def test_where_nothing_fails_there_is_no_warning_and_the_figures_are_those_without_checks(here, capsys):
    words = ["eval", "sane_nets:LINEAR", *EVAL, "--first", "60"]
    assert run(words) == 0
    plain = json.loads(capsys.readouterr().out)
    assert run([*words, "--sanity"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(check.pop("passed") for check in found.pop("sanity"))
    assert found == plain
    assert "warnings" not in found
    assert (found["n"], found["first"]) == (60, 60)


def test_curves_are_written_and_a_folder_of_other_things_is_refused_before_any_work(here, capsys):
    words = ["eval", "sane_nets:LINEAR", *EVAL, "--first", "40"]
    assert run([*words, "--curves", "out/drawn"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in (here / "out" / "drawn").iterdir()) == sorted(FILES)
    written = json.loads((here / "out" / "drawn" / "curves.json").read_text())
    assert (written["n"], written["norm"], written["radius"], written["split"]) == (40, "linf", 0.1, "test")
    assert found["curves"]["folder"] == "out/drawn"
    assert found["curves"]["n"] == 40
    for axis in ("epsilon", "steps", "restarts"):
        assert found["curves"][axis]["verdict"] == written["curves"][axis]["verdict"]
    assert written["curves"]["epsilon"]["points"][0]["accuracy"] == found["clean_accuracy"]
    assert found.get("warnings") == written.get("warnings")
    (here / "out" / "mine.txt").touch()
    assert run([*words, "--curves", "out"]) == 5
    said = capsys.readouterr().err
    assert "out cannot be written: it holds `drawn`" in said
    assert "name an empty folder by --curves" in said


def test_what_cannot_be_asked_is_refused_with_the_mend(here, capsys):
    assert run(["eval", "sane_nets:LINEAR", *EVAL[:-1], "evaluate.radius=0", "--sanity"]) == 2
    assert "set `evaluate.radius` above 0" in capsys.readouterr().err
    assert run(["eval", "sane_nets:LINEAR", *EVAL, "--first", "0"]) == 2
    assert "--first" in capsys.readouterr().err
    with pytest.raises(ValueError, match="at least one image is wanted, not 0"):
        atentdsl.evaluate("sgd", model=torch.nn.Flatten(), first=0)


def test_a_run_that_awaits_its_evaluation_keeps_awaiting_it(here, capsys):
    made = atentdsl.train("sgd", overrides=["optimizer.epochs=1", "model.name=mlp"], max_steps=2, out=here, quiet=True)
    (made.path / "evaluation.json").unlink()
    assert run(["eval", str(made.path), "--first", "9", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 9
    assert not (made.path / "evaluation.json").exists()


def test_a_transfer_source_is_tried_from_python(here):
    torch.manual_seed(0)
    model, other = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)) for _ in range(2))
    quick = {"first": 20, "device": "cpu", "overrides": ["evaluate.attacks=['pgd-1']"]}
    found = atentdsl.evaluate("sgd", model=model, sanity=True, transfer_from=other, **quick)
    assert [check["check"] for check in found["sanity"]][:2] == ["black-box", "transfer"]
