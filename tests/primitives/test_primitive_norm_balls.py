"""The l2 and l1 balls: into their sets, idempotent and non-expansive up to rounding, and the nearest point found by a
quadratic program that knows nothing of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import Ball, balls, edited, modest
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor

from atentdsl.primitives.projections.l1_ball import l1_ball
from atentdsl.primitives.projections.l2_ball import l2_ball

BALLS: dict[str, tuple[int, Callable[..., Tensor]]] = {"l1_ball": (1, l1_ball), "l2_ball": (2, l2_ball)}
every_ball = pytest.mark.parametrize(("order", "project"), BALLS.values(), ids=list(BALLS))


def lengths(d: Tensor, order: int) -> np.ndarray:
    """Norms per example, in numpy's longest precision."""
    return np.linalg.norm(d.numpy().astype(np.longdouble).reshape(len(d), -1), ord=order, axis=1)


def rounding(ball: Ball) -> float:
    """What subtraction and addition at the size of these numbers may put into a norm."""
    n = ball.z[0].numel()
    size = float(max(ball.z.abs().max(), ball.centre.abs().max(), torch.tensor(ball.radius)))
    return 8 * n * float(torch.finfo(ball.z.dtype).eps) * size + 1e-44


@every_ball
@modest
@given(balls())
def test_it_lies_in_the_ball(order, project, ball):
    p = project(ball.z, ball.centre, ball.radius)
    assert (p.shape, p.dtype) == (ball.z.shape, ball.z.dtype)
    d = torch.from_numpy(p.numpy().astype(np.float64) - ball.centre.numpy().astype(np.float64))
    assert (lengths(d, order) <= ball.radius + rounding(ball)).all()


@every_ball
@modest
@given(balls())
def test_a_second_projection_changes_nothing_but_rounding(order, project, ball):
    once = project(ball.z, ball.centre, ball.radius)
    torch.testing.assert_close(project(once, ball.centre, ball.radius), once, rtol=0, atol=rounding(ball))


@every_ball
@modest
@given(balls())
def test_points_well_inside_stay(order, project, ball):
    d = ball.z - ball.centre
    inside = torch.from_numpy(lengths(d, order) < 0.999 * ball.radius - rounding(ball))
    p = project(ball.z, ball.centre, ball.radius)
    torch.testing.assert_close(p[inside], ball.z[inside], rtol=0, atol=rounding(ball))


@every_ball
@modest
@given(balls())
def test_two_points_come_no_farther_apart(order, project, ball):
    p, q = (project(z, ball.centre, ball.radius) for z in (ball.z, ball.other))
    assert (lengths(p - q, 2) <= lengths(ball.z - ball.other, 2) + rounding(ball)).all()


def nearest_by_program(z: np.ndarray, radius: float, order: int) -> np.ndarray:
    """The nearest point of the ball about 0. For l1 as a quadratic program in (u, v) >= 0 with p = u - v and
    sum(u + v) <= radius; for l2 with the constraint itself."""
    n = len(z)
    if order == 1:
        found = minimize(
            lambda w: 0.5 * ((w[:n] - w[n:] - z) ** 2).sum(),
            np.zeros(2 * n),
            jac=lambda w: np.concatenate([w[:n] - w[n:] - z, z - w[:n] + w[n:]]),
            bounds=[(0, None)] * (2 * n),
            constraints=[LinearConstraint(np.ones(2 * n), -np.inf, radius)],
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        return found.x[:n] - found.x[n:]
    found = minimize(
        lambda p: 0.5 * ((p - z) ** 2).sum(),
        np.zeros(n),
        jac=lambda p: p - z,
        constraints=[{"type": "ineq", "fun": lambda p: radius**2 - (p**2).sum(), "jac": lambda p: -2 * p}],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return found.x


@every_ball
@modest
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6), st.floats(0.05, 2))
def test_it_is_what_a_quadratic_program_finds(order, project, z, radius):
    wanted = nearest_by_program(np.array(z), radius, order)
    found = project(torch.tensor([z], dtype=torch.float64), torch.zeros(1, len(z), dtype=torch.float64), radius)
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=0, atol=2e-5)


def test_scaling_is_not_the_l1_projection_and_the_program_tells():
    """The mutant: the displacement scaled onto the sphere, as some libraries do."""
    z = torch.tensor([[2.0, 1.0, 0.2]], dtype=torch.float64)
    scaled = z / z.abs().sum()
    wanted = nearest_by_program(z[0].numpy(), 1.0, 1)
    assert abs(scaled[0].numpy() - wanted).max() > 0.1
    mutant = edited(l1_ball, "mean = falling.cumsum(dim=1) / count", "mean = falling.cumsum(dim=1) / (count + 1)")
    assert abs(mutant(z, torch.zeros_like(z), 1.0)[0].numpy() - wanted).max() > 1e-2


@every_ball
def test_far_points_and_large_images_keep_their_direction(order, project):
    z = torch.zeros(2, 3, 224, 224)
    z[0, 0, 0, 0], z[1] = 1e30, 1e-2
    p = project(z, torch.zeros_like(z), 1.0)
    assert p[0, 0, 0, 0] == pytest.approx(1.0, abs=1e-6)
    assert lengths(p, order)[1] == pytest.approx(1.0, abs=2e-3)


@every_ball
def test_radius_nothing_is_the_centre(order, project):
    z = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(project(z, torch.full((4, 5), 0.25), 0.0), torch.full((4, 5), 0.25))
