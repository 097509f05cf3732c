"""`atentdsl certify`: what it writes, what it refuses, and that an interrupted one goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

import atentdsl
from atentdsl.cli import run
from atentdsl.evaluation.certification import radius
from atentdsl.evaluation.intervals import interval
from atentdsl.reporting import certified as reporting
from atentdsl.runtime import lock
from atentdsl.runtime.errors import NotGiven

FEW = ["--sigma", "0.12", "--n", "300", "--first", "6", "--device", "cpu", "--batch", "500"]
FILES = [
    "certified.csv",
    "certified.md",
    "certified.png",
    "certified.svg",
    "images.csv",
    "settings.json",
    "summary.json",
]
FOLDER = "certification/sigma-0.12-n0-100-n-300-alpha-0.001-test-seed-0-first-6"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    overrides = ["model.name=mlp", "optimizer.epochs=1", "evaluate.attacks=['pgd-2']"]
    out = tmp_path_factory.mktemp("runs")
    return atentdsl.train("sgd", overrides=overrides, quiet=True, out=out, device="cpu").path


@pytest.fixture
def drawn(trained, tmp_path, monkeypatch):
    """A run's directory, in the working directory; figures are drawn."""
    shutil.copytree(trained, tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "one"


@pytest.fixture
def here(drawn, monkeypatch):
    """The same without figures, which take longer than these certificates."""
    monkeypatch.setattr(reporting, "figure", lambda *_: [])
    return drawn


def lines(path, seconds: bool = False) -> list[list[str]]:
    """The cells of a CSV file, without the time that each line took."""
    return [line.split(",")[: None if seconds else -1] for line in path.read_text().splitlines()]


def certified(*words: str) -> int:
    return run(["certify", "one", *words])


def test_it_writes_a_line_an_image_a_table_a_figure_and_every_setting(drawn, capsys):
    before = {path: path.read_bytes() for path in drawn.rglob("*") if path.is_file()}
    assert certified(*FEW) == 0
    said = capsys.readouterr().out
    folder = drawn / FOLDER
    assert said.splitlines()[-1] == f"one/{FOLDER}"
    assert sorted(path.name for path in folder.iterdir() if path.name != lock.LOCK) == FILES
    assert {path: path.read_bytes() for path in before} == before
    header, *rows = lines(folder / "images.csv", seconds=True)
    assert header == ["index", "label", "prediction", "radius", "correct", "n0_votes", "n_votes", "seconds"]
    assert [int(row[0]) for row in rows] == [*range(6)]
    for _, label, prediction, found, correct, n0_votes, n_votes, seconds in rows:
        assert (float(found) > 0) == (int(prediction) >= 0)
        assert int(correct) == (label == prediction)
        assert 0 <= int(n0_votes) <= 100
        assert 0 <= int(n_votes) <= 300
        assert float(seconds) > 0
        assert float(found) <= radius(0.001 ** (1 / 300), 0.12)
    summary = json.loads((folder / "summary.json").read_text())
    told = {"sigma": 0.12, "n0": 100, "n": 300, "alpha": 0.001, "seed": 0, "split": "test", "images": 6, "batch": 500}
    assert summary.items() >= told.items()
    assert (summary["data"], summary["device"]) == ("digits", "cpu")
    assert summary["versions"]["torch"]
    assert summary["abstained"] == sum(row[2] == "-1" for row in rows)
    assert [one["radius"] for one in summary["certified"]] == [0.0, 0.06, 0.12, 0.18]
    for one in summary["certified"]:
        assert one["certified"] == sum(row[4] == "1" and float(row[3]) >= one["radius"] for row in rows)
        assert (one["accuracy"], (one["low"], one["high"])) == (one["certified"] / 6, interval(one["certified"], 6))
    table = (folder / "certified.md").read_text()
    assert table in said
    assert "6 images (test)" in table
    assert f"| 0.06 | {100 * summary['certified'][1]['accuracy']:.1f} % |" in table
    assert [float(row[0]) for row in lines(folder / "certified.csv")[1:]] == [0.0, 0.06, 0.12, 0.18]
    assert (folder / "certified.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "certified.svg").read_text()


def test_radii_split_seed_and_batch_as_they_are_asked_for(drawn, capsys):
    words = [*FEW[:-2], "--radius", "0.2", "--radius", "0.1", "--split", "validation"]
    assert certified(*words, "--batch", "1", "--out", "a") == 0
    assert certified(*words, "--out", "b") == 0
    assert certified(*words, "--out", "c", "--seed", "1") == 0
    a, b, c = (drawn.parent / name for name in "abc")
    assert lines(a / "images.csv") == lines(b / "images.csv") != lines(c / "images.csv")
    assert [row[0] for row in lines(a / "certified.csv")[1:]] == ["0.0", "0.1", "0.2"]
    summary = json.loads((b / "summary.json").read_text())
    assert (summary["split"], summary["seed"]) == ("validation", 0)
    assert summary["batch"] >= 32
    for name in ("certified.png", "certified.svg", "certified.md"):
        assert (a / name).read_bytes() == (b / name).read_bytes()
    assert not (drawn / "certification").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--n", "10000", "--radius", "0.435"], "at most radius 0.384 at sigma 0.12, alpha 0.001\n0.435 is asked for: "
         "take --n 47808 or more"),
        (["--n", "9"], "take --n 10 or more"),
        (["--alpha", "1"], "alpha must lie between 0 and 1"),
        (["--sigma", "-1"], "sigma must be a positive number"),
        (["--radius", "nan"], "radii must not be negative"),
        (["--radius", "9"], "no number of draws certifies a radius of 9"),
        (["--batch", "0"], "neither a number from 1 on nor `auto`"),
        (["--n0", "0"], "--n0"),
    ],
)  # fmt: skip
def test_what_cannot_be_certified_is_refused_before_any_work(here, capsys, monkeypatch, words, said):
    from atentdsl.runtime import datasets

    monkeypatch.setattr(datasets, "load", lambda *_: pytest.fail("the data were read"))
    assert certified("--sigma", "0.12", *words) == 2
    assert said in capsys.readouterr().err
    assert not (here / "certification").exists()


def test_a_finished_one_is_only_reported_again(here, capsys, monkeypatch):
    assert certified(*FEW) == 0
    first = (here / FOLDER / "images.csv").read_bytes()
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda *_: pytest.fail("the network was asked"))
    assert certified(*FEW, "--radius", "0.1") == 0
    assert (here / FOLDER / "images.csv").read_bytes() == first
    assert "| 0.1 |" in capsys.readouterr().out


def test_other_weights_are_other_settings(here, capsys):
    from safetensors.torch import load_file, save_file

    assert certified(*FEW, "--out", "kept") == 0
    moved = {name: tensor + 0.1 for name, tensor in load_file(here / "checkpoints/best.safetensors").items()}
    save_file(moved, "moved.safetensors")
    assert certified(*FEW, "--out", "kept", "--set", "model.init=moved.safetensors") == 6
    assert "it was begun with weights_sha256" in capsys.readouterr().err
    assert certified(*FEW, "--out", "moved", "--set", "model.init=moved.safetensors") == 0


def test_a_link_does_not_lead_out_of_the_run(here, capsys):
    elsewhere = here.parent / "elsewhere"
    elsewhere.mkdir()
    (here / "certification").symlink_to(elsewhere)
    assert certified(*FEW) == 5
    assert "leads out of the run's directory" in capsys.readouterr().err
    assert [*elsewhere.iterdir()] == []


def counting(monkeypatch, number: int, then) -> None:
    """From the forward with that number on, of the network's first layer, `then` makes its output."""
    forward, seen = torch.nn.Linear.forward, []

    def counted(self, x):
        made = forward(self, x)
        seen.extend([None] * (self.in_features == 64))
        return then(made) if len(seen) > number else made

    monkeypatch.setattr(torch.nn.Linear, "forward", counted)


def test_an_image_with_logits_that_are_not_finite_is_named(here, capsys, monkeypatch):
    counting(monkeypatch, 2, lambda made: made * float("nan"))
    assert certified(*FEW[:-1], "400") == 2
    assert "image 2 of the images under noise are not finite" in capsys.readouterr().err
    assert len(lines(here / FOLDER / "images.csv")) == 3


def killed(*words: str, lines: int, path) -> int:
    """The exit code of a process that is killed as soon as so many lines are there."""
    command = [sys.executable, "-m", "atentdsl", "certify", "one", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 100
    while not (path.exists() and path.read_bytes().count(b"\n") >= lines) and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.002)
    process.kill()
    return process.wait()


def test_interrupted_and_killed_it_goes_on_to_the_same(here, capsys, monkeypatch):
    words = ["--sigma", "0.2", "--n", "900", "--first", "80", "--device", "cpu", "--batch"]
    path = here.parent / "cut/images.csv"
    with monkeypatch.context() as patched:
        counting(patched, 50, lambda made: os.kill(os.getpid(), signal.SIGINT) or patched.undo() or made)
        assert certified(*words, "100", "--out", "cut") == 130
    done = len(lines(path)) - 1
    assert done == 5  # of ten batches each; the sixth image's first was the signal's, and its votes are lost
    said = capsys.readouterr().err
    assert f"interrupted after {done} of 80 images, which are kept in cut; the same command again goes on" in said
    assert killed(*words, "20", "--out", "cut", lines=done + 4, path=path) == -signal.SIGKILL
    kept = path.read_bytes()
    assert kept.count(b"\n") < 81
    assert certified(*words, "1000", "--out", "cut") == 0
    assert path.read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])
    assert certified(*words, "1000", "--out", "whole") == 0
    assert lines(path) == lines(here.parent / "whole/images.csv")


def test_from_python_with_a_network_and_images_of_ones_own(tmp_path):
    images = torch.utils.data.TensorDataset(torch.rand(4, 1, 8, 8), torch.arange(4) % 2)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).train()
    options = {"sigma": 0.25, "n": 60, "device": "cpu"}
    state = torch.get_rng_state()
    found = atentdsl.certify("sgd", model=network, data=images, out=tmp_path / "c", **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert (found["images"], found["split"], found["data"]) == (4, *["given by the caller"] * 2)
    with pytest.raises(ValueError, match="pass a folder"):
        atentdsl.certify("sgd", model=network, **options)
    with pytest.raises(ValueError, match="no weights"):
        atentdsl.certify("sgd", out=tmp_path / "d", **options)
    run = atentdsl.train("sgd", model=network, data=images, out=tmp_path / "runs", max_steps=1, quiet=True)
    with pytest.raises(NotGiven, match="pass images as `data`"):
        atentdsl.certify(run, **options)
    with pytest.raises(NotGiven, match="pass it as `model`"):
        atentdsl.certify(run, data=images, **options)
    assert atentdsl.certify(run, model=network, data=images, **options)["folder"].startswith(str(run.path))
