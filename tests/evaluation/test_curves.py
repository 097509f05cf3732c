"""Accuracy against radius, steps and restarts: exact where the truth is known, and honest about what is not final."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from itertools import pairwise

import PIL.Image
import pytest
import torch
from evaluation.known_networks import Rounded, linear
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.evaluation import curves
from atentdsl.evaluation.intervals import interval
from atentdsl.reporting import curves as reporting
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import StorageFailed, UnsuitedAttack
from atentdsl.testing.mutants import edited

RADIUS = 0.05


def drawn(model, images, *overrides: str, module=curves, **settings):
    recipe = atentdsl.load("sgd", [f"evaluate.radius={RADIUS}", "evaluate.attacks=['pgd-5']", *overrides])
    found = module.curves(model, images, recipe, 0, **{"steps": (1, 2, 5), "restarts": 4} | settings)
    return {curve.name: curve for curve in found}


def brief(*subject, module=curves, **settings):
    """The same without most of the radii, which take longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "radii", lambda *_: (0.0, RADIUS))
        return drawn(*subject, module=module, **settings)


@pytest.fixture(scope="module")
def exact():
    model, images = linear(120)
    return model, images, drawn(model, images)


def test_a_linear_classifier_s_curve_is_the_share_with_a_larger_margin(exact):
    model, images, found = exact
    margin = model.margin(images.x).detach()
    points = found["epsilon"].points
    assert [point.at for point in points][:5] == pytest.approx([0, 0.0125, 0.025, 0.0375, 0.05])
    assert points[-1].at == 1.0
    within = [point for point in points if point.at <= 0.2]  # beyond, the box's faces bind
    for point in within:
        sure = (margin - point.at).abs() > 1e-4
        assert torch.equal(point.held[sure], (margin > point.at)[sure])
    assert points[0].held.all()
    assert not points[-1].held.any()
    assert 0 < within[3].report()["accuracy"] < 1


def test_the_linear_classifier_s_figures_are_final(exact):
    assert {name: (c.verdict, c.warning) for name, c in exact[2].items()} == {
        "epsilon": ("final", None),
        "steps": ("final", None),
        "restarts": ("final", None),
    }


def test_every_point_has_its_interval_and_its_whole_attack(exact):
    for name, curve in exact[2].items():
        for point in curve.points:
            said = point.report()
            assert said["n"] == 120
            assert (said["low"], said["high"]) == interval(said["stands"], 120)
            attack = said["attack"]
            assert said["at"] == attack[{"epsilon": "radius"}.get(name, name)]
            assert (
                attack["step_size"] == pytest.approx(2.5 * attack["radius"] / attack["steps"]) or attack["radius"] == 0
            )
            assert (attack["norm"], attack["loss"], attack["start"]) == ("linf", "cross_entropy", "uniform")


@pytest.mark.parametrize(("norm", "most"), [("l2", 8.0), ("l1", 64.0)])
def test_other_norms_reach_the_whole_box_too(norm, most):
    found = drawn(*linear(30), f"evaluate.norm={norm}", "evaluate.radius=0.4")
    points = found["epsilon"].points
    assert points[-1].at == most
    assert points[0].held.all()
    assert points[-1].held.sum() < points[0].held.sum()
    assert found["epsilon"].verdict == "final"


def test_restarts_that_still_break_images_are_said_on_top():
    """Inputs rounded: the attack is one random point a restart, and each restart has its luck."""
    found = brief(*linear(150, Rounded), restarts=8)["restarts"]
    assert found.verdict == "still falling"
    assert found.figures["broken"] > 0.005 * 150
    assert found.warning.startswith(
        f"curve restarts: from 4 to 8 restarts {found.figures['broken']} of 150 images fall"
    )
    assert found.warning.endswith("more restarts still lower it: the figure is not final")


def test_steps_that_still_break_images_are_said_on_top():
    """Far from the corner along most coordinates: of a network that has to be walked around, few steps see nothing."""

    class Bent(torch.nn.Module):
        """Its class changes at the end of a path: a coordinate only counts when those before it have been moved."""

        def forward(self, x):
            moved = ((x.flatten(1) - 0.5) / RADIUS).clamp(-1, 1)
            reached = moved[:, :1]
            for i in range(1, 4):
                reached = torch.where(reached > 0.7, 1 + moved[:, i : i + 1], reached - 0.01 * i)
            margin = 1.9 - reached.squeeze(1)
            return torch.stack([margin, torch.zeros_like(margin)], dim=1)

    images = Images(torch.full((120, 1, 8, 8), 0.5), torch.zeros(120, dtype=torch.long), 2)
    found = brief(Bent(), images, steps=(1, 2, 4))["steps"]
    assert found.verdict == "still falling"
    assert found.warning.endswith("more steps still lower it: the figure is not final")


class Blind(torch.nn.Module):
    """No gradient, and the other class only at a certain mean distance, where random starts in one ball are and those
    in a larger one are not."""

    def forward(self, x):
        u = (x.flatten(1) - 0.5).abs().mean(dim=1).detach() / RADIUS
        return torch.stack([(u - 0.5).abs() - 0.2 + 0 * x.flatten(1)[:, 0], torch.zeros_like(u)], dim=1)


def test_a_larger_radius_that_leaves_more_standing_is_said_on_top():
    images = Images(torch.full((40, 1, 8, 8), 0.5), torch.zeros(40, dtype=torch.long), 2)
    found = drawn(Blind(), images)["epsilon"]
    assert found.verdict == "rising"
    assert found.warning.endswith("gradients may be masked")


@settings(max_examples=4)
@given(st.integers(0, 10**6), st.sampled_from([1, 7, 40]), st.integers(2, 6))
def test_restarts_are_monotone_whatever_the_network(seed, batch, restarts):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    images = Images(torch.rand(20, 1, 4, 4), torch.randint(3, (20,)), 3)
    found = brief(model, images, restarts=restarts, steps=(1, 2), batch=batch)["restarts"]
    assert [point.at for point in found.points] == list(range(1, restarts + 1))
    for earlier, later in pairwise(found.points):
        assert not (later.held & ~earlier.held).any()


MUTANTS = {
    "steps that are compared the wrong way": (
        "Comparison.of(last.held, before.held)",
        "Comparison.of(before.held, last.held)",
    ),
    "restarts that start anew": ("list(range(alone, i))", "[]"),
    "a curve of another radius": ("pgd(recipe, ball.norm, radius)", "pgd(recipe, ball.norm, ball.radius)"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_curve_is_caught(name):
    mutant = edited(curves, *MUTANTS[name])
    if name.startswith("steps"):
        points = [curves.Point(at, {}, torch.arange(40) >= at) for at in (1, 10, 20)]
        assert curves._against_steps(tuple(points)).verdict == "still falling"
        assert mutant._against_steps(tuple(points)).verdict == "final"
        return
    if name.startswith("restarts"):
        model, images = linear(200, Rounded)
        near = model.margin(images.x).argsort()[:40]
        some = Images(images.x[near], images.y[near], 2)
        shipped, wrong = (brief(model, some, module=module)["restarts"].points for module in (curves, mutant))
        assert not any((b.held & ~a.held).any() for a, b in pairwise(shipped))
        assert any((b.held & ~a.held).any() for a, b in pairwise(wrong))
        return
    shipped, wrong = (drawn(*linear(30), module=module)["epsilon"].points for module in (curves, mutant))
    assert shipped[0].held.all()
    assert not wrong[0].held.all()


def test_too_few_steps_or_restarts_and_no_ball_are_refused():
    model, images = linear(4)
    for wrong in ({"restarts": 1}, {"steps": (5,)}, {"steps": (5, 2)}, {"steps": (0, 2)}):
        with pytest.raises(ValueError, match="two growing numbers of steps and two restarts"):
            drawn(model, images, **wrong)
    with pytest.raises(UnsuitedAttack, match=r"set `evaluate.radius` above 0"):
        drawn(model, images, "evaluate.radius=0.0")


@pytest.fixture(scope="module")
def report(exact):
    said = {"split": "test", "seed": 0, "norm": "linf", "radius": RADIUS, "n": 120}
    return {**said, "curves": {name: curve.report() for name, curve in exact[2].items()}}


def test_files_are_valid_and_the_same_for_the_same_curves(report, tmp_path):
    for folder in (tmp_path / "one", tmp_path / "two" / "deeper"):
        assert sorted(path.name for path in reporting.write(report, folder)) == sorted(reporting.FILES)
        assert sorted(path.name for path in folder.iterdir()) == sorted(reporting.FILES)
    for name in reporting.FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / "deeper" / name).read_bytes(), name
    for axis in ("epsilon", "steps", "restarts"):
        with PIL.Image.open(tmp_path / "one" / f"{axis}.png") as image:
            image.load()
            assert image.format == "PNG"
            assert image.size == (900, 600)
        assert ET.parse(tmp_path / "one" / f"{axis}.svg").getroot().tag.endswith("svg")
    assert json.loads((tmp_path / "one" / "curves.json").read_text()) == report
    lines = (tmp_path / "one" / "curves.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(len(curve["points"]) for curve in report["curves"].values())


def test_a_folder_of_other_things_is_refused_and_left_alone(report, tmp_path, monkeypatch):
    monkeypatch.setattr(reporting.figures, "write", lambda *_: [])
    own, foreign, file = tmp_path / "own", tmp_path / "foreign", tmp_path / "file"
    reporting.write(report, own)
    reporting.write(report, own)
    (own / "notes.txt").touch()
    foreign.mkdir()
    (foreign / "curves.csv").touch()
    file.touch()
    for folder, found in ((own, "notes.txt"), (foreign, "curves.csv"), (file, "no folder")):
        with pytest.raises(StorageFailed, match=f"{found}.*by --curves"):
            reporting.write(report, folder)
    assert (foreign / "curves.csv").read_bytes() == b""
