"""Attacks against networks whose weakness is known exactly."""

from __future__ import annotations

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.evaluation import attacks, evaluation
from atentdsl.runtime.accuracy import accuracy
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import NotFinite


def attack(*overrides: str):
    return attacks(atentdsl.load("sgd", overrides), 10)[0]


class Linear(torch.nn.Module):
    """Two classes, logit difference w x + b: the least perturbation that flips it is |w x + b| over w's dual norm,
    the l1 norm for l-infinity and the l2 norm for l2."""

    def __init__(self, w: torch.Tensor, b: float) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(w)
        self.b = b

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = x.flatten(1) @ self.w + self.b
        return torch.stack([-score / 2, score / 2], dim=1)

    def margin(self, x: torch.Tensor, y: torch.Tensor, norm: str = "linf") -> torch.Tensor:
        score = x.flatten(1) @ self.w + self.b
        return torch.where(y == 1, score, -score) / self.w.norm(p=1 if norm == "linf" else 2)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.01, 0.2), st.integers(1, 25), st.sampled_from([1, 2, 7, 40]))
def test_a_linear_classifier_falls_exactly_where_its_margin_is_below_the_radius(norm, seed, radius, steps, n):
    """Inputs far from the box's faces, so the ball alone binds. Steps of 2.5 radius / steps along a constant gradient
    reach the cube's corner from any start, so the answer is the exact one; on the sphere they come within a hundredth
    of the best direction after ten steps, and an image whose margin is that near the radius is left out."""
    steps = steps if norm == "linf" else 10 + steps
    generator = torch.Generator().manual_seed(seed)
    model = Linear(torch.randn(64, generator=generator), 0.0)
    x = 0.4 + 0.2 * torch.rand(n, 1, 8, 8, generator=generator)
    model.b = -float((x.flatten(1) @ model.w.detach()).median())
    y = (model.margin(x, torch.ones(n, dtype=torch.long)) > 0).long()
    margin = model.margin(x, y, norm)
    sure = (margin - radius).abs() > (1e-4 if norm == "linf" else 0.01 * radius)
    overrides = [f"evaluate.norm={norm}", f"evaluate.radius={radius!r}", f"evaluate.attacks=['pgd-{steps}']"]
    found = attack(*overrides).withstands(model, x, y, 0)
    assert torch.equal(found[sure], (margin > radius)[sure])


def test_an_attack_that_climbs_the_wrong_way_is_caught():
    """The mutant: descending PGD leaves every image of the linear classifier standing."""
    generator = torch.Generator().manual_seed(0)
    model = Linear(torch.randn(64, generator=generator), 0.0)
    x = 0.4 + 0.2 * torch.rand(30, 1, 8, 8, generator=generator)
    model.b = -float((x.flatten(1) @ model.w.detach()).median())
    y = (model.margin(x, torch.ones(30, dtype=torch.long)) > 0).long()
    shipped = attack("evaluate.radius=0.1")
    edited = shipped.compiled.text.replace("drift = sign(g)", "drift = sign(-g)")
    assert edited != shipped.compiled.text
    from atentdsl.codegen import as_module

    mutant = attrs.evolve(shipped, module=as_module(edited, "mutant"))
    below = model.margin(x, y) < 0.1
    assert below.any()
    assert not shipped.withstands(model, x, y, 0)[below].any()
    assert mutant.withstands(model, x, y, 0).all()


def test_the_attack_is_projected_gradient_descent_as_madry_et_al_write_it():
    """Written out by hand: the same start, twenty steps, ball, box."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    model = model.double().eval()
    x, y = torch.rand(9, 1, 8, 8, dtype=torch.float64), torch.arange(9)
    shipped = attack("evaluate.radius=0.2", "evaluate.step_size=0.03")
    found = shipped.perturbed(model, x, y, seed=4)

    from atentdsl.runtime.streams import Streams

    z = (x + 0.2 * (2 * Streams(4, 0, x.device).uniform("attack.start", x) - 1)).clamp(0, 1)
    for _ in range(20):
        z.requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(z), y, reduction="sum")
        (g,) = torch.autograd.grad(loss, z)
        z = (z.detach() + 0.03 * g.sign()).clamp(x - 0.2, x + 0.2).clamp(0, 1)
    torch.testing.assert_close(found, z, rtol=0, atol=1e-12)


def test_perturbations_stay_in_ball_and_box():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    x, y = torch.rand(50, 1, 8, 8), torch.arange(50) % 10
    z = attack("evaluate.radius=0.3").perturbed(model, x, y, 0)
    assert (z - x).abs().max() <= 0.3 + 1e-6
    assert 0 <= z.min() <= z.max() <= 1
    assert (z - x).abs().max() > 0.29


def test_l2_perturbations_stay_in_ball_and_box_and_reach_the_sphere():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    x, y = 0.3 + 0.4 * torch.rand(50, 1, 8, 8), torch.arange(50) % 10
    z = attack("evaluate.norm=l2", "evaluate.radius=0.5").perturbed(model, x, y, 0)
    length = (z - x).flatten(1).norm(dim=1)
    assert length.max() <= 0.5 + 1e-5
    assert length.median() > 0.499
    assert 0 <= z.min() <= z.max() <= 1


def test_the_norm_and_radius_left_out_are_those_of_the_sampler_s_ball():
    assert (
        attacks(atentdsl.load("pgd_at_linf", ["sampler.attack.projection.linf_ball.radius=0.11"]), 10)[0].ball.radius
        == 0.15
    )
    recipe = atentdsl.load("pgd_at_l2").values()
    del recipe["evaluate"]["norm"], recipe["evaluate"]["radius"]
    (found,) = attacks(atentdsl.load(recipe), 10)
    assert (found.ball.norm, found.ball.radius) == ("l2", 0.7)


def test_a_network_of_no_numbers_is_named_not_counted():
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = x.flatten(1)[:, :10].clone()
            logits[x[:, 0, 0, 0] > 0.5, 3] = float("nan")
            return logits

    x = torch.zeros(6, 1, 8, 8)
    x[4, 0, 0, 0] = 1.0
    with pytest.raises(NotFinite, match="image 4 of those evaluated"):
        accuracy(Broken(), Images(x, torch.zeros(6, dtype=torch.long), 10), [attack().withstands], 0)


def test_more_restarts_never_help_the_defender():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    x, y = torch.rand(200, 1, 8, 8), torch.arange(200) % 10
    y = model(x).argmax(dim=1)
    once = attack("evaluate.radius=0.02", "evaluate.attacks=['pgd-1']").withstands(model, x, y, 0)
    often = attack("evaluate.radius=0.02", "evaluate.attacks=['pgd-1']", "evaluate.restarts=20").withstands(
        model, x, y, 0
    )
    assert not (often & ~once).any()
    assert often.sum() < once.sum(), "twenty restarts of one step break more than one"


def test_without_radius_an_attack_changes_nothing():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    data = Images(torch.rand(70, 1, 8, 8), torch.arange(70) % 10, 10)
    found = evaluation(model, data, [attack("evaluate.radius=0")], "test", 0)
    assert found["attacks"]["pgd-20"]["robust_accuracy"] == found["clean_accuracy"]


def test_accuracy_counts_by_hand_and_leaves_mode_and_randomness():
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, 10)).train()
    data = Images(torch.rand(1100, 1, 8, 8), torch.arange(1100) % 10, 10)
    expected = float((model.eval()(data.x).argmax(1) == data.y).double().mean())
    model.train()
    before = torch.get_rng_state()
    withstand = lambda model, x, y, seed: y % 2 == 0  # noqa: E731
    found = accuracy(model, data, [withstand], seed=0)
    right_and_even = (model.eval()(data.x).argmax(1) == data.y) & (data.y % 2 == 0)
    model.train()
    assert found.clean == expected
    assert found.robust == (float(right_and_even.double().mean()),)
    assert model.training
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["pgd-3", "fgsm", "pgd-3,norm=linf,radius=0.1,loss=margin"])
def test_a_training_s_smoothing_is_no_part_of_the_attack(name):
    """The network is measured without noise, and so is the gradient that it is attacked by."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    x, y = torch.rand(20, 1, 8, 8), torch.arange(20) % 10
    table = [f"evaluate.attacks=['{name}']", "evaluate.norm=l2", "evaluate.radius=0.7"]
    smoothed = attacks(atentdsl.load("gaussian_smoothing", table), 10)[0]
    plain = attacks(atentdsl.load("sgd", table), 10)[0]
    assert torch.equal(smoothed.perturbed(model, x, y, 3), plain.perturbed(model, x, y, 3))
    assert smoothed.settings() == plain.settings()
