"""A recipe that begins from another recipe's run: which run that is, what is made of it, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from api.test_shipped_recipes import interrupted_after
from safetensors.torch import load_file

import atentdsl
from atentdsl.cli import run as command
from atentdsl.recipe import shipped
from atentdsl.runtime.errors import CannotResume, Interrupted, WeightsRefused
from atentdsl.runtime.running import Running

# A learning rate of 0 leaves the weights as they began.
STILL = ("model.name=mlp", "optimizer.lr=0.0", "evaluate.attacks=['pgd-1']")


def trained(out, seed=0, **more):
    return atentdsl.train("atent_finetune", overrides=STILL, seed=seed, out=out, max_steps=2, quiet=True, **more)


def firsts(out):
    return sorted((out / "sgd").iterdir()) if (out / "sgd").exists() else []


def weights(run):
    return {name: value.tolist() for name, value in load_file(run / "checkpoints/best.safetensors").items()}


def manifest(run):
    return json.loads((run / "manifest.json").read_text())


def test_the_first_recipe_is_trained_where_it_has_no_run_and_found_where_it_has(tmp_path):
    run = trained(tmp_path)
    (first,) = firsts(tmp_path)
    begun = first / "checkpoints/best.safetensors"
    assert weights(run.path) == weights(first)
    told = manifest(run.path)["init"]
    assert told["path"] == str(first)
    assert told["sha256"] == hashlib.sha256(begun.read_bytes()).hexdigest()
    assert told["recipe"] == "sgd"
    made = manifest(first)
    assert (made["seed"], made["model"], made["max_steps"]) == (0, "mlp", 2)
    assert "init" not in made
    trained(tmp_path)
    assert firsts(tmp_path) == [first], "made once"
    trained(tmp_path, seed=1)
    assert len(firsts(tmp_path)) == 2, "another seed begins from another network"
    assert [manifest(path)["seed"] for path in firsts(tmp_path)] == [0, 1]
    (row,) = [row for row in atentdsl.compare([tmp_path])["rows"] if row["recipe"] == "atent_finetune"]
    assert sorted(row["seeds"]) == [0, 1], "two seeds of one thing"


def test_a_run_of_other_values_or_steps_is_not_taken(tmp_path):
    atentdsl.train("sgd", overrides=["model.name=mlp"], out=tmp_path, max_steps=1, quiet=True)
    atentdsl.train("sgd", overrides=["model.name=mlp", "optimizer.lr=0.5"], out=tmp_path, max_steps=2, quiet=True)
    run = trained(tmp_path)
    before = firsts(tmp_path)
    assert len(before) == 3
    assert manifest(run.path)["init"]["path"] == str(before[-1])


def test_an_interrupted_first_run_is_gone_on_with(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Running, "advance", interrupted_after(1))
        with pytest.raises(Interrupted) as caught:
            trained(tmp_path)
    assert caught.value.run.parent.name == "sgd"
    trained(tmp_path)
    (first,) = firsts(tmp_path)
    assert len(manifest(first)["resumed"]) == 1


def test_a_run_without_a_snapshot_goes_on_from_the_same_network_or_not_at_all(tmp_path):
    """As it is left by a crash before its first snapshot."""
    run = trained(tmp_path)
    kept = weights(run.path)
    for path in [*(run.path / "checkpoints").iterdir(), run.path / "evaluation.json", run.path / "metrics.jsonl"]:
        path.unlink()
    other = tmp_path / "other"
    shutil.copytree(run.path, other)
    again = atentdsl.resume(run.path, quiet=True)
    assert weights(again.path) == kept
    (first,) = firsts(tmp_path)
    begun = first / "checkpoints/best.safetensors"
    begun.write_bytes(begun.read_bytes()[:-1] + b"x")
    with pytest.raises(CannotResume, match="are not those it began with"):
        atentdsl.resume(other, quiet=True)


def test_images_of_the_callers_own_are_those_of_the_first_recipe_too(tmp_path):
    """Whether another run had the same ones nothing says, so the first recipe is trained each time."""
    import torch

    data = torch.utils.data.TensorDataset(torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
    for number in (1, 2):
        trained(tmp_path, data=data)
        assert len(firsts(tmp_path)) == number
    assert all(manifest(path)["data"] == "given by the caller" for path in firsts(tmp_path))


def test_recipes_that_begin_from_one_another_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, other in (("one", "two"), ("two", "one")):
        text = f'schema = 1\n[recipe]\nname = "{name}"\nextends = "sgd.toml"\n[model]\ninit = "recipe:{other}.toml"\n'
        (tmp_path / f"{name}.toml").write_text(text)
    shutil.copy(shipped.folder() / "sgd.toml", tmp_path)
    with pytest.raises(
        WeightsRefused, match="begin from one another: `one`, then `two`, then `one`; let one `init` name"
    ):
        atentdsl.train("one.toml", quiet=True)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "sgd", "--set", "model.init=recipe:nowhere"], "`init` names the recipe `nowhere`"),
        (["eval", "atent_finetune"], "name one by `--set model.init=RUN`"),
    ],
)
def test_a_recipe_without_a_run_is_refused_with_the_mend(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert command(words) == 2
    assert said in capsys.readouterr().err
