"""`atentdsl.export`: what it writes loads without this package, to the same bits, or is not written at all."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

import atentdsl
from atentdsl.api import exporting
from atentdsl.cli import run as command
from atentdsl.runtime import checkpoint, datasets, directory, lock, models
from atentdsl.runtime.errors import ArchitectureUnfit, CannotExport, CheckpointBroken, NotARunDirectory, StorageFailed

ROOT = Path(__file__).parents[2]
BRIEF = ["optimizer.epochs=1", "evaluate.attacks=['pgd-1']"]
NETS = """
import os
from torch import nn

os.environ["OWN_NETS_RAN"] = "yes"


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""
# Loads each folder's model.py as whoever was given it does, without this package; leaves what it answers.
ALONE = """
import sys

sys.modules["atentdsl"] = None  # an import of it fails
import importlib.util
import torch

torch.set_num_threads(1)
given = torch.load("images.pt")
answers = {}
for name, x in given.items():
    spec = importlib.util.spec_from_file_location(f"loaded_{name}", f"{name}/model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = module.load_model()
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(model, torch.nn.Module) and not model.training
    model = model.to(torch.device("cpu"))
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    x = x.requires_grad_()
    answers[name] = model(x)
    assert torch.autograd.grad(answers[name].sum(), x)[0].shape == x.shape
    answers[name] = answers[name].detach()
torch.save(answers, "answers.pt")
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return atentdsl.train("sgd", overrides=[*BRIEF, "model.name=mlp"], out=root, max_steps=3, quiet=True)


@pytest.fixture
def made(finished, tmp_path):
    """A copy of the run's directory, to be spoilt."""
    return Path(shutil.copytree(finished.path, tmp_path / "run"))


def as_if_trained(finished, folder, name, data):
    """The run, as if it had trained that network on that data set: its directory, and the network."""
    path = Path(shutil.copytree(finished.path, folder))
    recipe = (path / "recipe.toml").read_text()
    recipe = recipe.replace('name = "mlp"', f'name = "{name}"').replace('name = "digits"', f'name = "{data}"')
    (path / "recipe.toml").write_text(recipe)
    known = datasets.description(data)
    n = known.shape[0]
    network = models.build(name, known.shape, known.classes, [0.3] * n, [0.4] * n, seed=7)
    with torch.no_grad():
        for value in network.state_dict().values():  # some are constants where they begin: batch norm's, a last layer
            if value.is_floating_point():
                value.add_(torch.rand(value.shape) * 0.1)
    checkpoint.save(network, path / "checkpoints/best.safetensors")
    return path, network.eval(), known.shape


def alone(folder, images, **environment):
    """What the networks exported to `folder` answer to images, by a process that has no such package."""
    torch.save(images, folder / "images.pt")
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "answers.pt")


def imported(path):
    spec = importlib.util.spec_from_file_location("exported_model", path / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def well_formed(folder):
    for words in (["check"], ["format", "--check"]):
        line = [sys.executable, "-m", "ruff", *words, "--no-cache", "--config", str(ROOT / "pyproject.toml"), "."]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_installed_network_loads_without_this_package_to_the_same_bits(finished, tmp_path):
    images, expected, given = {}, {}, tmp_path / "given"
    for name in models.names():
        data = {"cnn7": "mnist", "lenet5": "mnist", "preact_resnet18": "cifar10"}.get(name, "digits")
        path, network, shape = as_if_trained(finished, tmp_path / "runs" / name, name, data)
        assert atentdsl.export(path, given / name) == given / name
        images[name] = torch.rand(2, *shape)
        expected[name] = network(images[name])
        assert expected[name].unique().numel() == expected[name].numel()
    answers = alone(given, images)
    assert answers.keys() == expected.keys() == set(models.names())
    for name, logits in expected.items():
        assert logits.dtype == answers[name].dtype == torch.float32
        assert torch.equal(answers[name], logits), name
    well_formed(given)


def test_a_trained_network_is_the_run_s_and_the_text_is_the_same_each_time(finished, tmp_path):
    first = atentdsl.export(finished, tmp_path / "first")
    (tmp_path / "second").mkdir()  # an empty folder is taken
    second = atentdsl.export(finished.path, tmp_path / "second")
    assert content(first) == content(second)
    assert sorted(content(first)) == ["README.md", "model.py", "model_info.json", "weights.safetensors"]
    kept = finished.path / "checkpoints/best.safetensors"
    assert (first / "weights.safetensors").read_bytes() == kept.read_bytes()
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(imported(first).load_model()(x), finished.model.eval()(x))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"], "nothing is left beside them"


def test_what_is_said_is_what_was_measured(finished, made, tmp_path):
    folder = atentdsl.export(finished, tmp_path / "given")
    clean, attack = finished.evaluation["clean_accuracy"], finished.evaluation["attacks"]["pgd-1"]
    text = (folder / "README.md").read_text()
    manifest = json.loads((made / "manifest.json").read_text())
    settings = "(norm linf, radius 0.15, steps 1, step size 0.375, loss cross_entropy, start uniform, restarts 1)"
    for said in (
        f"clean accuracy {100 * clean:.2f} %",
        f"pgd-1: {100 * attack['robust_accuracy']:.2f} % withstand it {settings}",
        "359 test images",
        manifest["recipe_sha256"],
        f"torch {manifest['versions']['torch']}",
    ):
        assert said in text
    info = json.loads((folder / "model_info.json").read_text())
    assert (info["clean_acc"], info["eps"], info["dataset"]) == (f"{100 * clean:.2f}", 0.15, "digits")
    assert info["architecture"] == "mlp"
    assert "autoattack_acc" not in info, "it was not run"
    assert info["link"] is None
    evaluation = finished.evaluation | {"attacks": {"autoattack": {**attack, "robust_accuracy": 0.5}}}
    (made / "evaluation.json").write_text(json.dumps(evaluation))
    measured = json.loads((atentdsl.export(made, tmp_path / "measured") / "model_info.json").read_text())
    assert measured["autoattack_acc"] == "50.00"
    (made / "evaluation.json").write_text(json.dumps(evaluation | {"split": "validation"}))
    held = json.loads((atentdsl.export(made, tmp_path / "held") / "model_info.json").read_text())
    assert held["clean_acc"] is None
    assert "autoattack_acc" not in held


def test_a_benchmark_of_robustbench_is_named_where_it_has_one(finished, tmp_path):
    path, _, _ = as_if_trained(finished, tmp_path / "run", "preact_resnet18", "cifar10")
    text = (atentdsl.export(path, tmp_path / "a") / "README.md").read_text()
    assert 'benchmark(model, dataset="cifar10", threat_model="Linf", eps=0.15)' in text
    evaluation = {**finished.evaluation, "data": "CIFAR-10 (JPEG q75)"}
    (path / "evaluation.json").write_text(json.dumps(evaluation))
    text = (atentdsl.export(path, tmp_path / "b") / "README.md").read_text()
    assert "benchmark(model" not in text
    assert "preact_resnet18 on CIFAR-10 (JPEG q75)" in text


def test_a_network_of_one_s_own_is_imported_by_the_loader_and_not_by_the_export(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_nets.py").write_text(NETS)
    overrides = [*BRIEF, "model.name=own_nets:small"]
    run = atentdsl.train("sgd", overrides=overrides, out=tmp_path / "runs", max_steps=3, quiet=True)
    assert os.environ.pop("OWN_NETS_RAN") == "yes"
    del sys.modules["own_nets"]
    (tmp_path / "own_nets.py").rename(tmp_path / "away.py")
    folder = atentdsl.export(run, tmp_path / "given")
    assert "own_nets" not in sys.modules
    text = (folder / "model.py").read_text()
    assert "Loading it imports the module `own_nets` and runs its code." in text
    assert "imports the module `own_nets`, whose code runs" in (folder / "README.md").read_text()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "away.py").rename(tmp_path / "theirs/own_nets.py")
    x = torch.rand(5, 1, 8, 8)
    answers = alone(tmp_path, {"given": x}, PYTHONPATH=str(tmp_path / "theirs"))
    assert torch.equal(answers["given"], run.model.eval()(x).detach())
    well_formed(folder)


def test_other_weights_than_those_exported_are_refused_by_the_loader(finished, tmp_path):
    folder = atentdsl.export(finished, tmp_path / "given")
    checkpoint.save(models.build("mlp", (1, 8, 8), 10, [0.3], [0.4]), folder / "weights.safetensors")
    with pytest.raises(ValueError, match="not the file that was exported"):
        imported(folder).load_model()


def refused(run, out, reason, error=CannotExport):
    before = content(out.parent) if out.parent.is_dir() and not any(p.is_dir() for p in out.parent.iterdir()) else None
    with pytest.raises(error, match=reason):
        atentdsl.export(run, out)
    assert before is None or content(out.parent) == before


def test_a_run_that_is_not_finished_is_refused_with_what_to_do(made, tmp_path, capsys):
    out = tmp_path / "given"
    (made / "evaluation.json").unlink()
    refused(made, out, "trained and not evaluated; `atentdsl eval ")
    held = lock.hold(made)
    refused(made, out, "a process is at work on it")
    lock.release(held)
    (made / "diverged.safetensors").touch()
    (made / "metrics.jsonl").unlink()
    for snapshot in (made / "checkpoints").glob("step-*"):
        snapshot.unlink()
    refused(made, out, "its training diverged")
    (made / "diverged.safetensors").unlink()
    refused(made, out, "its training is not over; go on with `atentdsl run --resume ")
    assert command(["export", str(made), "--out", str(out)]) == 2
    assert "cannot be exported: its training is not over" in capsys.readouterr().err
    assert not out.exists()


def test_a_checkpoint_that_is_missing_damaged_or_of_another_network_is_refused(made, tmp_path, capsys):
    out, best = tmp_path / "given", made / "checkpoints/best.safetensors"
    checkpoint.save(torch.nn.Linear(2, 2), best)
    refused(made, out, "the model's '0.mean' is not in it", CheckpointBroken)
    best.write_bytes(b"damage")
    refused(made, out, "cannot be used", CheckpointBroken)
    best.unlink()
    refused(made, out, "there is no such file", CheckpointBroken)
    assert command(["export", str(made), "--out", str(out)]) == 6
    assert "there is no such file" in capsys.readouterr().err
    refused(tmp_path, out, "is no run directory", NotARunDirectory)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_a_folder_that_is_taken_is_refused_and_stays(finished, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("mine")
    refused(finished, taken, "taken is there, and not empty: name another by --out")
    refused(finished, taken / "mine", "mine is there, and no folder")
    assert command(["export", str(finished.path), "--out", str(taken)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert content(taken) == {"mine": b"mine"}
    assert command(["export", str(finished.path), "--out", str(tmp_path / "deep/er")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'deep/er'}\n"


def test_a_write_that_fails_leaves_nothing(finished, tmp_path, monkeypatch):
    def full(path, data):
        if path.name == exporting.CARD:
            raise StorageFailed(path, "the disk is full")
        write(path, data)

    write = directory.write_atomically
    monkeypatch.setattr(directory, "write_atomically", full)
    refused(finished, tmp_path / "given", "the disk is full", StorageFailed)
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_does_not_hold_is_said(finished, made, tmp_path):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    data = TensorDataset(torch.rand(80, 1, 8, 8), torch.arange(80) % 10)
    options = {"out": tmp_path / "runs", "max_steps": 1, "quiet": True}
    own = atentdsl.train("sgd", overrides=BRIEF, model=network, **options)
    refused(own, tmp_path / "given", "a network of the caller's own")
    given = atentdsl.train("sgd", overrides=[*BRIEF, "model.name=mlp"], data=data, **options)
    refused(given, tmp_path / "given", "does not say their shape")
    recipe = (made / "recipe.toml").read_text()
    (made / "recipe.toml").write_text(recipe.replace('name = "mlp"', 'name = "cnn7"'))
    refused(made, tmp_path / "given", "cnn7 does not suit the data", ArchitectureUnfit)
    (made / "recipe.toml").write_text(recipe.replace('name = "mlp"', 'name = "model:small"'))
    refused(made, tmp_path / "given", "called `model`, as the loader is")


@pytest.mark.parametrize("spoilt", ["{}", "not JSON", '{"clean_accuracy": 1, "attacks": []}'])
def test_an_evaluation_that_was_changed_is_refused(made, tmp_path, spoilt):
    (made / "evaluation.json").write_text(spoilt)
    refused(made, tmp_path / "given", "cannot be read|is not as a run writes it")


def test_no_text_of_a_run_becomes_code_of_the_loader(finished, made, tmp_path):
    """Whoever sends a run's directory can write anything into its manifest."""
    manifest = json.loads((made / "manifest.json").read_text())
    expected = (atentdsl.export(made, tmp_path / "a") / "model.py").read_bytes()
    hostile = '"""\nraise SystemExit("ran")\n"""'
    manifest |= {"started": hostile, "seed": hostile, "model": hostile, "data": hostile}
    manifest["versions"] = {"torch": hostile}
    manifest["recipe_sha256"] = hostile
    (made / "manifest.json").write_text(json.dumps(manifest))
    evaluation = finished.evaluation | {"data": hostile, "split": hostile}
    (made / "evaluation.json").write_text(json.dumps(evaluation))
    assert (atentdsl.export(made, tmp_path / "b") / "model.py").read_bytes() == expected
