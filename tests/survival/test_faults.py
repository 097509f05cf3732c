"""Faults of what a run reads, and of the memory it computes in: each has its message and its exit code."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from survival.killing import ENVIRONMENT, outcome, same
from survival.signalling import signalled

import atentdsl
from atentdsl.cli import run
from atentdsl.runtime import checkpoint, snapshot
from atentdsl.runtime.errors import CannotResume, WeightsRefused

WORDS = [
    "run", "sgd", "--set", "model.name=mlp", "--set", "optimizer.epochs=2", "--set", "evaluate.attacks=['pgd-2']",
    "--checkpoint-steps", "6", "--device", "cpu",
]  # fmt: skip
CADENCE = ["--checkpoint-steps", "6"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole")
    assert run([*WORDS, "--out", str(out)]) == 0
    return outcome(next(out.glob("sgd/*")))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    process, _, said, _ = signalled(folder, "in validation", signal.SIGTERM, words=WORDS)
    assert process.returncode == 130, said
    return next(folder.glob("runs/sgd/*"))


@pytest.fixture
def interrupted(stopped, tmp_path):
    """A copy of a run that a signal stopped in its first validation, with two checkpoints."""
    made = shutil.copytree(stopped, tmp_path / "runs/sgd/1")
    assert [snapshot.step_of(p) for p in snapshot.listed(made / "checkpoints")] == [20, 18]
    return made


def whole_run(interrupted):
    """A checkpoint that another process has kept: the network of a short run of the same recipe."""
    out = interrupted.parents[2] / "short"
    assert run([*WORDS, "--max-steps", "1", "--out", str(out)]) == 0
    return next(out.glob("sgd/*/checkpoints/best.safetensors"))


def resumed(made, *words):
    return run(["run", "--resume", str(made), *CADENCE, *words])


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_offered(interrupted, whole, capsys):
    newest, before = snapshot.listed(interrupted / "checkpoints")
    data = bytearray(newest.read_bytes())
    place = random.Random(1).randrange(8 * len(data))
    data[place // 8] ^= 1 << place % 8
    newest.write_bytes(data)
    assert resumed(interrupted) == 6
    said = capsys.readouterr().err
    assert str(newest) in said
    assert str(before) in said
    assert "--skip-damaged" in said
    assert newest.read_bytes() == data, "nothing is deleted by looking"
    assert resumed(interrupted, "--skip-damaged") == 0
    ended = outcome(interrupted)
    assert f"checkpoints/{newest.name}.damaged" in ended["files"]
    ended["files"].remove(f"checkpoints/{newest.name}.damaged")
    same(whole, ended)


def test_a_truncated_checkpoint_is_the_same_to_it(interrupted, whole, capsys):
    newest, _ = snapshot.listed(interrupted / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:-1])
    assert resumed(interrupted) == 6
    assert "--skip-damaged" in capsys.readouterr().err
    assert resumed(interrupted, "--skip-damaged") == 0


def test_with_no_good_checkpoint_left_nothing_is_made_up(interrupted, capsys):
    for path in snapshot.listed(interrupted / "checkpoints"):
        path.write_bytes(path.read_bytes()[:100])
    assert resumed(interrupted, "--skip-damaged") == 6
    assert "--skip-damaged" not in capsys.readouterr().err


def test_the_checkpoint_of_another_recipe_is_refused(interrupted, tmp_path, capsys):
    other = tmp_path / "other"
    words = [*WORDS, "--out", str(other), "--set", "optimizer.lr=0.05", "--max-steps", "24"]
    assert run(words) == 0
    (theirs,) = other.glob("sgd/*/checkpoints/step-*")
    shutil.copy(theirs, interrupted / "checkpoints")
    assert resumed(interrupted) == 6
    assert "it is of another recipe" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["torch", "atentdsl"])
def test_the_checkpoint_of_another_version_is_refused_unless_asked_for(interrupted, whole, capsys, package):
    newest, _ = snapshot.listed(interrupted / "checkpoints")
    tensors, texts = checkpoint.read(newest, sealed=True)
    identity = {**json.loads(texts["identity"]), package: "0.0.9"}
    checkpoint.write(newest, tensors, {**texts, "identity": json.dumps(identity)})
    assert resumed(interrupted) == 6
    said = capsys.readouterr().err
    assert f"written with {package} 0.0.9" in said
    assert "--other-version" in said
    assert resumed(interrupted, "--other-version") == 0
    same(whole, outcome(interrupted))


def test_a_later_format_is_refused(interrupted, capsys):
    newest, _ = snapshot.listed(interrupted / "checkpoints")
    tensors, texts = checkpoint.read(newest, sealed=True)
    identity = {**json.loads(texts["identity"]), "format": "2"}
    checkpoint.write(newest, tensors, {**texts, "identity": json.dumps(identity)})
    assert resumed(interrupted, "--other-version") == 6
    assert "format 2" in capsys.readouterr().err


def test_a_changed_recipe_is_refused(interrupted, capsys):
    path = interrupted / "recipe.toml"
    path.write_text(path.read_text().replace("epochs = 2", "epochs = 3"))
    assert resumed(interrupted) == 6
    assert "recipe.toml was changed" in capsys.readouterr().err


def test_code_written_into_a_run_does_not_run(interrupted, tmp_path, capsys):
    path, ran = interrupted / "module.py", tmp_path / "ran"
    path.write_text(path.read_text() + f"\nopen({str(ran)!r}, 'w').close()\n")
    assert resumed(interrupted) == 6
    assert "module.py is not what this version makes" in capsys.readouterr().err
    assert not ran.exists()


def test_other_data_are_refused_with_both_hashes(tmp_path):
    x, y = torch.rand(120, 1, 8, 8), torch.arange(120) % 10
    data = torch.utils.data.TensorDataset(x, y)
    options = {"overrides": ["model.name=mlp", "evaluate.attacks=['pgd-2']"], "out": tmp_path, "quiet": True}
    made = atentdsl.train("sgd", data=data, max_steps=2, **options)
    (made.path / "evaluation.json").unlink()
    x[5] += 0.001
    expected = json.loads((made.path / "manifest.json").read_text())["data_sha256"]
    with pytest.raises(CannotResume) as caught:
        atentdsl.resume(made.path, data=torch.utils.data.TensorDataset(x.clamp(0, 1), y), quiet=True)
    assert any(digest in str(caught.value) for digest in expected.values())
    with pytest.raises(ValueError, match="data of the caller's own"):
        atentdsl.resume(made.path, quiet=True)
    x[5] -= 0.001


@pytest.mark.parametrize(
    ("key", "words"),
    [
        # What is measured is small beside what is trained on.
        ("data.batch", ["--set", "data.batch=1200", "--set", "evaluate.batch=32", "--max-steps", "20"]),
        pytest.param(
            "evaluate.batch",
            ["--set", "evaluate.restarts=2", "--set", "data.batch=8", "--max-steps", "1"],
            marks=pytest.mark.long,  # the same by a raised error: `tests/evaluation/test_cascade.py`
        ),
    ],
)
def test_exhausted_memory_names_a_batch_that_fits(tmp_path, key, words):
    """The limit is lowered until the run fails; with the batch that is named then, it does not fail at that limit."""
    # In float32 wherever it is run: the limits are megabytes of it.
    settings = ["optimizer.epochs=1", "evaluate.attacks=['pgd-2']", "compile.precision='float32'"]
    words = ["run", "sgd", *(word for setting in settings for word in ("--set", setting)), "--new", *words]

    def limited(megabytes, *more):
        # A fresh process: one that was forked has room in what it was forked with.
        child = [sys.executable, str(Path(__file__).with_name("exhausted.py")), str(megabytes)]
        done = subprocess.run(
            [*child, *words, *more],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        return done.returncode, done.stderr

    for megabytes in (70, 80, 60, 40) if key == "data.batch" else (25, 20, 15, 10):
        code, said = limited(megabytes)
        if code == 0:
            continue
        assert code == 7, said
        assert "memory is exhausted" in said
        fits = re.search(rf"(\d+) fit: `--set {re.escape(key)}=\1`", said)
        if fits is None:
            continue
        code, said = limited(megabytes, "--set", f"{key}={fits[1]}")
        assert code == 0 or key not in said, said
        if code == 0:
            return
    pytest.fail(f"no limit was met at which {key} matters")


def test_evaluating_a_run_that_is_not_over_leaves_it_to_be_gone_on_with(interrupted, whole, capsys):
    # It was stopped in its first validation, before there was a best: what is evaluated here stands for it.
    shutil.copy(whole_run(interrupted), interrupted / "checkpoints/best.safetensors")
    assert run(["eval", str(interrupted)]) == 0
    assert "clean_accuracy" in capsys.readouterr().out
    assert not (interrupted / "evaluation.json").exists()
    assert resumed(interrupted) == 0
    same(whole, outcome(interrupted))


@pytest.mark.parametrize("damage", [lambda text: text[:200], lambda text: "{}", lambda text: ""])
def test_a_damaged_manifest_is_named(interrupted, capsys, damage):
    path = interrupted / "manifest.json"
    path.write_text(damage(path.read_text()))
    assert resumed(interrupted) == 2
    assert "missing a manifest.json that can be read" in capsys.readouterr().err


def test_a_run_of_the_callers_own_network_is_asked_for_it(interrupted, capsys):
    path = interrupted / "manifest.json"
    path.write_text(path.read_text().replace('"model": "mlp"', '"model": "given by the caller"'))
    assert resumed(interrupted) == 2
    assert "pass it as `model`" in capsys.readouterr().err


def test_test_images_that_are_left_out_are_asked_for(tmp_path):
    data = torch.utils.data.TensorDataset(torch.rand(120, 1, 8, 8), torch.arange(120) % 10)
    options = {"overrides": ["model.name=mlp", "evaluate.attacks=['pgd-2']"], "out": tmp_path, "quiet": True}
    made = atentdsl.train("sgd", data=data, test=data, max_steps=2, **options)
    (made.path / "evaluation.json").unlink()
    with pytest.raises(CannotResume, match="pass them as `test`"):
        atentdsl.resume(made.path, data=data, quiet=True)
    assert atentdsl.resume(made.path, data=data, test=data, quiet=True).evaluation == made.evaluation


def test_weights_that_are_not_finite_to_begin_with_are_refused_and_a_mask_is_not(tmp_path):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    network.register_buffer("mask", torch.full((2,), -torch.inf))
    options = {"overrides": ["evaluate.attacks=['pgd-2']"], "out": tmp_path, "quiet": True, "max_steps": 2}
    atentdsl.train("sgd", model=network, **options)
    with torch.no_grad():
        network[1].bias[3] = torch.nan
    with pytest.raises(WeightsRefused, match=r"the network's 1\.bias is not finite before the first step"):
        atentdsl.train("sgd", model=network, **options)


def test_initial_weights_that_changed_before_the_first_checkpoint_are_refused(tmp_path, capsys):
    words = [*WORDS, "--max-steps", "2", "--out", str(tmp_path)]
    assert run(words) == 0
    (first,) = tmp_path.glob("sgd/*")
    weights = shutil.copy(first / "checkpoints/best.safetensors", tmp_path / "begin.safetensors")
    assert run([*words, "--set", f"model.init='{weights}'"]) == 0
    (made,) = set(tmp_path.glob("sgd/*")) - {first}
    (made / "evaluation.json").unlink()
    for path in snapshot.listed(made / "checkpoints"):
        path.unlink()
    shutil.copy(made / "checkpoints/best.safetensors", weights)
    assert resumed(made) == 6
    assert "are not those it began with" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["run", "nothere.toml"], ["run", "sgd", "--max-steps", "0"]])
def test_an_error_that_cannot_be_written_keeps_its_exit_code(tmp_path, words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "atentdsl", *words], cwd=tmp_path, stderr=full, check=False)
    assert done.returncode == 2


def test_progress_that_nobody_can_read_stops_no_run(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "atentdsl", *WORDS, "--out", "runs"],
            cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=full, check=False,
        )  # fmt: skip
    assert done.returncode == 0
