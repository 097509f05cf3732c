"""The library as a notebook uses it."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import safetensors.torch
import torch
from torch.utils.data import TensorDataset

import atentdsl

SMALL = ["model.name=mlp", "optimizer.epochs=2", "sampler.attack.moves=2", "evaluate.attacks=['pgd-2']"]


def network(classes: int = 10) -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))


def images(n: int = 120, classes: int = 10) -> TensorDataset:
    generator = torch.Generator().manual_seed(5)
    return TensorDataset(torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % classes)


def weights(run: atentdsl.api.Run) -> dict[str, bytes]:
    """The checkpoint's weights, bit for bit."""
    stored = safetensors.torch.load_file(run.path / "checkpoints/best.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in stored.items()}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return atentdsl.train("atent_linf", overrides=SMALL, out=tmp_path_factory.mktemp("runs"), quiet=True)


def test_a_run_leaves_what_it_takes_to_know_and_repeat_it(small):
    names = {str(p.relative_to(small.path)) for p in small.path.rglob("*") if p.is_file()}
    assert names == {
        "recipe.toml",
        "module.py",
        "manifest.json",
        "metrics.jsonl",
        "evaluation.json",
        "attacks/pgd-2.py",
        "checkpoints/best.safetensors",
        "checkpoints/step-00000040.safetensors",
        ".lock",
    }
    recipe = (small.path / "recipe.toml").read_text()
    assert 'name = "mlp" # --set; overrides "small_cnn" (recipes/atent_linf.toml:' in recipe
    assert (small.path / "module.py").read_text() == atentdsl.compile("atent_linf", SMALL).text


def test_a_run_repeats_from_its_own_recipe_bit_for_bit(small, tmp_path):
    again = atentdsl.train(small.path / "recipe.toml", out=tmp_path, quiet=True)
    assert weights(again) == weights(small)
    assert again.evaluation == small.evaluation


def test_the_seed_is_all_that_weights_depend_on(small, tmp_path):
    torch.manual_seed(123)
    again = atentdsl.train("atent_linf", overrides=SMALL, out=tmp_path, quiet=True)
    other = atentdsl.train("atent_linf", overrides=SMALL, out=tmp_path, seed=1, quiet=True)
    assert weights(again) == weights(small)
    assert weights(other) != weights(small)


def test_the_global_random_state_is_left_as_found(tmp_path):
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    atentdsl.train("atent_linf", overrides=SMALL, out=tmp_path, max_steps=2, quiet=True)
    assert torch.equal(torch.rand(3), expected)


def test_evaluation_and_manifest_say_everything(small):
    evaluation = json.loads((small.path / "evaluation.json").read_text())
    assert evaluation == small.evaluation
    assert (evaluation["split"], evaluation["n"]) == ("test", 359)
    attack = evaluation["attacks"]["pgd-2"]
    settings = {"norm": "linf", "radius": 0.15, "steps": 2, "step_size": 2.5 * 0.15 / 2, "restarts": 1}
    settings |= {"loss": "cross_entropy", "start": "uniform"}
    found = {name: attack[name] for name in ("robust_accuracy", "robust_interval", "attacked")}
    assert attack == {**settings, **found}
    assert attack["attacked"] == round(359 * evaluation["clean_accuracy"])
    assert attack["robust_interval"][0] < attack["robust_accuracy"] < attack["robust_interval"][1]
    assert 0 <= attack["robust_accuracy"] <= evaluation["clean_accuracy"] <= 1
    manifest = json.loads((small.path / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["versions"]["torch"] == torch.__version__
    assert set(manifest["data_sha256"]) == {"training", "validation", "test"}
    assert {"recipe_sha256", "module_sha256", "hardware"} <= set(manifest)


def test_metrics_have_a_line_an_epoch(small):
    lines = [json.loads(line) for line in (small.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    for line in lines:
        assert {"loss", "learning_rate", "step", "images_per_second"} <= set(line)
        for split in ("training", "validation"):
            assert 0 <= line[split]["robust_accuracy"] <= line[split]["clean_accuracy"] <= 1
    assert lines[1]["learning_rate"] < lines[0]["learning_rate"]


def test_the_checkpoint_kept_is_the_best_by_robust_validation_accuracy(tmp_path):
    overrides = [*SMALL, "optimizer.epochs=6"]
    run = atentdsl.train("atent_linf", overrides=overrides, out=tmp_path, quiet=True)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    robust = [line["validation"]["robust_accuracy"] for line in lines]
    from atentdsl.runtime import checkpoint

    kept = checkpoint.metadata(run.path / "checkpoints/best.safetensors")
    assert int(kept["epoch"]) == robust.index(max(robust)) + 1
    assert float(kept["score"]) == max(robust)


def test_evaluating_a_run_again_gives_the_same(small):
    assert atentdsl.evaluate(small.path) == small.evaluation
    assert atentdsl.evaluate(small) == small.evaluation
    validation = atentdsl.evaluate(small, split="validation")
    assert (validation["split"], validation["n"]) == ("validation", 144)


def test_the_weights_evaluated_are_the_checkpoint_s(small):
    stored = safetensors.torch.load_file(small.path / "checkpoints/best.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in small.model.state_dict().items())


def test_a_network_and_data_of_one_s_own(tmp_path):
    model = network()
    before = [p.clone() for p in model.parameters()]
    run = atentdsl.train("atent_linf", model=model, data=images(), out=tmp_path, max_steps=3, quiet=True)
    assert run.model is model
    assert any(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert (run.evaluation["split"], run.evaluation["n"]) == ("validation", 12)
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["model"] == manifest["data"] == "given by the caller"
    with pytest.raises(ValueError, match="pass images as `data`"):
        atentdsl.evaluate(run, model=model)
    again = atentdsl.evaluate(run, model=network(), data=images(24))
    assert (again["split"], again["n"]) == ("given by the caller", 24)


def test_a_test_set_of_one_s_own_is_touched_once_after_training(tmp_path):
    """Test images carry a mark; the network notes when it meets one."""
    inner, met = network(), []

    class Noting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            met.append(bool((x[:, 0, 0, 0] > 0.8).all()))
            return self.inner(x)

    def marked(value: float) -> TensorDataset:
        x, y = (t.clone() for t in images().tensors)
        x[:, 0, 0, 0] = value
        return TensorDataset(x, y)

    overrides = ["optimizer.epochs=2", "evaluate.attacks=['pgd-3']", "sampler.attack.moves=2"]
    atentdsl.train(
        "atent_linf", overrides=overrides, model=Noting(), data=marked(0.0), test=marked(1.0), out=tmp_path, quiet=True
    )
    first = met.index(True)
    assert not any(met[:first])
    assert all(met[first:])


def test_a_dict_means_what_the_file_means():
    recipe = atentdsl.load("atent_linf")
    again = atentdsl.load(recipe.values())
    assert again.values() == recipe.values()
    assert again.digest() == recipe.digest()
    changed = atentdsl.load(recipe, ["sampler.attack.moves=3"])
    assert changed.samplers[0].moves == 3
    assert changed.digest() != recipe.digest()
    assert atentdsl.load(Path(__file__).parents[2] / "recipes/atent_linf.toml").values() == recipe.values()


def test_drawn_points_stay_in_the_ball_and_depend_on_the_seed():
    x, y = images(6).tensors
    drawn = [atentdsl.draw("atent_linf", network(), x, y, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0].points, drawn[1].points)
    assert not torch.equal(drawn[0].points, drawn[2].points)
    assert drawn[0].points.shape == (10, 6, 1, 8, 8)
    assert (drawn[0].points - x).abs().max() <= 0.18 + 1e-6
    assert sum(drawn[0].weights) == pytest.approx(1 - 0.1**10, abs=1e-15)


def test_drawing_from_plain_training_gives_the_batch_itself():
    x, y = images(6).tensors
    drawn = atentdsl.draw("sgd", network(), x, y)
    assert torch.equal(drawn.points[0], x)
    assert drawn.weights == (1.0,)


def test_drawing_leaves_the_network_s_mode_and_gradients_alone():
    x, y = images(6).tensors
    model = network().eval()
    atentdsl.draw("atent_linf", model, x, y)
    assert not model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_an_evaluation_needs_weights():
    with pytest.raises(ValueError, match="pass a network as `model`"):
        atentdsl.evaluate("atent_linf")


def test_evaluate_takes_a_recipe_and_a_network_of_one_s_own():
    found = atentdsl.evaluate("sgd", model=network(), overrides=["evaluate.attacks=['pgd-3']"])
    assert found["n"] == 359
    assert attrs.has(atentdsl.api.Run)


@pytest.mark.parametrize("rate", ["1e9", "1e30"])
def test_divergence_names_the_last_good_checkpoint(tmp_path, rate):
    from atentdsl.runtime.errors import Diverged

    schedule = f"optimizer.lr={{kind='piecewise', at=[1, 2], value=[0.01, {rate}]}}"
    with pytest.raises(Diverged) as caught:
        atentdsl.train("sgd", overrides=["model.name=mlp", "optimizer.epochs=4", schedule], out=tmp_path, quiet=True)
    assert caught.value.epoch >= 2
    assert caught.value.checkpoint is not None
    assert caught.value.checkpoint.is_file()
    assert str(caught.value.checkpoint) in str(caught.value)
