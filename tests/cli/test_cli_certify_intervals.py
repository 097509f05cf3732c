"""`atentdsl certify --intervals`, and training that asks for interval bounds: what it proves, writes and refuses."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import atentdsl
from atentdsl.api import proving, subjects
from atentdsl.cli import run
from atentdsl.evaluation import proofs as evaluation
from atentdsl.evaluation.proofs import proofs
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import BoundsUnknown, NotCertifiable
from atentdsl.runtime.interval_bounds import worst_logits
from atentdsl.testing import edited

FAST = ["model.name='mlp'", "optimizer.epochs=6", "evaluate.attacks=['pgd-20']", "evaluate.radius=0.05"]
RAMP = "{{ kind = 'ramp', start = {}, end = {}, after = 1, length = 3 }}"
SCHEDULES = [f"objective.kappa={RAMP.format(1.0, 0.5)}", f"objective.radius={RAMP.format(0.0, 0.06)}"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the recipe on a small network, whose evaluation has PGD-20 within 0.05."""
    out = tmp_path_factory.mktemp("runs")
    return atentdsl.train("ibp", overrides=FAST + SCHEDULES, quiet=True, out=out, device="cpu")


def test_it_never_exceeds_the_accuracy_under_an_attack_and_proves_a_good_share(trained):
    found = atentdsl.certify_intervals(trained, radii=[0.0, 0.02, 0.05, 0.2], device="cpu")
    certified = [one["accuracy"] for one in found["certified"]]
    attacked = trained.evaluation["attacks"]["pgd-20"]
    assert attacked["radius"] == 0.05
    assert 0.3 < certified[2] <= attacked["robust_accuracy"]
    assert certified == sorted(certified, reverse=True)
    assert certified[0] == found["clean"]["accuracy"] == trained.evaluation["clean_accuracy"]
    stronger = [f"pgd-40,restarts=3,radius={radius},loss=margin" for radius in (0.02, 0.05, 0.2)]
    evaluated = atentdsl.evaluate(trained.path, overrides=[f"evaluate.attacks={stronger}"])["attacks"]
    for share, attack in zip(certified[1:], stronger, strict=True):
        assert share <= evaluated[attack]["robust_accuracy"]


def of_each_image(network, images, radius, module=evaluation):
    """Which images are proven, one at a time."""
    pairs = [Images(images.x[i : i + 1], images.y[i : i + 1], images.classes) for i in range(len(images))]
    return [module.proofs(network, one, [radius])["certified"][0]["certified"] == 1 for one in pairs]


def test_what_is_proven_of_an_image_is_that_the_worst_logits_keep_its_class(trained):
    """Each by itself; and an edit of what is asked of them is noticed."""
    _, _, test = subjects.images(trained.recipe, None, None, None)
    images = Images(test.x[:40], test.y[:40], test.classes)
    x, y = images.take(slice(None))
    with torch.no_grad():
        lead = worst_logits(trained.model.double(), x.double(), y, 0.05)
        trained.model.float()
    wanted = [bool(all(row[j] < 0 for j in range(10) if j != label)) for row, label in zip(lead, y, strict=True)]
    found = of_each_image(trained.model, images, 0.05)
    assert found == wanted
    assert 0 < sum(found) < 40
    together = proofs(trained.model, images, [0.05], batch=7)
    assert together["certified"][0]["certified"] == sum(found)
    for old, new in (("y, radius)", "y, radius / 4)"), ("< 0).all(dim=1)", "< 0).any(dim=1)")):
        assert of_each_image(trained.model, images, 0.05, edited(evaluation, old, new)) != wanted


def test_an_image_that_is_wrong_as_it_is_does_not_count():
    """A tie goes to the first class: right for the label 0, wrong for 1, and proven for neither."""
    images = Images(torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]]), torch.tensor([0, 1, 1]), classes=2)
    found = proofs(nn.Identity(), images, [0.0, 0.1])
    assert (found["correct"], [one["certified"] for one in found["certified"]]) == (2, [1, 1])


class Sly(nn.Module):
    """Adds to a value that another name stands for: nothing of it is seen when it is followed."""

    def forward(self, x):
        doubled = x * 2
        other = doubled
        doubled += x
        return other


def test_a_network_that_does_more_than_is_seen_of_it_is_refused():
    images = Images(torch.tensor([[0.25, 0.75]]), torch.tensor([1]), classes=2)
    with pytest.raises(BoundsUnknown, match="computes something else than what is seen of it"):
        proofs(Sly(), images, [0.1])


def test_the_command_writes_a_table_and_every_setting(trained, capsys):
    assert run(["certify", str(trained.path), "--intervals", "--first", "50", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    folder = trained.path / "certification/intervals-test-first-50"
    assert said.splitlines()[-1] == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["certified.csv", "certified.md", "summary.json"]
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["norm"], summary["images"], summary["split"]) == ("linf", 50, "test")
    (one,) = summary["certified"]
    assert one["radius"] == 0.05  # the recipe's own
    assert f"| 0.05 | {100 * one['accuracy']:.1f} % |" in said
    assert "50 images (test)" in said
    assert run(["certify", str(trained.path), "--intervals", "--first", "50", "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--intervals", "--radius", "1.5"], "l-infinity radii are from 0 to 1"),
        (["--intervals", "--sigma", "0.1"], "--intervals draws no noise: drop --sigma"),
        (["--intervals", "--n", "10", "--alpha", "0.1"], "--intervals draws no noise: drop --n, --alpha"),
        ([], "say how: --sigma S for randomised smoothing, or --intervals"),
        (["--intervals", "--set", "evaluate.norm=l2"], "has no l-infinity ball: name radii"),
    ],
)
def test_what_cannot_be_proven_is_refused(trained, capsys, words, says):
    assert run(["certify", str(trained.path), *words, "--device", "cpu"]) == 2
    assert says in capsys.readouterr().err


def test_a_folder_of_other_certificates_is_left_alone(trained, tmp_path, capsys):
    (tmp_path / "images.csv").write_text("")
    assert run(["certify", str(trained.path), "--intervals", "--device", "cpu", "--out", str(tmp_path)]) == 5
    assert "certificates by randomised smoothing" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["images.csv"]


def test_numbers_out_of_range_are_refused():
    for wrong in ({"first": 0}, {"batch": 0}, {"radii": [float("nan")]}):
        with pytest.raises(NotCertifiable):
            atentdsl.certify_intervals("sgd", model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), **wrong)
    assert proving.certify_intervals is atentdsl.certify_intervals


def test_training_a_network_that_bounds_cannot_go_through_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys
):
    """The same network trains by cross entropy."""
    (tmp_path / "normed.py").write_text(
        "from torch import nn\n"
        "net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16), nn.Linear(16, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["--set", "model.name='normed:net'", "--max-steps", "1", "--device", "cpu", "--out", "runs"]
    assert run(["run", "ibp", *words]) == 2
    said = capsys.readouterr().err
    assert "interval bounds cannot go through layer `2` (LayerNorm): no rule is known for it" in said
    assert "they go through linear layers, convolutions" in said
    assert not (tmp_path / "runs").exists()
    assert run(["run", "sgd", *words]) == 0
