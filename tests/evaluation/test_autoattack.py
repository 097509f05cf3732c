"""AutoAttack through this package against its authors' library called directly, and what the library does not mind."""

from __future__ import annotations

import json
import logging
import random
import sys

import numpy
import pytest
import torch
from torch import nn

from atentdsl.evaluation import autoattack
from atentdsl.evaluation.autoattack import ENSEMBLES, FEWEST, NORMS, AutoAttack
from atentdsl.evaluation.ball import Ball
from atentdsl.evaluation.lent import Lent, lent
from atentdsl.runtime.errors import NotFinite
from atentdsl.testing.mutants import edited

pyautoattack = pytest.importorskip("pyautoattack")
RADIUS = {"linf": 0.02, "l2": 0.12, "l1": 0.6}


def network(classes: int = 10, size: int = 64, seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 32), nn.ReLU(), nn.Linear(32, classes))


def answers(model: nn.Module, n: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and the network's own answers as their labels."""
    x = torch.rand(n, *shape or (1, 8, 8), generator=torch.Generator().manual_seed(1))
    return x, model.eval()(x).argmax(dim=1)


class Returns(nn.Module):
    """Logits by a function of the images."""

    def __init__(self, logits) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits(x)


def brief(version: str, norm: str = "linf", classes: int = 10, **more) -> AutoAttack:
    return AutoAttack(norm, RADIUS[norm], classes, version, **{"steps": 5, "queries": 20, **more})


@pytest.mark.parametrize(
    ("norm", "radius", "without"),
    [("linf", 0.06, ()), ("l2", 0.35, ("apgd-ce", "fab-t")), ("l1", 1.2, ("apgd-t", "fab-t"))],
)
def test_the_same_images_fall_as_by_the_library_itself(norm, radius, without):
    """With the authors' steps; between a fifth and four fifths of the images fall."""
    model = network(classes=4)
    x, y = answers(model, 40)
    direct = pyautoattack.AutoAttack(model, norm=NORMS[norm], eps=radius, seed=7)
    direct.attacks_to_run = [part for part in direct.attacks_to_run if part not in without]
    direct.square.n_queries = 50
    direct.fab.n_target_classes = direct.apgd_targeted.n_target_classes = 3
    z, labels = direct.run_standard_evaluation(x, y, batch_size=40)
    ours = AutoAttack(norm, radius, 4, queries=50, without=without)
    found, labelled = ours._attacked(model, x, y, 7)
    assert torch.equal(found, z)
    assert torch.equal(labelled, labels)
    assert 0.2 < (labels != y).float().mean() < 0.8
    assert torch.equal(model(found).argmax(dim=1), labels)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("version", ENSEMBLES)
def test_each_version_is_set_as_the_library_sets_it(version, norm):
    """Every plain attribute of every part that is run, the library's own choice against what the settings say."""
    model = network()
    x, _ = answers(model, 2)
    attack = AutoAttack(norm, 0.3, 10, version)
    theirs = pyautoattack.AutoAttack(model, norm=NORMS[norm], eps=0.3, seed=5, version=version)
    with lent(model, x, 5) as net:
        ours = attack._library(net, x.device, 5)
    assert ours.attacks_to_run == theirs.attacks_to_run
    kinds = {"apgd-ce": "apgd", "apgd-dlr": "apgd", "apgd-t": "apgd_targeted", "fab-t": "fab"}

    def plain(part: object) -> dict[str, object]:
        said = {k: v for k, v in vars(part).items() if isinstance(v, (int, float, str, bool))}
        # The library sets both when it begins a part: loss by the part's name, FAB's restarts to 1 where targeted.
        return {k: v for k, v in said.items() if k not in ("loss", "device")}

    for part in attack.parts:
        kind = kinds.get(part, part)
        one, other = plain(getattr(ours, kind)), plain(getattr(theirs, kind))
        if part.startswith("fab") and version == "plus":
            one["n_restarts"] = attack.settings()["parts"]["fab"]["restarts"]
        assert one == other, part
    json.dumps(attack.settings())


@pytest.mark.parametrize("version", [*ENSEMBLES, *FEWEST])
@pytest.mark.parametrize("norm", NORMS)
def test_every_version_and_part_runs_and_stays_in_its_ball(version, norm):
    model = network()
    x, y = answers(model, 3)
    z, labels = brief(version, norm, steps=3)._attacked(model, x, y, 0)
    assert Ball(norm, RADIUS[norm]).holds(x, z).all()
    assert torch.equal(model(z).argmax(dim=1), labels)


def test_the_same_seed_gives_the_same_result():
    model = network()
    x, y = answers(model, 8)
    attack = AutoAttack("linf", 0.1, 10, "square", queries=5)
    z = attack.perturbed(model, x, y, 0)
    torch.rand(1)
    assert torch.equal(attack.perturbed(model, x, y, 0), z)
    assert not torch.equal(attack.perturbed(model, x, y, 1), z)
    assert torch.equal(attack.withstands(model, x, y, 0), model(z).argmax(dim=1) == y)


def test_random_states_the_process_and_the_network_are_left_as_they_were_found(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = network()
    x, y = answers(model, 4)
    model.train()
    model[2].eval()
    model[1].weight.requires_grad_(False)
    ours, logger = (lambda *_: None), logging.getLogger("auto-attack")
    before = torch.get_rng_state(), numpy.random.get_state()[1].copy(), random.getstate()
    handlers, level = list(logging.getLogger().handlers), logger.level
    traced = sys.gettrace()
    sys.settrace(ours)
    brief("plus").withstands(model, x, y, 9)
    kept = sys.gettrace()
    sys.settrace(traced)
    assert kept is ours
    assert torch.equal(torch.get_rng_state(), before[0])
    assert numpy.array_equal(numpy.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    assert (logging.getLogger().handlers, logger.level, logger.disabled, logger.handlers) == (
        handlers,
        level,
        False,
        [],
    )
    assert [part.training for part in model] == [True, True, False, True]
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    assert all(p.grad is None for p in model.parameters())
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_a_network_that_draws_is_attacked_with_the_seeds_draws():
    model = network()
    x, y = answers(model, 5)
    noisy = Returns(lambda z: model(z + 0.05 * torch.randn_like(z)) + float(numpy.random.rand() + random.random()))
    z = brief("rand").perturbed(noisy, x, y, 2)
    torch.rand(3)
    assert torch.equal(brief("rand").perturbed(noisy, x, y, 2), z)


def test_a_network_in_train_mode_is_attacked_in_eval_mode():
    model = nn.Sequential(network(), nn.Dropout(0.9))
    x, y = answers(model, 6)
    expected = brief("standard").perturbed(model.eval(), x, y, 0)
    with torch.no_grad():  # as whoever measures may have it
        assert torch.equal(brief("standard").perturbed(model.train(), x, y, 0), expected)
    assert model.training


@pytest.mark.parametrize("classes", [2, 3, 5, 100])
def test_few_and_many_classes(classes):
    """What is not defined is left out and said; targeted parts aim at no more classes than there are."""
    model = network(classes)
    x, y = answers(model, 3)
    attack = brief("plus", classes=classes)
    assert attack.withstands(model, x, y, 0).shape == (3,)
    expected = {2: ["apgd-dlr", "apgd-t"], 3: ["apgd-t"]}.get(classes, [])
    assert list(attack.settings()["left_out"]) == expected
    assert attack.name == "-without-".join(["autoattack-plus", *expected])
    assert attack.settings()["parts"]["fab-t"]["targets"] == min(9, classes - 1)
    with pytest.raises(ValueError, match=f"the network has {classes} classes, not 7"):
        brief("fab", classes=7).withstands(model, x, y, 0)


@pytest.mark.parametrize(("norm", "shape"), [("linf", (6,)), ("l2", (7, 9)), ("l2", (2, 2, 8, 8)), ("l1", (36,))])
def test_one_image_and_images_of_other_axes(norm, shape):
    model = network(size=torch.Size(shape).numel())
    x, y = answers(model, 1, *shape)
    assert brief("standard", norm).perturbed(model, x, y, 0).shape == x.shape
    assert brief("standard", norm).withstands(model, x[:0], y[:0], 0).shape == (0,)


@pytest.mark.parametrize("side", [4, 12, 14, 24, 28])
def test_sizes_that_square_cannot_tile_are_refused_with_the_mend(side):
    model = network(size=side * side)
    x, y = answers(model, 2, 1, side, side)
    if side == 28:
        brief("square", "l2").withstands(model, x, y, 0)
        return
    with pytest.raises(ValueError, match=f"{side} x {side} under l2; leave it out: without="):
        brief("standard", "l2").withstands(model, x, y, 0)
    assert brief("standard", "l2", without=("square",)).withstands(model, x, y, 0).shape == (2,)
    brief("square", "linf").withstands(model, x, y, 0)


def test_number_formats():
    model = network()
    x, y = answers(model, 5)
    half = Returns(lambda z: model(z).bfloat16())
    assert brief("standard").withstands(half, x, half(x).argmax(dim=1), 0).shape == (5,)
    whole = network().bfloat16()
    z = brief("standard").perturbed(whole, x.bfloat16(), whole(x.bfloat16()).argmax(dim=1), 0)
    assert z.dtype == torch.float32
    double = network().double()
    assert brief("standard").perturbed(double, x.double(), y, 0).dtype == torch.float64


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("k", [0, 1e-30, 1e4, 1e30])
def test_dead_and_saturated_networks(norm, k):
    """Logits that never change, with no gradient at all or too small or too large a one: an answer, no crash."""
    model = network()
    x, _ = answers(model, 3)
    scaled = Returns(lambda z: torch.zeros(1, 10).expand(len(z), 10) if k == 0 else k * model(z))
    held = brief("plus", norm, steps=3).withstands(scaled, x, scaled(x).argmax(dim=1), 0)
    assert k or held.all()


def test_a_logit_that_is_no_number_names_its_image():
    model = network()
    x, y = answers(model, 4)
    x[2] = x[2] / 2
    clean = Returns(lambda z: model(z).masked_fill((z.mean(dim=(1, 2, 3)) < 0.35)[:, None], torch.nan))

    def moved(z: torch.Tensor) -> torch.Tensor:
        distance = (z - x[3]).abs().flatten(1).amax(dim=1)
        return ((distance > 0) & (distance < 0.05))[:, None]

    near = Returns(lambda z: model(z).masked_fill(moved(z), torch.inf))
    with pytest.raises(NotFinite, match="image 2 "):
        brief("standard").withstands(clean, x, y, 0)
    with pytest.raises(NotFinite, match="image 3 "):
        brief("apgd-ce").withstands(near, x, near(x).argmax(dim=1), 0)


def beyond(self, net: Lent, device: torch.device, seed: int):
    """A library whose attack leaves the ball."""

    class Fake:
        def run_standard_evaluation(self, x, y, batch_size):
            return (x + 0.1).clamp(0, 1), y + 1

    return Fake()


def test_a_perturbation_outside_the_ball_is_refused(monkeypatch):
    """And the mutant, which does not ask the ball, believes it."""
    model = network()
    x, y = answers(model, 4)
    monkeypatch.setattr(AutoAttack, "_library", beyond)
    with pytest.raises(ValueError, match="autoattack: image 0 of the batch has left the ball"):
        brief("standard").withstands(model, x, y, 0)
    mutant = edited(autoattack, "        Ball(self.norm, self.radius).require(self.name, x.to(z.dtype), z)\n", "")
    monkeypatch.setattr(mutant.AutoAttack, "_library", beyond)
    assert not mutant.AutoAttack("linf", 0.02, 10).withstands(model, x, y, 0).any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"norm": "l0"}, "norm 'l0': one of linf, l2, l1"),
        ({"version": "pgd"}, "version 'pgd': one of standard, plus, rand, apgd-ce"),
        ({"radius": float("nan")}, "radius nan"),
        ({"classes": 1}, "of a single class nothing can be misclassified"),
        ({"classes": 3, "version": "apgd-t"}, r"nothing is left to run \(apgd-t: needs 4 classes\)"),
        ({"without": ("fab",)}, "version standard has the parts apgd-ce, apgd-t, fab-t, square"),
        ({"steps": 1}, "at least 2"),
        ({"queries": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_run_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        AutoAttack(**{"norm": "linf", "radius": 0.1, "classes": 10, **given})
