"""The checks of masked gradients, on networks of which is known whether they mask them."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import attrs
import pytest
import torch
from evaluation.known_networks import Linear, Moat, Rounded, linear
from hypothesis import given
from hypothesis import strategies as st

import atentdsl
from atentdsl.evaluation import paired, sanity, whitebox
from atentdsl.evaluation.ball import Ball
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import NotFinite, UnsuitedAttack
from atentdsl.testing.mutants import edited

RADIUS = 0.05
BALL = [f"evaluate.radius={RADIUS}", "evaluate.attacks=['pgd-5']"]


def recipe(*overrides: str):
    return atentdsl.load("sgd", [*BALL, *overrides])


def checked(model, images, module=sanity, given=None, **settings):
    found = module.sanity(model, images, given or recipe(), 0, **{"queries": 200, "draws": 50} | settings)
    return {check.name: check for check in found}


@pytest.fixture(scope="module")
def masked():
    return linear(150, Rounded)


@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.05), ("l2", 0.4), ("l1", 1.0)])
def test_a_linear_classifier_passes_all(norm, radius):
    model, images = linear(120)
    found = checked(model, images, given=recipe(f"evaluate.norm={norm}", f"evaluate.radius={radius}"))
    assert list(found) == ["black-box", "unbounded", "more-steps", "noise"]
    assert [check.passed for check in found.values()] == [True] * 4
    assert not any(check.warning for check in found.values())
    assert 0 < found["noise"].figures["pgd-50_accuracy"] < found["noise"].figures["noise_accuracy"]
    assert all(check.figures["attack"]["norm"] == norm for name, check in found.items() if name != "unbounded")


def test_the_white_box_accuracy_is_the_exact_share_of_a_linear_classifier():
    model, images = linear(120)
    exact = float((model.margin(images.x) > RADIUS).double().mean())
    assert checked(model, images)["noise"].figures["pgd-50_accuracy"] == exact


def test_a_network_without_gradients_fails_by_square_by_noise_and_without_bounds(masked):
    found = checked(*masked)
    assert {name: check.passed for name, check in found.items()} == {
        "black-box": False,
        "unbounded": False,
        "more-steps": True,
        "noise": False,
    }
    for name in ("black-box", "unbounded", "noise"):
        assert found[name].warning.startswith(f"sanity {name}: ")
        assert found[name].warning.endswith("gradients may be masked")
    standing = found["unbounded"].figures["standing"]
    assert standing
    assert all(f"{image}" in found["unbounded"].warning for image in standing[:5])
    assert found["black-box"].report()["square_accuracy"] < found["black-box"].report()["pgd-50_accuracy"]


def test_few_queries_that_break_an_image_of_their_own_are_followed_by_ten_times_as_many(masked):
    """Five are not beyond chance; fifty are. Where the first break nothing of their own, no more are asked for."""
    found = checked(*masked, queries=5)["black-box"]
    assert found.passed is False
    assert found.figures["queries"] == 50
    short = checked(*masked, module=edited(sanity, "black_box(LONGER * queries)", "black_box(queries)"), queries=5)
    assert short["black-box"].passed is True
    assert 0 < short["black-box"].figures["first_only"] < found.figures["first_only"]
    honest = checked(*linear(120), queries=5)["black-box"]
    assert (honest.passed, honest.figures["queries"], honest.figures["first_only"]) == (True, 5, 0)


def test_the_images_that_stand_in_the_whole_box_are_those_named():
    """Of a network that answers 1 whatever it is shown, the images of class 1 stand, and no others."""

    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.stack([0 * x.flatten(1)[:, 0], 0 * x.flatten(1)[:, 0] + 1], dim=1)

    y = torch.tensor([0, 1, 0, 1, 1, 0, 1, 1, 1, 0])
    found = checked(Constant(), Images(torch.full((10, 1, 8, 8), 0.5), y, 2), queries=2, draws=2)["unbounded"]
    assert found.figures["standing"] == [1, 3, 4, 6, 7, 8]
    assert "6 of 10 images stand" in found.warning
    assert "1, 3, 4, 6, 7, …" in found.warning


def test_saturated_logits_are_found_by_square():
    """Logits so large that float32 knows no second class: the gradient of the cross-entropy is exactly zero."""
    model, images = linear(150, scale=1e6)
    found = checked(model, images)
    assert found["black-box"].passed is False
    assert found["noise"].passed is False


def test_a_moat_lets_more_steps_help_the_defender():
    images = Images(torch.full((40, 1, 8, 8), 0.5), torch.zeros(40, dtype=torch.long), 2)
    found = checked(Moat(RADIUS), images)["more-steps"]
    assert found.passed is False
    assert "fall to pgd-1 and not to pgd-50" in found.warning
    assert "more steps help the defender" in found.warning
    assert found.figures["fewer"]["pgd-1"]["accuracy"] == 0


def test_a_transfer_from_the_unmasked_network_is_stronger(masked):
    model, images = masked
    honest = Linear(model.w.detach(), model.b)
    honest.train()
    assert checked(model, images, source=honest)["transfer"].passed is False
    assert honest.training, "the other network's mode is left as it was"
    assert checked(honest, images, source=model)["transfer"].passed is True


def test_noise_is_at_the_ball_s_extreme_points():
    seen = []

    class Watched(torch.nn.Module):
        def forward(self, x):
            seen.append(x.clone())
            return torch.stack([x.flatten(1).sum(1) * 0 + 1, x.flatten(1).sum(1) * 0], dim=1)

    x = torch.full((6, 1, 4, 4), 0.5)
    for norm, order in (("linf", torch.inf), ("l2", 2), ("l1", 1)):
        held = sanity.noise(Ball(norm, 0.25), 3)(Watched(), x, torch.zeros(6, dtype=torch.long), 1)
        assert held.all()
        moved = torch.cat(seen[-3:]).sub(0.5).flatten(1)
        torch.testing.assert_close(moved.norm(p=order, dim=1), torch.full((18,), 0.25))
        assert len(moved.unique(dim=0)) > 9, "draws differ"
        assert {"linf": 16, "l2": 16, "l1": 1}[norm] == int((moved[0] != 0).sum())
        assert (moved > 0).any()
        assert (moved < 0).any()


def test_a_square_that_cannot_be_drawn_is_said_and_neither_passed_nor_failed():
    x = torch.rand(6, 1, 3, 3)
    model = Linear(torch.ones(9), -4.5)
    images = Images(x, model(x).argmax(dim=1), 2)
    found = checked(model, images, given=recipe("evaluate.norm=l2"))["black-box"]
    assert found.passed is None
    assert found.warning is None
    assert "cannot tile 3 x 3" in found.report()["why"]


def test_a_recipe_without_a_ball_or_a_network_without_numbers_is_refused():
    model, images = linear(5)
    with pytest.raises(UnsuitedAttack, match=r"set `evaluate.radius` above 0"):
        checked(model, images, given=recipe("evaluate.radius=0"))
    with pytest.raises(NotFinite):
        checked(Linear(torch.full((64,), float("nan"))), images)
    with pytest.raises(ValueError, match="at least one image is wanted"):
        whitebox.leading(images, 0)


def test_the_same_seed_gives_the_same_figures_and_leaves_randomness(masked):
    model, images = masked
    model.train()
    before = torch.get_rng_state()
    first, second = (checked(model, images, queries=20, draws=5) for _ in range(2))
    assert first == second
    assert model.training
    assert torch.equal(before, torch.get_rng_state())
    model.eval()


@given(st.integers(0, 60), st.integers(0, 60))
def test_chance_is_the_binomial_s_tail(more, fewer):
    n = more + fewer
    exact = Fraction(sum(comb(n, k) for k in range(more, n + 1)), 2**n)
    assert paired.chance(more, fewer) == pytest.approx(float(exact), rel=1e-9)


def test_equal_attacks_are_told_apart_once_in_a_hundred_times_at_most():
    """Exactly: the probability, over all that may happen, that a check fails of two equal attacks."""
    for n in (7, 10, 25, 60):
        wrong = sum(Fraction(comb(n, k), 2**n) for k in range(n + 1) if paired.Comparison(k, n - k).stronger())
        assert 0 < wrong <= Fraction(1, 100)


MUTANTS = {
    "black-box": ("[_square(ball, images.classes, queries).withstands]", "[white.withstands]"),
    "unbounded": ('box = pgd(recipe, "linf", 1.0)', 'box = pgd(recipe, "linf", 0.0)'),
    "noise": ("ball.radius * _extreme", "0 * _extreme"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_check_that_checks_nothing_is_caught(name, masked):
    mutant = edited(sanity, *MUTANTS[name])
    shipped, wrong = checked(*masked)[name], checked(*masked, module=mutant)[name]
    if name == "unbounded":
        assert len(wrong.figures["standing"]) > len(shipped.figures["standing"])
    else:
        assert (shipped.passed, wrong.passed) == (False, True)


def test_a_comparison_the_wrong_way_round_is_caught():
    mutant = edited(paired, "(~first & second).sum()", "(first & ~second).sum()")
    held = torch.tensor([False] * 7 + [True] * 3), torch.tensor([True] * 10)
    assert attrs.astuple(paired.Comparison.of(*held)) == (7, 0)
    assert attrs.astuple(mutant.Comparison.of(*held)) != (7, 0)
