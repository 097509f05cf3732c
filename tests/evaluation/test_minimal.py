"""The least perturbation, against linear classifiers whose boundary's distance is known exactly."""

from __future__ import annotations

import json
import logging
import random
import sys
from types import ModuleType

import numpy
import pytest
import torch
from torch import nn

from atentdsl.evaluation import minimal
from atentdsl.evaluation.minimal import CarliniWagner, DeepFool
from atentdsl.runtime.errors import ExtraMissing, NotFinite
from atentdsl.testing.mutants import edited

DUAL = {"linf": 1, "l2": 2}


class Linear(nn.Module):
    def __init__(self, classes: int, scale: float, seed: int, shape: tuple[int, ...] = (1, 8, 8)) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        size = torch.Size(shape).numel()
        self.w = nn.Parameter(scale * torch.randn(classes, size, generator=generator))
        self.b = nn.Parameter(scale * 0.1 * torch.randn(classes, generator=generator))
        self.x = 0.35 + 0.3 * torch.rand(8, *shape, generator=generator)  # far from the box's faces
        self.y = self(self.x).argmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.w.T + self.b

    def least(self, norm: str) -> torch.Tensor:
        """|margin| over the dual norm of the difference of weights, the nearest other class's."""
        logits = self(self.x)
        margins = logits.gather(1, self.y[:, None]) - logits
        lengths = (self.w[self.y][:, None] - self.w[None]).norm(p=DUAL[norm], dim=2)
        return (margins / lengths).scatter(1, self.y[:, None], torch.inf).amin(dim=1).detach()


@pytest.fixture(autouse=True)
def _foolbox():
    pytest.importorskip("foolbox")


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("classes", [2, 10, 30])
def test_deepfool_finds_the_exact_least_perturbation(norm, scale, classes):
    model = Linear(classes, scale, seed=classes)
    z, lengths = DeepFool(norm=norm, radius=1.0).least(model, model.x, model.y, 0)
    torch.testing.assert_close(lengths, model.least(norm), rtol=1e-4, atol=1e-6)
    assert (model(z).argmax(dim=1) != model.y).all()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_carlini_wagner_finds_it_to_one_percent_and_claims_none_below(scale):
    model = Linear(2, scale, seed=0)
    z, lengths = CarliniWagner(radius=1.0, steps=200).least(model, model.x, model.y, 0)
    ratio = lengths / model.least("l2")
    assert ratio.min() > 1 - 1e-5
    assert ratio.max() < 1.01
    assert (model(z).argmax(dim=1) != model.y).all()


def test_of_several_classes_carlini_wagner_claims_none_below():
    model = Linear(10, 1.0, seed=5)
    _, lengths = CarliniWagner(radius=1.0, steps=50, learning_rates=(0.01,)).least(model, model.x, model.y, 0)
    assert (lengths / model.least("l2") > 1 - 1e-5).all()


@pytest.mark.parametrize("attack", [DeepFool, CarliniWagner])
def test_an_image_falls_where_its_least_perturbation_is_inside_the_radius(attack):
    model = Linear(2, 1.0, seed=0)
    least = model.least("l2")
    radius = float(least.median()) * 1.02
    steps = {"steps": 100} if attack is CarliniWagner else {}
    subject = attack(norm="l2", radius=radius, **steps)
    held = subject.withstands(model, model.x, model.y, 0)
    assert torch.equal(held, least > radius)
    assert 0.2 < held.float().mean() < 0.8
    z = subject.perturbed(model, model.x, model.y, 0)
    assert torch.equal(z[held], model.x[held])
    assert torch.equal(model(z).argmax(dim=1) == model.y, held)
    assert (z - model.x).flatten(1).norm(dim=1).max() <= radius


def test_without_the_halving_the_overshoot_would_count():
    """The mutant: DeepFool's own point, two percent too far."""
    model = Linear(2, 1.0, seed=0)
    mutant = edited(minimal, "for _ in range(HALVINGS):", "for _ in range(0):")
    _, lengths = mutant.DeepFool(norm="l2", radius=1.0).least(model, model.x, model.y, 0)
    assert (lengths / model.least("l2") > 1.015).all()


def test_an_image_that_is_wrong_as_it_is_has_length_zero_and_one_that_never_falls_an_infinite_one():
    model = Linear(3, 1.0, seed=1)
    y = (model.y + 1) % 3
    z, lengths = DeepFool(norm="l2", radius=0.1).least(model, model.x, y, 0)
    assert torch.equal(z, model.x)
    assert not lengths.any()
    nn.init.zeros_(model.w)
    for attack in (DeepFool(norm="linf", radius=1.0), CarliniWagner(radius=1.0, steps=3, constants=2)):
        z, lengths = attack.least(model, model.x, model(model.x).argmax(dim=1), 0)
        assert torch.equal(z, model.x)
        assert lengths.isinf().all()


@pytest.mark.parametrize("k", [0.0, 1e-30, 1e30])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_dead_and_saturated_networks(k, norm):
    model = Linear(4, 1.0, seed=1)
    with torch.no_grad():
        model.w *= k
        model.b *= k
    y = model(model.x).argmax(dim=1)
    held = DeepFool(norm=norm, radius=1.0).withstands(model, model.x, y, 0)
    assert k or held.all()


def test_the_box_holds():
    """Images at its corners: steps out of it are cut, and what is found is inside."""
    model = Linear(5, 1.0, seed=2)
    x = model.x.round()
    y = model(x).argmax(dim=1)
    for attack in (DeepFool(norm="linf", radius=1.0), CarliniWagner(radius=9.0, steps=50, learning_rates=(0.1,))):
        z, lengths = attack.least(model, x, y, 0)
        assert (z >= 0).all()
        assert (z <= 1).all()
        assert lengths.isfinite().any()


def test_a_library_that_leaves_the_box_is_refused(monkeypatch):
    class Fake:
        def run(self, model, x, criterion):
            return x + 1

    model = Linear(2, 1.0, seed=0)
    monkeypatch.setattr(DeepFool, "_attacks", lambda self, foolbox: (Fake(),))
    with pytest.raises(ValueError, match="deepfool-l2: image 0 of the batch has left the ball"):
        DeepFool(norm="l2", radius=1.0).withstands(model, model.x, model.y, 0)


@pytest.mark.parametrize("shape", [(6,), (3, 5), (2, 2, 3, 3)])
def test_images_of_other_axes_one_image_and_none(shape):
    model = Linear(3, 1.0, seed=1, shape=shape)
    for n in (1, 0):
        z, lengths = DeepFool(norm="l2", radius=1.0).least(model, model.x[:n], model.y[:n], 0)
        assert z.shape == (n, *shape)
        assert lengths.shape == (n,)


def test_number_formats():
    model = Linear(3, 1.0, seed=1)
    attack = DeepFool(norm="linf", radius=1.0)
    expected = attack.least(model, model.x, model.y, 0)[1]
    z, lengths = attack.least(model.double(), model.x.double(), model.y, 0)
    assert z.dtype == torch.float64
    torch.testing.assert_close(lengths, expected, rtol=1e-3, atol=1e-6)
    z, _ = attack.least(model.bfloat16(), model.x.bfloat16(), model.y, 0)
    assert z.dtype == torch.float32


@pytest.mark.parametrize("attack", [DeepFool(norm="l2", radius=1.0), CarliniWagner(radius=1.0, steps=3, constants=2)])
def test_random_states_the_process_and_the_network_are_left_as_they_were_found(attack, capfd):
    model = nn.Sequential(Linear(3, 1.0, seed=1), nn.Dropout(0.9))
    x, y = model[0].x, model[0].y
    expected = attack.least(model.eval(), x, y, 0)
    model.train()
    before = torch.get_rng_state(), numpy.random.get_state()[1].copy(), random.getstate()
    handlers = list(logging.getLogger().handlers)
    with torch.no_grad():  # as whoever measures may have it
        z, lengths = attack.least(model, x, y, 0)
    assert torch.equal(z, expected[0])
    assert torch.equal(lengths, expected[1])
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert numpy.array_equal(numpy.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")


def test_a_logit_that_is_no_number_names_its_image():
    linear = Linear(3, 1.0, seed=1)

    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return linear(x).masked_fill(((x - linear.x[2]).abs().flatten(1).amax(dim=1) < 0.1)[:, None], torch.nan)

    with pytest.raises(NotFinite, match="image 2 "):
        DeepFool(norm="l2", radius=1.0).withstands(Broken(), linear.x, linear.y, 0)


def test_settings_are_complete():
    said = CarliniWagner(radius=0.5).settings()
    assert json.loads(json.dumps(said)) == said
    assert said["library"].startswith("foolbox 3.")
    assert said["learning_rates"] == [0.01, 0.001]
    assert DeepFool(norm="linf", radius=0.5).settings()["overshoot"] == 0.02


def test_foolbox_or_git_missing_is_said_with_the_mend(monkeypatch):
    model = Linear(2, 1.0, seed=0)
    attack = DeepFool(norm="l2", radius=1.0)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "foolbox", None)
        with pytest.raises(ExtraMissing, match=r"foolbox cannot be used: .*\npip install 'atentdsl\[foolbox\]'"):
            attack.withstands(model, model.x, model.y, 0)

    class NoGit(ModuleType):
        def find_spec(self, name, path=None, target=None):
            if name == "foolbox":
                raise ImportError("Failed to initialize: Bad git executable.")

    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "foolbox", raising=False)
        patch.setattr(sys, "meta_path", [NoGit("none"), *sys.meta_path])
        patch.setenv("PATH", "")
        with pytest.raises(ExtraMissing, match=r"asks for the program `git`\ninstall git"):
            attack.settings()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DeepFool(norm="l1", radius=1.0), "deepfool-l1: norm 'l1': one of linf, l2"),
        (lambda: CarliniWagner(norm="linf", radius=1.0), "norm 'linf': one of l2"),
        (lambda: DeepFool(norm="l2", radius=-1.0), "radius -1.0"),
        (lambda: DeepFool(norm="l2", radius=1.0, steps=0), "steps 0: finite, above 0"),
        (lambda: CarliniWagner(radius=1.0, learning_rates=()), "learning_rates"),
    ],
)
def test_what_cannot_be_run_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
