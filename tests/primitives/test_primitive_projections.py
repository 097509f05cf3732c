"""Projections: idempotent, into their set, non-expansive, and the nearest point of it by other means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from primitives.primitive_draws import Ball, balls, bits, modest
from scipy.optimize import Bounds, minimize
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives.projections.box import box
from atentdsl.primitives.projections.increment_clip import increment_clip
from atentdsl.primitives.projections.linf_ball import linf_ball

PROJECTIONS: dict[str, Callable[[Tensor, Ball], Tensor]] = {
    "box": lambda z, ball: box(z),
    "increment_clip": lambda z, ball: increment_clip(z, old=ball.centre, radius=ball.radius),
    "linf_ball": lambda z, ball: linf_ball(z, anchor=ball.centre, radius=ball.radius),
}
every_projection = pytest.mark.parametrize("kind", PROJECTIONS)


def ends(kind: str, ball: Ball) -> tuple[Any, Any]:
    low, high = ball.bounds()
    return (np.zeros_like(low), np.ones_like(high)) if kind == "box" else (low, high)


def test_every_projection_is_here() -> None:
    # The other norms' balls keep these properties up to rounding: test_primitive_norm_balls.
    assert sorted([*PROJECTIONS, "l1_ball", "l2_ball"]) == list(registry.kinds("projections"))


@every_projection
@modest
@given(balls())
def test_a_second_projection_changes_no_bit(kind: str, ball: Ball) -> None:
    once = PROJECTIONS[kind](ball.z, ball)
    assert once.dtype == ball.z.dtype
    assert once.shape == ball.z.shape
    assert bits(PROJECTIONS[kind](once, ball)) == bits(once)


@every_projection
@modest
@given(balls())
def test_it_lies_in_its_set(kind: str, ball: Ball) -> None:
    low, high = ends(kind, ball)
    p = PROJECTIONS[kind](ball.z, ball).numpy()
    assert (low <= p).all()
    assert (p <= high).all()


@pytest.mark.parametrize("kind", ["increment_clip", "linf_ball"])
@modest
@given(balls())
def test_no_coordinate_is_farther_than_the_radius(kind: str, ball: Ball) -> None:
    p = PROJECTIONS[kind](ball.z, ball).numpy().astype(np.float64)
    centre, size = ball.centre.numpy().astype(np.float64), np.finfo(ball.z.numpy().dtype)
    rounding = 2 * float(size.eps) * (abs(centre) + ball.radius) + float(size.smallest_subnormal)
    assert (abs(p - centre) <= ball.radius + rounding).all()


@every_projection
@modest
@given(balls())
def test_points_of_the_set_stay(kind: str, ball: Ball) -> None:
    low, high = ends(kind, ball)
    inside = torch.from_numpy(np.clip(ball.z.numpy(), low, high))
    assert torch.equal(PROJECTIONS[kind](inside, ball), inside)


@every_projection
@modest
@given(balls())
def test_two_points_come_no_farther_apart(kind: str, ball: Ball) -> None:
    # Rounded subtraction is monotone, so no tolerance is needed, coordinate by coordinate.
    p, q = PROJECTIONS[kind](ball.z, ball), PROJECTIONS[kind](ball.other, ball)
    assert ((p - q).abs() <= (ball.z - ball.other).abs()).all()


@every_projection
@modest
@given(balls(dtypes=(np.float64,)))
def test_it_is_what_bounded_minimisation_of_the_distance_finds(kind: str, ball: Ball) -> None:
    low, high = (end.ravel() for end in ends(kind, ball))
    z = ball.z.numpy().ravel()
    found = minimize(
        lambda p: 0.5 * ((p - z) ** 2).sum(),
        np.clip(np.zeros_like(z), low, high),
        jac=lambda p: p - z,
        bounds=Bounds(low, high),
        method="L-BFGS-B",
        options={"ftol": 0, "gtol": 1e-12},
    )
    np.testing.assert_allclose(PROJECTIONS[kind](ball.z, ball).numpy().ravel(), found.x, rtol=0, atol=1e-9)


@every_projection
@modest
@given(balls(dtypes=(np.float64,)))
def test_no_point_of_a_fine_grid_of_the_set_is_nearer(kind: str, ball: Ball) -> None:
    low, high = ends(kind, ball)
    grid = low + (high - low) * np.linspace(0, 1, 301).reshape(-1, *[1] * low.ndim)
    z = ball.z.numpy()
    distance = abs(PROJECTIONS[kind](ball.z, ball).numpy() - z)
    assert (distance <= abs(grid - z).min(axis=0) + 1e-15).all()


@every_projection
def test_infinities_come_to_the_boundary_and_nan_is_not_hidden(kind: str) -> None:
    z = torch.tensor([[torch.inf, -torch.inf, torch.nan]])
    ball = Ball(z, z, torch.full((1, 3), 0.5), 0.25)
    low, high = ends(kind, ball)
    p = PROJECTIONS[kind](z, ball)
    assert p[0, 0] == high[0, 0]
    assert p[0, 1] == low[0, 1]
    assert p[0, 2].isnan()


@modest
@given(balls(inside_box=True))
def test_ball_then_box_lies_in_both_around_a_point_of_the_box(ball: Ball) -> None:
    low, high = ball.bounds()
    p = box(linf_ball(ball.z, ball.centre, ball.radius))
    assert torch.equal(linf_ball(p, ball.centre, ball.radius), p)
    assert ((p >= 0) & (p <= 1)).all()
    nearest = np.clip(ball.z.numpy(), np.maximum(low, 0), np.minimum(high, 1))
    assert torch.equal(p, torch.from_numpy(nearest))


@modest
@given(moves=st.integers(1, 20), radius=st.sampled_from([0.125, 0.25, 1.0]))
@example(moves=10, radius=0.125)
def test_clipped_increments_add_up_and_the_ball_holds_the_displacement(moves: int, radius: float) -> None:
    anchor = torch.zeros(1, 3)
    clipped = held = anchor
    for _ in range(moves):
        clipped = increment_clip(clipped + 5, old=clipped, radius=radius)
        held = linf_ball(held + 5, anchor=anchor, radius=radius)
    assert torch.equal(clipped, torch.full((1, 3), moves * radius))
    assert torch.equal(held, torch.full((1, 3), radius))
