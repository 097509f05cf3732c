"""Networks and weights of the user's own on the command line: what runs, what is announced, what is refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from runtime.hostile_weights import ARCHIVES, PICKLES, exported, saved, scripted
from torch import nn

from atentdsl.cli import run
from atentdsl.recipe import load
from atentdsl.runtime import models

BRIEF = ["--set", "optimizer.epochs=1", "--set", "evaluate.attacks=['pgd-2']", "--max-steps", "2"]
# A learning rate of 0 leaves the weights as they began.
UNTRAINED = [*BRIEF, "--set", "model.name=mlp", "--set", "optimizer.lr=0.0"]

NETS = """
from pathlib import Path
from torch import nn

Path("imported").touch()


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def wrong():
    return nn.Flatten()
"""
OWN = ["--set", "model.name=own_nets:small"]
ANNOUNCED = "atentdsl: running the code of own_nets:small, from own_nets.py\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


@pytest.fixture
def nets(here):
    (here / "own_nets.py").write_text(NETS)
    return here


def finished(capsys, *words):
    """A run's directory, and what was said on standard error."""
    assert run(["run", "sgd", *words]) == 0
    out = capsys.readouterr()
    return Path(out.out.splitlines()[-1]), out.err


def manifest(path):
    return json.loads((path / "manifest.json").read_text())


def best(path):
    return safetensors.torch.load_file(path / "checkpoints/best.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def mlp(seed):
    return models.build("mlp", (1, 8, 8), 10, [0.3], [0.4], seed)


def test_a_network_of_one_s_own_is_trained_announced_and_evaluated_again(nets, capsys):
    path, said = finished(capsys, *OWN, *BRIEF)
    assert said.startswith(ANNOUNCED)
    assert manifest(path)["model"] == "own_nets:small"
    assert set(best(path)) == {"1.weight", "1.bias"}, "nothing stands before it"
    assert run(["eval", str(path)]) == 0
    out = capsys.readouterr()
    assert out.err == ANNOUNCED
    assert json.loads(out.out) == json.loads((path / "evaluation.json").read_text())
    again, _ = finished(capsys, *OWN, *BRIEF, "--new")
    assert same(best(again), best(path))
    still = [*OWN, *BRIEF, "--set", "optimizer.lr=0.0", "--seed"]
    first, second = (best(finished(capsys, *still, seed)[0]) for seed in "12")
    assert not torch.equal(first["1.weight"], second["1.weight"]), "the recipe's seed draws its weights"


def test_no_user_code_refuses_before_anything_is_imported(nets, capsys):
    path, _ = finished(capsys, *OWN, *BRIEF)
    del sys.modules["own_nets"]
    (nets / "imported").unlink()
    before = sorted(nets.rglob("*"))
    for words in (["run", "sgd", *OWN, *BRIEF, "--new"], ["eval", str(path)]):
        assert run([*words, "--no-user-code"]) == 2
        out = capsys.readouterr()
        assert "own_nets:small" in out.err
        assert "--no-user-code" in out.err
        assert "running the code" not in out.err
        assert out.out == ""
        assert "own_nets" not in sys.modules
    assert sorted(nets.rglob("*")) == before


def test_no_user_code_lets_installed_networks_run(here, capsys):
    path, said = finished(capsys, *UNTRAINED, "--no-user-code")
    assert "running the code" not in said
    assert "init" not in manifest(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_nets:wrong", "own_nets:wrong cannot be used: it answers torch.float32 (2, 64)"),
        ("own_nets:nothing", "`own_nets` has no `nothing`"),
        ("own_nts:small", "there is no module `own_nts`"),
    ],
)
def test_code_that_cannot_be_used_is_exit_code_2_and_no_run(nets, capsys, name, said):
    assert run(["run", "sgd", *BRIEF, "--set", f"model.name={name}"]) == 2
    assert said in capsys.readouterr().err
    assert not (nets / "runs").exists()


@pytest.mark.parametrize(
    ("name", "helped"),
    [
        ("small_cn", "did you mean `small_cnn`?"),
        ("own_nets:", "or `module:attribute`, a network of your own"),
        ("../own_nets:small", "or `module:attribute`, a network of your own"),
        ("own_nets:small()", "or `module:attribute`, a network of your own"),
        ("own-nets:small", "or `module:attribute`, a network of your own"),
        ("own_nets:" + "a" * 80, "or `module:attribute`, a network of your own"),
    ],
)
def test_what_is_no_network_s_name_is_refused_with_what_is(nets, capsys, name, helped):
    assert run(["check", "sgd", "--set", f"model.name='{name}'"]) == 2
    said = capsys.readouterr().err
    assert "unknown `name` in `[model]`" in said
    assert helped in said


def test_what_does_not_train_imports_no_user_code_and_no_torch(nets):
    recipe = load("sgd", ["model.name=own_nets:small", "model.init=there.pt"])
    (nets / "mine.toml").write_text(recipe.resolved)
    probe = (
        "import sys; sys.path.insert(0, ''); from atentdsl.cli import run; "
        "codes = [run([word, 'mine.toml']) for word in ('check', 'explain', 'compile')]; "
        "sys.exit(str(codes) if any(codes) or 'torch._C' in sys.modules or 'own_nets' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=nets, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (nets / "imported").exists()


def origins(here, capsys):
    """The weights of one network in each of the forms that are taken, by their paths."""
    network = mlp(5)
    safetensors.torch.save_file(network.state_dict(), here / "w.safetensors")
    (here / "w.pt").write_bytes(saved({"state_dict": network.state_dict(), "epoch": 3}))
    path, _ = finished(capsys, *UNTRAINED, "--set", "model.init=w.pt")
    return network.state_dict(), {
        "w.safetensors": "w.safetensors",
        "w.pt": "w.pt",
        str(path): f"{path}/checkpoints/best.safetensors",
    }


def test_a_run_begins_with_the_weights_it_is_given(here, capsys):
    expected, paths = origins(here, capsys)
    for path, file in paths.items():
        made, _ = finished(capsys, *UNTRAINED, "--set", f"model.init='{path}'", "--new")
        assert same(best(made), expected)
        digest = hashlib.sha256((here / file).read_bytes()).hexdigest()
        assert manifest(made)["init"] == {"path": path, "sha256": digest}


def test_a_network_alone_keeps_the_normalisation_of_the_training_images(here, capsys):
    network = mlp(5)
    (here / "w.pt").write_bytes(saved(network[1].state_dict()))
    random, _ = finished(capsys, *UNTRAINED)
    made, _ = finished(capsys, *UNTRAINED, "--set", "model.init=w.pt")
    found = best(made)
    assert same({n: found[n] for n in ("0.mean", "0.std")}, {n: best(random)[n] for n in ("0.mean", "0.std")})
    assert same({n.removeprefix("1."): t for n, t in found.items() if n.startswith("1.")}, network[1].state_dict())


def test_a_run_is_evaluated_with_its_own_weights_and_with_others_on_request(here, capsys):
    """What it began with may be gone; and other weights are evaluated as a run that holds them is."""
    (here / "w.pt").write_bytes(saved(mlp(5).state_dict()))
    trained, _ = finished(capsys, *BRIEF, "--set", "model.name=mlp", "--set", "model.init=w.pt")
    untrained, _ = finished(capsys, *UNTRAINED, "--set", "model.init=w.pt")
    evaluations = [json.loads((path / "evaluation.json").read_text()) for path in (trained, untrained)]
    assert evaluations[0] != evaluations[1]
    (here / "w.pt").rename(here / "moved.pt")
    assert run(["eval", str(trained)]) == 0
    assert json.loads(capsys.readouterr().out) == evaluations[0]
    assert run(["eval", str(trained), "--set", "model.init=moved.pt"]) == 0
    del evaluations[1]["trained"]  # how weights from elsewhere were trained nobody here knows
    assert json.loads(capsys.readouterr().out) == evaluations[1]


def test_a_recipe_with_weights_is_evaluated_in_python(here, capsys):
    import atentdsl

    (here / "w.pt").write_bytes(saved(mlp(5).state_dict()))
    path, _ = finished(capsys, *UNTRAINED, "--set", "model.init=w.pt")
    overrides = ["model.name=mlp", "model.init=w.pt", "evaluate.attacks=['pgd-2']"]
    evaluated = json.loads((path / "evaluation.json").read_text())
    del evaluated["trained"]  # how a file's weights were trained nobody knows
    assert atentdsl.evaluate("sgd", overrides=overrides) == evaluated


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.pt", None, "weights absent.pt cannot be used: there is no such file"),
        ("w.pt", saved({"weight": torch.ones(2)}), "is not in it; the model's"),
        ("w.pt", saved([1, 2]), "no dict of tensors but a list"),
        ("w.pt", b"nothing of the kind", "neither safetensors nor"),
        (".", None, "is no run directory"),
    ],
)
def test_weights_that_are_not_taken_are_exit_code_2_and_no_run(here, capsys, name, content, said):
    if content is not None:
        (here / name).write_bytes(content)
    assert run(["run", "sgd", *UNTRAINED, "--set", f"model.init={name}"]) == 2
    out = capsys.readouterr()
    assert said in out.err
    assert "Traceback" not in out.err
    assert not (here / "runs").exists()


@pytest.mark.parametrize("init", ["''", '"a\\u0000b"', "3"])
def test_what_cannot_be_a_path_is_found_by_check(here, capsys, init):
    assert run(["check", "sgd", "--set", f"model.init={init}"]) == 2
    assert "`init`" in capsys.readouterr().err


FLAGS = [list(flags) for n in range(3) for flags in itertools.combinations(["--no-user-code", "--device=cpu"], n)]


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
@pytest.mark.parametrize("kind", ["a pickle", "torch.save", *ARCHIVES])
def test_no_flag_but_trust_lets_a_file_s_code_run(here, capsys, kind, flags):
    """Each of these files does write `ran` where it is loaded unguarded: see the tests of the reading itself."""
    ran, path = here / "ran", here / "theirs.pt2"
    if kind in PICKLES:
        path.write_bytes(PICKLES[kind](ran))
    else:
        ARCHIVES[kind][0](path, ran)
    trained, _ = finished(capsys, *UNTRAINED)
    for words in (["run", "sgd", *UNTRAINED, "--new"], ["eval", str(trained)]):
        assert run([*words, *flags, "--set", "model.init=theirs.pt2"]) == 2
        said = capsys.readouterr().err
        assert "weights theirs.pt2 cannot be used" in said
        assert ("--trust" in said) == (kind in ARCHIVES)
        assert not ran.exists()
    if kind in PICKLES:
        assert run(["run", "sgd", *UNTRAINED, "--new", "--trust", "--set", "model.init=theirs.pt2"]) == 2
        assert not ran.exists()


@pytest.mark.parametrize("make", [exported, scripted])
def test_trust_takes_the_weights_of_an_archive(here, capsys, make):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    (here / "own_nets.py").write_text(NETS)
    make(here / "theirs", network, *([(1, 1, 8, 8)] if make is exported else []))
    words = [*OWN, *BRIEF, "--set", "optimizer.lr=0.0", "--set", "model.init=theirs"]
    path, _ = finished(capsys, *words, "--trust")
    assert same(best(path), network.state_dict())
