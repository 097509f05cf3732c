"""Starts: the law of each one's points, by a test that catches wrong laws too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import FALSE_ALARM, RADII, batches, edited, modest
from scipy import stats
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives.starts.corner import corner
from atentdsl.primitives.starts.gaussian import gaussian
from atentdsl.primitives.starts.gaussian_ball import gaussian_ball
from atentdsl.primitives.starts.radial import radial
from atentdsl.primitives.starts.uniform import uniform

SIZE = (200, 3, 7, 5)  # 21 000 coordinates: enough to tell a scale that is 4 % off
SCALE = 0.3


def displacement(start: Callable[..., Tensor], seed: int = 1) -> Any:
    """How far a start puts points from their anchors, of which no two are alike."""
    generator = torch.Generator().manual_seed(seed)
    anchor = torch.rand(SIZE, generator=generator, dtype=torch.float64)
    draw = torch.rand if start.__name__ == "uniform" else torch.randn
    z = start(anchor, draw(SIZE, generator=generator, dtype=torch.float64), SCALE)
    return (z - anchor).numpy()


def coordinates_are_independent(moved: Any) -> bool:
    """No correlation between neighbours, neither between examples nor within one."""
    pairs = [(moved[1:], moved[:-1]), (moved[..., 1:], moved[..., :-1])]
    return all(stats.pearsonr(a.ravel(), b.ravel()).pvalue > FALSE_ALARM for a, b in pairs)


def is_gaussian(start: Callable[..., Tensor]) -> bool:
    """Normal with mean 0 and the standard deviation asked for. False alarm: 4e-6 at most for a seed drawn anew."""
    moved = displacement(start)
    total = float(((moved / SCALE) ** 2).sum())
    spread = 2 * min(stats.chi2.cdf(total, moved.size), stats.chi2.sf(total, moved.size))
    shape = stats.kstest(moved.ravel(), stats.norm(0, SCALE).cdf).pvalue
    return bool(shape > FALSE_ALARM and spread > FALSE_ALARM and coordinates_are_independent(moved))


def is_uniform(start: Callable[..., Tensor]) -> bool:
    """Uniform on [-radius, radius]. False alarm: 3e-6 at most for a seed drawn anew."""
    moved = displacement(start)
    shape = stats.kstest(moved.ravel(), stats.uniform(-SCALE, 2 * SCALE).cdf).pvalue
    return bool(shape > FALSE_ALARM and coordinates_are_independent(moved))


def is_a_fair_corner(start: Callable[..., Tensor]) -> bool:
    """Exactly radius in every coordinate, each sign as often. False alarm: 3e-6 at most for a seed drawn anew."""
    moved = displacement(start)
    exact = bool((abs(abs(moved) - SCALE) <= 1e-15).all())
    fair = stats.binomtest(int((moved > 0).sum()), moved.size).pvalue
    return exact and bool(fair > FALSE_ALARM) and coordinates_are_independent(moved)


def in_directions(start: Callable[..., Tensor], law: Callable[..., Any]) -> bool:
    """Directions as a normal draw has them, and lengths of this law, per example. False alarm: 3e-6 at most."""
    generator = torch.Generator().manual_seed(2)
    anchor = torch.rand((4000, 3, 5), generator=generator, dtype=torch.float64)
    xi = torch.randn(anchor.shape, generator=generator, dtype=torch.float64)
    drawn = [xi]
    if start.__name__ == "radial":
        drawn.append(torch.rand(anchor.shape, generator=generator, dtype=torch.float64))
    moved = (start(anchor, *drawn, SCALE) - anchor).flatten(1).numpy()
    length = np.linalg.norm(moved, axis=1)
    cosine = moved[:, 0] / length  # of a uniform direction in 15 dimensions: beta distributed
    direction = stats.kstest((cosine + 1) / 2, stats.beta(7, 7).cdf).pvalue
    return bool(law(length / SCALE) and direction > FALSE_ALARM)


def is_on_the_sphere(start: Callable[..., Tensor]) -> bool:
    """All of length radius: in 15 dimensions a normal draw is never shorter than 0.3."""
    return in_directions(start, lambda share: (abs(share - 1) < 1e-12).all())


def is_radial(start: Callable[..., Tensor]) -> bool:
    """Lengths uniform in [0, radius)."""
    return in_directions(start, lambda share: stats.kstest(share, "uniform").pvalue > FALSE_ALARM)


LAWS = {"corner": (corner, is_a_fair_corner), "gaussian": (gaussian, is_gaussian), "uniform": (uniform, is_uniform)}
LAWS |= {"gaussian_ball": (gaussian_ball, is_on_the_sphere), "radial": (radial, is_radial)}


def test_every_start_is_here() -> None:
    assert {"zero", "carry", *LAWS} == set(registry.kinds("starts"))
    assert registry.primitive("starts", "zero").function is None


@pytest.mark.parametrize("kind", LAWS)
def test_its_points_have_the_law_it_names(kind: str) -> None:
    start, has_its_law = LAWS[kind]
    assert has_its_law(start)


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("gaussian", "sd * xi", "sd * 2**0.5 * xi"),
        ("gaussian", "sd * xi", "sd * 1.04 * xi"),
        ("gaussian", "anchor + sd", "anchor + 0.02 + sd"),
        ("gaussian", "anchor + sd * xi", "anchor + sd * xi.sign()"),
        ("gaussian", "anchor + sd * xi", "anchor + sd * xi[:1]"),
        ("gaussian", "anchor + sd", "sd"),
        ("uniform", "2 * u - 1", "u - 0.5"),
        ("uniform", "2 * u - 1", "u"),
        ("uniform", "2 * u - 1", "2 * u"),
        ("uniform", "2 * u - 1", "2 * u * u - 1"),
        ("corner", "xi < 0", "xi < 0.1"),
        ("corner", "anchor - radius, ", "anchor, "),
        ("corner", "xi < 0", "xi[:1] < 0"),
        ("gaussian_ball", "within_l2(xi, radius)", "radius * xi"),
        ("gaussian_ball", "within_l2(xi, radius)", "within_l2(xi.abs(), radius)"),
        ("gaussian_ball", "within_l2(xi, radius)", "within_l2(xi, 2 * radius)"),
        ("radial", "radius * share", "radius * share**0.5"),
        ("radial", "[:, :1]", ""),
        ("radial", "unit_l2(xi)", "unit_l2(xi.sign())"),
        ("corner", "torch.where(xi < 0, anchor - radius, anchor + radius)", "anchor + radius * xi"),
    ],
)
def test_the_same_check_catches_a_wrong_start(kind: str, old: str, new: str) -> None:
    start, has_its_law = LAWS[kind]
    assert not has_its_law(edited(start, old, new))


@modest
@given(batches(2), RADII)
def test_a_corner_moves_every_coordinate_by_the_radius(drawn: list[Tensor], radius: float) -> None:
    anchor, xi = drawn
    moved = corner(anchor, xi, radius).double() - anchor.double()
    size = torch.finfo(anchor.dtype)
    rounding = size.eps * (anchor.abs().double() + radius) + size.tiny
    assert ((moved.abs() - radius).abs() <= rounding).all()
    assert ((moved >= 0) | (xi < 0)).all()
    assert ((moved <= 0) | (xi >= 0)).all()


@modest
@given(batches(1), st.data(), RADII)
def test_a_uniform_start_stays_in_its_cube(drawn: list[Tensor], data: st.DataObject, radius: float) -> None:
    (anchor,) = drawn
    below_one = (
        math.nextafter(1.0, 0.0) if anchor.dtype == torch.float64 else float(np.nextafter(np.float32(1), np.float32(0)))
    )
    u = torch.full_like(anchor, data.draw(st.sampled_from([0.0, 0.5, below_one])))
    moved = uniform(anchor, u, radius).double() - anchor.double()
    size = torch.finfo(anchor.dtype)
    assert (moved.abs() <= radius + size.eps * (anchor.abs().double() + radius) + size.tiny).all()


@modest
@given(batches(2), RADII)
def test_a_gaussian_start_is_linear_in_its_noise(drawn: list[Tensor], sd: float) -> None:
    anchor, xi = drawn
    wanted = anchor.double().numpy() + sd * xi.double().numpy()
    rounding = 4 * torch.finfo(anchor.dtype).eps * (3 + 3 * sd)
    np.testing.assert_allclose(gaussian(anchor, xi, sd).double().numpy(), wanted, rtol=0, atol=rounding)
