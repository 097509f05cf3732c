"""`atentdsl eval` of what is no run: files of weights and code, to the figures of the run that holds the same."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from runtime.hostile_weights import ARCHIVES, PICKLES, exported, saved
from torch import nn

import atentdsl
from atentdsl.cli import run
from atentdsl.runtime import models
from atentdsl.runtime.errors import SubjectRefused, WeightsRefused

BRIEF = ["optimizer.epochs=1", "evaluate.attacks=['pgd-2']"]
NETS = """
from pathlib import Path
import torch
from torch import nn

Path("imported").touch()


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def filled():
    network = small()
    network.load_state_dict(torch.load("own.pt"))
    return network


NETWORK = filled() if Path("own.pt").exists() else small()
"""
ANNOUNCED = "own_nets:{}, from own_nets.py\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("own_nets", None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of an installed network: its directory, and what an evaluation of its weights alone says."""
    root = tmp_path_factory.mktemp("trained")
    made = atentdsl.train("sgd", overrides=[*BRIEF, "model.name=mlp"], out=root, max_steps=20, quiet=True)
    return made.path, alone(made.evaluation)


def alone(evaluation):
    """How weights from elsewhere were trained nobody here knows."""
    return {key: value for key, value in evaluation.items() if key != "trained"}


def evaluated(capsys, *words):
    """The figures that a command prints, and what it says on standard error."""
    code = run(["eval", *words])
    out = capsys.readouterr()
    assert code == 0, out.err
    return json.loads(out.out), out.err


def refused(capsys, *words, code=2):
    """What is said on standard error where the command ends with that code and nothing else."""
    assert run(["eval", *words]) == code
    out = capsys.readouterr()
    assert out.out == ""
    assert "Traceback" not in out.err
    assert "internal error" not in out.err
    return out.err


def state(path):
    return safetensors.torch.load_file(path / "checkpoints/best.safetensors")


def files(path):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.rglob("*") if p.is_file()}


FORMS = {
    "safetensors": lambda state: safetensors.torch.save(state),
    "state dict": saved,
    "wrapped": lambda state: saved({"state_dict": {f"module.{n}": t for n, t in state.items()}, "epoch": 3}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["theirs.safetensors", "random"])
def test_a_file_of_weights_has_the_figures_of_its_run(here, trained, capsys, form, name):
    """Whatever it is called, `random` too, which is a recipe's word for no weights."""
    path, expected = trained
    (here / name).write_bytes(FORMS[form](state(path)))
    before = files(path)
    words = ["--architecture", "mlp", "--recipe", str(path / "recipe.toml")]
    assert evaluated(capsys, name, *words) == (expected, "")
    assert files(path) == before
    assert [p.name for p in here.iterdir()] == [name], "nothing is written"


def test_a_checkpoint_of_a_run_a_shipped_recipe_and_overrides(trained, capsys):
    path, expected = trained
    file = str(path / "checkpoints/best.safetensors")
    before = files(path)
    words = ["--architecture", "mlp", "--recipe", "sgd", "--set", "evaluate.attacks=['pgd-2']"]
    assert evaluated(capsys, file, *words)[0] == expected
    other, _ = evaluated(capsys, file, *words, "--split", "validation", "--set", "evaluate.restarts=2")
    assert other["split"] == "validation"
    assert other["attacks"]["pgd-2"]["restarts"] == 2
    # What the subject is holds against what is laid over the recipe.
    assert evaluated(capsys, file, *words, "--set", "model.name=small_cnn")[0] == expected
    assert files(path) == before


def test_a_network_alone_is_normalised_by_the_training_images(here, trained, capsys):
    path, expected = trained
    inner = {n.removeprefix("1."): t for n, t in state(path).items() if n.startswith("1.")}
    (here / "w.pt").write_bytes(saved(inner))
    words = ["--architecture", "mlp", "--recipe", str(path / "recipe.toml")]
    assert evaluated(capsys, "w.pt", *words)[0] == expected


def test_code_of_one_s_own_has_the_figures_of_its_run(here, capsys):
    (here / "own_nets.py").write_text(NETS)
    overrides = [*BRIEF, "model.name=own_nets:small"]
    made = atentdsl.train("sgd", overrides=overrides, out=here / "runs", max_steps=20, quiet=True)
    expected, recipe = alone(made.evaluation), ["--recipe", str(made.path / "recipe.toml")]
    (here / "own.pt").write_bytes(saved(state(made.path)))
    capsys.readouterr()
    del sys.modules["own_nets"]
    # A class or factory, a network, and a network that a file fills in.
    words = {
        "filled": ["own_nets:filled"],
        "NETWORK": ["own_nets:NETWORK"],
        "small": ["own.pt", "--architecture", "own_nets:small"],
    }
    for attribute, subject in words.items():
        found, said = evaluated(capsys, *subject, *recipe)
        assert found == expected
        assert said.endswith(ANNOUNCED.format(attribute))
    found, _ = evaluated(capsys, "own_nets:small", *recipe, "--set", "model.init=own.pt")
    assert found == expected, "--set fills it in too"
    del sys.modules["own_nets"]
    (here / "imported").unlink()
    for subject in words.values():
        assert "--no-user-code" in refused(capsys, *subject, *recipe, "--no-user-code")
    assert "own_nets" not in sys.modules
    assert not (here / "imported").exists()


def test_weights_that_a_recipe_begins_with_are_not_the_subject_s(here, trained, capsys):
    """The recipe that lends data and attacks may itself begin with weights: of its own network."""
    path, expected = trained
    (here / "w.pt").write_bytes(saved(state(path)))
    (here / "own_nets.py").write_text(NETS)
    text = (path / "recipe.toml").read_text()
    (here / "begun.toml").write_text(text.replace("[model]", '[model]\ninit = "gone.pt"'))
    assert evaluated(capsys, "w.pt", "--architecture", "mlp", "--recipe", "begun.toml")[0] == expected
    assert evaluated(capsys, "own_nets:small", "--recipe", "begun.toml")[0]["n"] == expected["n"]


def test_what_is_left_out_is_asked_for(here, trained, capsys):
    path, _ = trained
    (here / "w.pt").write_bytes(saved(state(path)))
    listed = "cnn7, lenet5, mlp, preact_resnet18, small_cnn, or `module:attribute`"
    asked = refused(capsys, "w.pt", "--recipe", "sgd")
    assert "say --architecture NAME, one of" in asked
    assert listed in asked
    known = refused(capsys, str(path / "checkpoints/best.safetensors"), "--recipe", "sgd")
    assert f"it is a checkpoint of the run {path}, whose network is mlp: name that, or evaluate the run" in known
    assert "say --recipe RECIPE" in refused(capsys, "w.pt", "--architecture", "mlp")
    assert "say --recipe RECIPE" in refused(capsys, "own_nets:small")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["w.pt", "--architecture", "ml", "--recipe", "sgd"], "no architecture `ml`; did you mean `mlp`? there are"),
        (["w.pt", "--architecture", "lenet5", "--recipe", "sgd"], "weights w.pt cannot be used: the model's"),
        (["w.pt", "--architecture", "cnn7", "--recipe", "sgd"], "cnn7 does not suit the data: cnn7 wants images"),
        (["w.pt", "--architecture", "mlp", "--recipe", "sdg"], "did you mean the shipped recipe `sgd`?"),
        (["w.pt", "--architecture", "mlp", "--recipe", "sgd", "--set", "evaluate.radios=1"], "did you mean `radius`?"),
        (["text", "--architecture", "mlp", "--recipe", "sgd"], "neither safetensors nor what torch.save makes"),
        (["own_nets:small", "--recipe", "sgd", "--architecture", "mlp"], "it is the network itself"),
        (["own_nts:small", "--recipe", "sgd"], "there is no module `own_nts`"),
        (["sgd"], "a recipe has no weights"),
        (["sgd", "--recipe", "sgd"], "it is a recipe and names network, data and attacks itself"),
        (["nowhere"], "there is no run and no file of that name"),
        (["sg"], "there is a recipe `sgd`"),
        (["n" * 5000], "there is no run and no file of that name"),
        (["nowhere.toml"], "there is no file `nowhere.toml`"),
        (["."], "is no run directory"),
    ],
)
def test_what_cannot_be_evaluated_is_exit_code_2_with_the_mend(here, capsys, words, said):
    (here / "w.pt").write_bytes(saved(models.build("mlp", (1, 8, 8), 10, [0.3], [0.4]).state_dict()))
    (here / "text").write_text("no weights")
    (here / "own_nets.py").write_text(NETS)
    assert said in refused(capsys, *words)


def test_a_run_names_its_own_recipe_and_network(trained, capsys):
    path, expected = trained
    for words in (["--recipe", "sgd"], ["--architecture", "mlp"]):
        assert "leave out --architecture and --recipe" in refused(capsys, str(path), *words)
    assert alone(evaluated(capsys, str(path))[0]) == expected


@pytest.mark.parametrize("kind", ["a pickle", "a pickle of protocol 0", "in a state dict", *ARCHIVES])
def test_no_file_s_code_runs(here, capsys, kind):
    ran, path = here / "ran", here / "theirs.pt"
    if kind in PICKLES:
        path.write_bytes(PICKLES[kind](ran))
    else:
        ARCHIVES[kind][0](path, ran)
    said = refused(capsys, "theirs.pt", "--architecture", "mlp", "--recipe", "sgd")
    assert "weights theirs.pt cannot be used" in said
    assert ("--trust" in said) == (kind in ARCHIVES)
    refused(capsys, "theirs.pt", "--recipe", "sgd")
    assert not ran.exists()


def test_trust_takes_an_archive(here, trained, capsys):
    path, expected = trained
    network = models.build("mlp", (1, 8, 8), 10, [0.3], [0.4])
    network.load_state_dict(state(path))
    exported(here / "theirs.pt2", network.eval(), (1, 1, 8, 8))
    words = ["theirs.pt2", "--architecture", "mlp", "--recipe", str(path / "recipe.toml")]
    refused(capsys, *words)
    assert evaluated(capsys, *words, "--trust")[0] == expected


def test_the_same_in_python(here, trained):
    path, expected = trained
    file = path / "checkpoints/best.safetensors"
    recipe = atentdsl.load(path / "recipe.toml")
    assert atentdsl.evaluate(file, architecture="mlp", recipe=recipe) == expected
    (here / "w.pt").write_bytes(saved({"weight": torch.ones(2)}))
    with pytest.raises(WeightsRefused):
        atentdsl.evaluate(Path("w.pt"), architecture="mlp", recipe="sgd")
    with pytest.raises(SubjectRefused, match="another is given as `model`"):
        atentdsl.evaluate(file, architecture="mlp", recipe=recipe, model=nn.Flatten())
    # A recipe's file need not be called one where the caller brings the network.
    (here / "mine").write_text((path / "recipe.toml").read_text())
    network = models.build("mlp", (1, 8, 8), 10, [0.3], [0.4])
    network.load_state_dict(state(path))
    assert atentdsl.evaluate("mine", model=copy.deepcopy(network)) == expected
