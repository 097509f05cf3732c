"""Certificates against networks whose smoothed class is known in closed form, and against the binomial law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from atentdsl.evaluation import certification
from atentdsl.evaluation.certification import (
    Smoothing,
    certify,
    largest_radius,
    least_draws,
    lower_bound,
    predict,
    prediction,
    radius,
    verdict,
)
from atentdsl.evaluation.fastest_batch import fastest
from atentdsl.evaluation.intervals import interval
from atentdsl.evaluation.noisy_votes import Stage, votes
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import MemoryExhausted, NotCertifiable, NotFinite
from atentdsl.testing.mutants import edited

alphas = st.floats(1e-6, 0.4)
sigmas = st.floats(0.01, 2.0)


class Linear(torch.nn.Module):
    """Two classes, logit difference w x: under noise the class has probability Phi(margin / sigma), exactly.

    A copy's logits do not depend on the batch it is in: products and their sum are taken row by row.
    """

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(w)
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        self.seen.append(len(x))
        score = (x.flatten(1).double() * self.w.double()).sum(1)
        return torch.stack([-score, score], dim=1)


def linear(n: int, spread: float = 0.3) -> tuple[Linear, Images, torch.Tensor]:
    """A classifier, images about its boundary, and their l2 distances to it."""
    generator = torch.Generator().manual_seed(n)
    model = Linear(torch.randn(16, generator=generator))
    direction = model.w.detach() / model.w.detach().norm()
    x = 0.5 + 0.05 * torch.randn(n, 16, generator=generator)
    wanted = spread * (2 * torch.rand(n, generator=generator) - 1)
    x = x + (wanted - x @ direction)[:, None] * direction
    score = (x.double() @ model.w.detach().double()) / model.w.detach().double().norm()
    images = Images(x.reshape(n, 1, 4, 4).clamp(0, 1), torch.ones(n, dtype=torch.long), 2)
    score = (images.x.flatten(1).double() @ model.w.detach().double()) / model.w.detach().double().norm()
    return model, images, score


def test_a_linear_classifier_is_certified_up_to_its_margin():
    """Radius above the margin with probability alpha at most; below it by what the votes' deviation allows."""
    model, images, score = linear(60)
    sigma, alpha, n = 0.25, 0.001, 2000
    over = 0
    for one in certify(model, images, Smoothing(sigma, 50, n, alpha), seed=3):
        margin = abs(float(score[one.index]))
        p = stats.norm.cdf(margin / sigma)
        told = one.verdict
        if told.prediction >= 0:
            over += told.prediction != int(score[one.index] > 0) or told.radius > margin
        # Votes five deviations below their mean bring this bound at least.
        k = math.floor(n * p - 5 * math.sqrt(n * p * (1 - p)))
        if p > 0.8:
            assert told.prediction == int(score[one.index] > 0)
            assert told.radius >= radius(lower_bound(k, n, alpha), sigma)
        assert told.radius <= largest_radius(n, alpha, sigma) * (1 + 1e-12)
    assert over <= 1


def test_more_draws_come_as_near_to_the_margin_as_one_likes():
    model, images, score = linear(3, spread=0.2)
    gaps = []
    for n in (200, 2000, 50_000):
        found = [one.verdict.radius for one in certify(model, images, Smoothing(0.2, 100, n), seed=0)]
        gaps.append(max(abs(float(margin)) - r for margin, r in zip(score, found, strict=True)))
    assert gaps[0] > gaps[1] > gaps[2]
    assert 0 < gaps[2] < 0.01


def violations(module, alpha: float, images: int, n: int, classes: int, p: float) -> int:
    """In how many of so many simulated images the bound lies above the chosen class's true probability."""
    rng = np.random.default_rng(1)
    shares = np.array([p, *[(1 - p) / (classes - 1)] * (classes - 1)])
    selection, estimation = (rng.multinomial(number, shares, size=images) for number in (20, n))
    bounds: dict[int, float] = {}
    count = 0
    for first, fresh in zip(selection, estimation, strict=True):
        if module is certification:  # the shipped bound depends on k alone, which is asserted below
            chosen = int(np.argmax(first))
            k = int(fresh[chosen])
            if k not in bounds:
                bounds[k] = module.verdict(first, fresh, alpha, 0.25).lower
        else:
            told = module.verdict(first, fresh, alpha, 0.25)
            chosen, k, bounds[told.n_votes] = told.chosen, told.n_votes, told.lower
        count += bounds[k] > shares[chosen]
    return count


@pytest.mark.parametrize(("alpha", "p", "classes"), [(0.001, 0.9, 2), (0.05, 0.75, 2), (0.05, 0.1, 10)])
def test_the_bound_is_above_the_probability_with_probability_alpha_at_most(alpha, p, classes):
    """10,000 images, exact binomial test."""
    found = violations(certification, alpha, 10_000, 1000, classes, p)
    assert stats.binomtest(found, 10_000, alpha, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("chosen = int(np.argmax(selection))", "chosen = int(np.argmax(estimation))"),
        ("stats.beta.ppf(alpha, k, n - k + 1)", "stats.beta.ppf(2 * alpha, k, n - k + 1)"),
        ("stats.beta.ppf(alpha, k, n - k + 1)", "k / n"),
    ],
)
def test_a_bound_that_errs_more_often_is_caught(old, new):
    """Mutants: the votes that choose are those that count; twice the alpha; no bound but the share itself."""
    mutant = edited(certification, old, new)
    found = violations(mutant, 0.05, 2000, 1000, 10, 0.1)
    assert stats.binomtest(found, 2000, 0.05, alternative="greater").pvalue < 1e-3


@settings(max_examples=50)
@given(st.integers(1, 3000), st.data(), alphas)
def test_the_bound_is_clopper_and_pearsons(n, data, alpha):
    """P(at least k votes | p) = alpha, and it grows with k, stays below k / n, and falls for as many of more."""
    k = data.draw(st.integers(1, n))
    p = lower_bound(k, n, alpha)
    assert float(stats.binom.sf(k - 1, n, p)) == pytest.approx(alpha, rel=1e-6)
    assert 0 <= lower_bound(k - 1, n, alpha) < p < k / n
    assert lower_bound(k, n + 1, alpha) < p < lower_bound(k + 1, n + 1, alpha)
    assert lower_bound(k, n, alpha / 2) < p
    assert interval(k, n, 1 - 2 * alpha)[0] == pytest.approx(p)


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_holds_the_share_and_mirrors(k, more):
    n = k + more
    low, high = interval(k, n)
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert interval(n - k, n) == pytest.approx((1 - high, 1 - low))


@given(sigmas, alphas, st.integers(1, 10**6))
def test_the_largest_radius_is_that_of_votes_that_all_agree(sigma, alpha, n):
    most = largest_radius(n, alpha, sigma)
    assert most == pytest.approx(verdict([1, 0], [n, 0], alpha, sigma).radius, rel=1e-6, abs=1e-9)
    assert most == pytest.approx(max(0.0, sigma * stats.norm.ppf(alpha ** (1 / n))), rel=1e-6, abs=1e-9)
    assert largest_radius(n + 1, alpha, sigma) >= most
    assert largest_radius(n, alpha, 2 * sigma) == pytest.approx(2 * most)


@given(sigmas, alphas, st.floats(0, 5))
def test_the_least_draws_are_enough_and_one_less_is_not(sigma, alpha, ratio):
    n = least_draws(ratio * sigma, alpha, sigma)
    assert largest_radius(n, alpha, sigma) >= ratio * sigma
    assert n == 1 or largest_radius(n - 1, alpha, sigma) <= ratio * sigma


def test_the_numbers_of_sigma_0_12():
    """At alpha 0.001, 10,000 draws reach 0.384, and 0.435 needs 47,808."""
    assert largest_radius(10_000, 0.001, 0.12) == pytest.approx(0.384, abs=5e-4)
    assert least_draws(0.435, 0.001, 0.12) == 47_808
    assert largest_radius(47_807, 0.001, 0.12) < 0.435 <= largest_radius(47_808, 0.001, 0.12)
    with pytest.raises(NotCertifiable, match=r"at most radius 0\.384(.|\n)*take --n 47808 or more"):
        Smoothing(0.12, n=10_000).require([0.2, 0.435])
    Smoothing(0.12, n=47_808).require([0.435])
    with pytest.raises(NotCertifiable, match=r"nothing at alpha 0\.001.*\ntake --n 10 or more"):
        Smoothing(0.12, n=9).require()
    assert largest_radius(2, 0.25, 1.0) == 0
    assert least_draws(0, 0.25, 1.0) == 3  # 1/2 itself certifies nothing


@pytest.mark.parametrize("wrong", [(0.0,), (-1.0,), (math.nan,), (math.inf,), (1.0, 0), (1.0, 1, 0), (1.0, 1, 1, 1.0)])
def test_numbers_out_of_their_range_are_refused(wrong):
    with pytest.raises(NotCertifiable):
        Smoothing(*wrong)


def test_half_the_votes_certify_nothing():
    assert radius(0.5, 1.0) == 0
    told = verdict([10, 0], [500, 500], 0.001, 0.5)
    assert (told.prediction, told.radius, told.chosen) == (-1, 0.0, 0)
    assert verdict([0, 10], [1000, 0], 0.001, 0.5).lower == 0.0


def test_prediction_abstains_where_the_lead_may_be_chance():
    """p-values by hand: 2 * 2^-10 for ten to none."""
    assert prediction([0, 10, 0], 2 * 2**-10) == 1
    assert prediction([0, 10, 0], 1.99 * 2**-10) == -1
    assert prediction([0, 0], 0.5) == -1
    model, images, score = linear(12)
    clear = score.abs() > 0.1
    found = torch.tensor(list(predict(model, images, Smoothing(0.1, n=500), seed=0)))
    assert torch.equal(found[clear], (score > 0).long()[clear])


SHAPE = (Stage("selection", 30), Stage("estimation", 2100))


@pytest.mark.parametrize("batch", [7, 1000, 4260, 10**6])
def test_the_votes_do_not_depend_on_the_batch(batch):
    model, images, _ = linear(3, spread=0.05)
    few = Images(images.x[:1], images.y[:1], 2)
    assert [*votes(model, few, 0.2, SHAPE, 0, 1)] == [*votes(model, few, 0.2, SHAPE, 0, batch)]
    model.seen.clear()
    assert [*votes(model, images, 0.2, SHAPE, 0, batch)] == [*votes(model, images, 0.2, SHAPE, 0, 999)]
    total = 3 * 2130
    full = model.seen[: math.ceil(total / batch)]
    assert full == [*[batch] * (total // batch), *([total % batch] if total % batch else [])]  # several images in one


def test_an_images_votes_depend_on_seed_number_and_stage_alone():
    model, images, _ = linear(4, spread=0.05)
    whole = dict(votes(model, images, 0.2, SHAPE, 0))
    assert dict(votes(model, images, 0.2, SHAPE, 0, first=2)) == {i: whole[i] for i in (2, 3)}
    assert {i: [found[1]] for i, found in whole.items()} == dict(votes(model, images, 0.2, SHAPE[1:], 0))
    assert dict(votes(model, images, 0.2, SHAPE, 1)) != whole
    same = Images(images.x[:1].expand(2, 1, 4, 4), images.y[:2], 2)
    first, second = (found for _, found in votes(model, same, 0.2, SHAPE, 0))
    assert first != second


def test_noisy_copies_are_not_clamped_and_have_deviation_sigma():
    seen = []

    class Keeps(torch.nn.Module):
        def forward(self, x):
            seen.append(x.flatten(1).clone())
            return x.flatten(1)

    images = Images(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8), torch.tensor([0]), 4)
    [*_] = votes(Keeps(), images, 0.5, (Stage("estimation", 5000),), 0)
    drawn = torch.cat(seen).flatten().numpy().astype(float)
    assert stats.kstest((drawn - 1.0) / 0.5, "norm").pvalue > 1e-3


def test_mode_and_global_random_state_are_as_they_were_between_images_and_after():
    class Draws(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = torch.nn.Dropout()

        def forward(self, x):
            assert not self.part.training
            assert not torch.is_grad_enabled()
            return x.flatten(1) + torch.randn(len(x), 1)

    _, images, _ = linear(3)
    model = Draws().train()
    before = torch.get_rng_state()
    for _ in certify(model, images, Smoothing(0.2, 10, 100), seed=0):
        assert torch.equal(torch.get_rng_state(), before)
        assert model.part.training
        assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_an_image_whose_logits_are_not_finite_is_named(wrong):
    class Breaks(torch.nn.Module):
        def forward(self, x):
            logits = x.flatten(1)[:, :2].clone()
            logits[x.flatten(1)[:, 2] > 0.9, 1] = wrong
            return logits

    x = torch.full((4, 1, 4, 4), 0.5)
    x[2] = 1.0
    images = Images(x, torch.zeros(4, dtype=torch.long), 2)
    found = certify(Breaks(), images, Smoothing(0.01, 10, 100), seed=0, batch=10)
    assert [next(found).index, next(found).index] == [0, 1]
    with pytest.raises(NotFinite, match="image 2 of the images under noise"):
        next(found)


class Small(Linear):
    """Whose device's memory holds so many copies."""

    def __init__(self, w: torch.Tensor, holds: int) -> None:
        super().__init__(w)
        self.holds = holds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.holds:
            raise MemoryError
        return super().forward(x)


def test_where_memory_is_exhausted_half_the_batch_is_taken_to_the_same_votes():
    model, images, _ = linear(3, spread=0.05)
    small = Small(model.w.detach(), holds=600)
    assert [*votes(small, images, 0.2, SHAPE, 0, 1000)] == [*votes(model, images, 0.2, SHAPE, 0, 1000)]
    assert max(small.seen) == 500
    with pytest.raises(MemoryExhausted, match="not even one fits"):
        next(votes(Small(model.w.detach(), holds=0), images, 0.2, SHAPE, 0, 2))
    with pytest.raises(ValueError, match="own"):
        next(votes(model, images, 0.2, SHAPE, 0, 8, between=lambda: (_ for _ in ()).throw(ValueError("own"))))


@settings(max_examples=30)
@given(st.integers(0, 14), st.integers(1, 2**16))
def test_the_fastest_batch_is_the_first_after_which_nothing_is_gained(knee, most):
    """A device that takes a second for any batch up to 2^knee, and longer in proportion above."""
    asked = []

    def seconds(batch: int) -> float:
        asked.append(batch)
        return max(1.0, batch / 2**knee)

    found = fastest(seconds, most)
    assert found == (most if most < 32 else max(32, min(2**knee, 2 ** int(math.log2(most)))))
    assert max(asked) <= max(min(4 * found, most), 32)


def test_the_ladder_of_batches_ends_where_memory_does():
    def seconds(batch: int) -> float:
        if batch > 300:
            raise MemoryError
        return 1.0

    assert fastest(seconds, 10**6) == 256
    with pytest.raises(ZeroDivisionError):
        fastest(lambda batch: 1 / 0, 100)
