"""The Metropolis test: its probability by definition, detailed balance, and the sets that name a chain's support."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import arrays, balls, edited, modest, shapes
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives.kernels.mala import acceptance

STEPS, NOISES = st.floats(0.01, 1), st.floats(0.3, 1.5)


@st.composite
def moves(draw: Any) -> dict[str, Any]:
    """Two points, the gradients of an energy there and its rise from one to the other, in float64."""
    shape = draw(shapes())
    tensors = {n: torch.from_numpy(draw(arrays(np.float64, shape, -2, 2))) for n in ("z", "proposal", "drift", "back")}
    gain = torch.from_numpy(draw(arrays(np.float64, shape[:1], -3, 3)))
    return tensors | {"gain": gain, "step_size": draw(STEPS), "noise": draw(NOISES)}


def log_proposal(to: Any, at: Any, gradient: Any, step_size: float, noise: float) -> Any:
    """log N(to; at + step_size gradient, 2 step_size noise^2 I) per example, by its definition and in numpy."""
    variance = 2 * step_size * noise**2
    away = (to - at - step_size * gradient).numpy().reshape(len(to), -1)
    return -(away**2).sum(axis=1) / (2 * variance) - away.shape[1] / 2 * np.log(2 * np.pi * variance)


def log_ratio(move: dict[str, Any]) -> tuple[Any, Any]:
    """The logarithm of the Metropolis ratio, and how large the numbers are that it is made of."""
    numbers = move["step_size"], move["noise"]
    there = log_proposal(move["proposal"], move["z"], move["drift"], *numbers)
    back = log_proposal(move["z"], move["proposal"], move["back"], *numbers)
    rise = move["gain"].numpy() / move["noise"] ** 2
    return rise + back - there, 1 + abs(rise) + abs(there) + abs(back)


@modest
@given(moves())
def test_the_probability_is_its_definition(move: dict[str, Any]) -> None:
    wanted, size = log_ratio(move)
    found = acceptance(**move).numpy()
    assert ((found >= 0) & (found <= 1)).all()
    least = 1e-300  # of both: below it is a subnormal number, which has fewer digits
    np.testing.assert_allclose(
        np.log(np.maximum(found, least)), np.clip(wanted, np.log(least), 0), rtol=0, atol=1e-12 * size.max()
    )


def imbalance(probability: Callable[..., Tensor], move: dict[str, Any]) -> float:
    """log pi(a) q(b | a) alpha(a, b) - log pi(b) q(a | b) alpha(b, a), in units of what rounding explains."""
    swapped = {"z": "proposal", "proposal": "z", "drift": "back", "back": "drift"}
    other = {name: move[swapped.get(name, name)] for name in move} | {"gain": -move["gain"]}
    numbers = move["step_size"], move["noise"]
    forth = log_proposal(move["proposal"], move["z"], move["drift"], *numbers) + np.log(probability(**move).numpy())
    back = log_proposal(move["z"], move["proposal"], move["back"], *numbers) + np.log(probability(**other).numpy())
    left = forth - back - move["gain"].numpy() / move["noise"] ** 2
    return float((abs(left) / (1e-12 * log_ratio(move)[1])).max())


@modest
@given(moves())
def test_detailed_balance_holds_between_any_two_points(move: dict[str, Any]) -> None:
    """pi(a) q(b | a) alpha(a, b) = pi(b) q(a | b) alpha(b, a), wherever no probability is too small for a number."""
    if abs(log_ratio(move)[0]).max() < 600:
        assert imbalance(acceptance, move) < 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("((gain - along - steeper) / noise**2).exp().clamp(max=1)", "gain.new_ones(gain.shape)"),  # always taken
        ("(gain - along", "(-gain - along"),
        ("((gain - along - steeper)", "(-(gain - along - steeper)"),
        ("gain - along - steeper", "gain"),  # the ratio of the proposals forgotten
        ("gain - along - steeper", "gain + along + steeper"),
        ("gain - along - steeper", "gain - along"),
        ("gain - along - steeper", "-along - steeper"),
        ("noise**2", "noise"),
        ("step_size / 4", "step_size / 2"),
        ("(here + there)", "(here + here)"),
        ("there.square() - here.square()", "here.square() - there.square()"),
        (".exp().clamp(max=1)", ".exp()"),
    ],
)
def test_every_other_probability_breaks_detailed_balance(old: str, new: str) -> None:
    """On one move of order one. What is not cut at 1 is a ratio, and no probability: both sides are then unequal."""
    generator = torch.Generator().manual_seed(0)
    names = ("z", "proposal", "drift", "back")
    move: dict[str, Any] = {n: torch.randn(4, 3, generator=generator, dtype=torch.float64) for n in names}
    move |= {"gain": torch.tensor([0.3, -0.4, 0.2, -0.1], dtype=torch.float64), "step_size": 0.7, "noise": 0.8}
    assert imbalance(acceptance, move) < 1
    assert imbalance(edited(acceptance, old, new), move) > 1e6


def test_without_a_temperature_only_what_rises_is_taken_and_no_number_never() -> None:
    z = torch.zeros(3, 1)
    gain = torch.tensor([1e-30, -1e-30, torch.nan])
    assert acceptance(z, z, z, z, gain, step_size=0.1, noise=0.0)[:2].tolist() == [1.0, 0.0]
    assert not (torch.zeros(3) < acceptance(z, z, z, z, gain, step_size=0.1, noise=1.0))[2]


# What names a support.


def sets() -> Iterator[Any]:
    for kind, projection in registry.family("projections").items():
        if projection.inside is not None:
            yield pytest.param(projection.function, projection.inside, id=kind)


def test_what_bounds_a_move_alone_names_no_support() -> None:
    without = [kind for kind, projection in registry.family("projections").items() if projection.inside is None]
    assert without == ["increment_clip"]


def called(function: Callable[..., Tensor], z: Tensor, anchor: Tensor, radius: float) -> Tensor:
    return function(z, anchor, radius) if function.__code__.co_argcount == 3 else function(z)


@pytest.mark.parametrize(("project", "inside"), list(sets()))
@modest
@given(drawn=balls(dtypes=[np.float64]))
def test_inside_is_where_the_projection_leaves_a_point(
    project: Callable[..., Tensor], inside: Callable[..., Tensor], drawn: Any
) -> None:
    """A projected point is inside a ball wider by what rounding can add, and a point inside is its own projection."""
    z, _, centre, radius = drawn
    brought = called(project, z, centre, radius)
    rounding = 1e-12 * (1 + float(centre.abs().max()) + radius)
    assert called(inside, brought, centre, radius + rounding).all()
    kept = called(inside, z, centre, radius)
    assert kept.shape == (len(z),)
    torch.testing.assert_close(brought[kept], z[kept], rtol=0, atol=rounding)
    moved = (brought - z).flatten(1).abs().amax(dim=1) > rounding
    assert not (kept & moved).any()


@pytest.mark.parametrize(("project", "inside"), list(sets()))
def test_one_coordinate_outside_is_outside_and_no_number_is_nowhere(
    project: Callable[..., Tensor], inside: Callable[..., Tensor]
) -> None:
    z = torch.full((4, 2, 2), 0.5)
    z[1, 0, 1] = 1.5
    z[2, 1, 0] = -0.5
    z[3, 0, 0] = torch.nan
    assert called(inside, z, torch.full_like(z, 0.5), 0.75).tolist() == [True, False, False, False]
