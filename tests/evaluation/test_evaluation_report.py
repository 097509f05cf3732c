"""What a report says of each attack is all of it, and its figures are those of the precision it names."""

from __future__ import annotations

import json

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import atentdsl
from atentdsl.evaluation import attacks, evaluation, report
from atentdsl.evaluation.attacks import watching
from atentdsl.evaluation.intervals import interval
from atentdsl.recipe import attack_names
from atentdsl.runtime.data import Images
from atentdsl.testing.mutants import edited


def made(*texts: str, **evaluate: object):
    overrides = [f"evaluate.{key}={value}" for key, value in {"radius": 0.05, **evaluate}.items()]
    select = "robust" if any(text.startswith(("pgd", "fgsm")) for text in texts) else "last"
    trained = "atent_linf" if "sampler" in texts else "sgd"  # which has none of its own
    recipe = atentdsl.load(trained, [*overrides, f"evaluate.attacks={list(texts)!r}", f"evaluate.select={select}"])
    return attacks(recipe, 10)


@pytest.fixture(scope="module")
def network() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
    x = torch.rand(80, 1, 6, 6)
    return model, x, model(x).argmax(dim=1)


@settings(max_examples=25)
@given(
    st.sampled_from(["pgd-1", "pgd-4", "pgd-7", "fgsm", "cw"]),
    st.sampled_from(["", ",norm=l2,radius=0.3", ",norm=linf,radius=0.02", ",norm=l1,radius=0.9"]),
    st.sampled_from(["", ",loss=margin", ",loss=dlr"]),
    st.sampled_from(["", ",restarts=2"]),
    st.sampled_from(["", ",step_size=0.013"]),
    st.integers(1, 2),
)
def test_an_attack_made_anew_from_its_settings_finds_the_same(network, kind, ball, loss, restarts, size, default):
    """Its settings as JSON, written as a name; under another recipe, whose own settings then do not matter."""
    model, x, y = network
    text = kind + ("" if kind == "cw" and "l" in ball and "linf" not in ball else ball)
    text += (loss if kind != "cw" else "") + (restarts if kind != "fgsm" else "") + (size if "pgd" in kind else "")
    (subject,) = made(text, restarts=default)
    said = json.loads(json.dumps(subject.settings()))
    assert set(said) == {"norm", "radius", "steps", "step_size", "loss", "restarts", "start"}
    written = f"norm={said['norm']},radius={said['radius']!r},loss={said['loss']}"
    again = f"pgd-{said['steps']},{written},step_size={said['step_size']!r},restarts={said['restarts']}"
    if kind == "fgsm":
        again = f"fgsm,{written}"
    (other,) = made(again, radius=0.5, restarts=3, step_size=0.4)
    assert other.settings() == subject.settings()
    other = attrs.evolve(other, name=subject.name)  # draws are the name's
    assert torch.equal(other.withstands(model, x, y, 3), subject.withstands(model, x, y, 3))
    assert torch.equal(other.perturbed(model, x, y, 3, 1), subject.perturbed(model, x, y, 3, 1))


@pytest.mark.parametrize(
    "name", [n for n in attack_names.names() if n != "pgd-N" and not n.endswith(("deepfool", "cw"))] + ["cw", "pgd-3"]
)
def test_settings_are_plain_data_with_ball_and_norm(name):
    (subject,) = made(name)
    said = subject.settings()
    assert json.loads(json.dumps(said)) == said
    assert (said["norm"], said["radius"]) == (subject.ball.norm, subject.ball.radius)


@pytest.mark.parametrize("name", ["deepfool", "table1-cw", "table3-deepfool"])
def test_settings_of_foolboxs_attacks_too(name):
    pytest.importorskip("foolbox")
    test_settings_are_plain_data_with_ball_and_norm(name)


def test_fields_of_a_report(network):
    model, x, y = network
    found = made("pgd-2", "fgsm", "pgd-2,norm=l2,radius=0.1")
    wrong = y.clone()
    wrong[:20] += 1
    said = evaluation(model, Images(x, wrong % 10, 10), found, "validation", 5, 32, trained={"precision": "float32"})
    assert json.loads(json.dumps(said)) == said
    top = {key: said[key] for key in ("split", "n", "seed", "batch", "precision", "confidence", "trained")}
    assert top == {
        "split": "validation",
        "n": 80,
        "seed": 5,
        "batch": 32,
        "precision": "float32",
        "confidence": 0.95,
        "trained": {"precision": "float32"},
    }
    assert said["clean_accuracy"] == 0.75
    assert said["clean_interval"] == list(interval(60, 80))
    for text, one in said["attacks"].items():
        assert one["robust_interval"] == list(interval(round(80 * one["robust_accuracy"]), 80)), text
    assert said["attacks"]["pgd-2"]["attacked"] == 60
    assert "after" not in said["attacks"]["pgd-2"]
    assert said["attacks"]["fgsm"]["after"] == ["pgd-2"]
    assert "after" not in said["attacks"]["pgd-2,norm=l2,radius=0.1"]


def test_training_is_watched_by_the_first_of_gradient_steps():
    assert [a.name for a in watching(made("cw", "apgd-ce", "fgsm", "pgd-3"))] == ["fgsm"]
    assert watching(made("cw", "apgd-ce")) == []


def test_in_bfloat16_every_pass_is_and_the_network_stays_as_it_is(network):
    model, x, y = network
    dtypes: set[torch.dtype] = set()
    hook = model[1].register_forward_hook(lambda module, given, out: dtypes.add(out.dtype))
    data = Images(x, y, 10)
    found = made("pgd-3", "cw", radius=0.15)
    said = {p: evaluation(model, data, found, "test", 0, precision=p) for p in ("bfloat16", "float32")}
    hook.remove()
    assert dtypes == {torch.bfloat16, torch.float32}
    assert {p: one["precision"] for p, one in said.items()} == {"bfloat16": "bfloat16", "float32": "float32"}
    assert said["float32"]["clean_accuracy"] == 1.0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = (model(x).float().argmax(dim=1) == y).double().mean()
    assert said["bfloat16"]["clean_accuracy"] == float(expected)
    wide, narrow = (said[p]["attacks"]["pgd-3"]["robust_accuracy"] for p in ("float32", "bfloat16"))
    assert 0.1 < narrow < 0.9
    assert narrow == pytest.approx(wide, abs=0.1)
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_bfloat16_alone_runs_no_pass_in_float32(network):
    model, x, y = network
    seen: set[torch.dtype] = set()
    hook = model[1].register_forward_hook(lambda module, given, out: seen.add(out.dtype))
    for subject in (report, edited(report, "InBfloat16(model) if", "model if")):
        seen.clear()
        subject.evaluation(model, Images(x, y, 10), made("pgd-2"), "test", 0, precision="bfloat16")
        assert seen == ({torch.bfloat16} if subject is report else {torch.float32})
    hook.remove()


def test_the_precision_of_weights_is_named():
    class Double(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(1).double())

    model = Double(4, 3, dtype=torch.float64)
    said = evaluation(model, Images(torch.rand(3, 1, 2, 2), torch.arange(3), 3), [], "test", 0)
    assert said["precision"] == "float64"
    assert (said["attacks"], said["worst"]) == ({}, [])
