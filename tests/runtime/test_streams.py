"""Random streams: keyed by seed, step and place; read on within a step; none moves another."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atentdsl.runtime import Streams
from atentdsl.runtime.streams import key

CPU = torch.device("cpu")
SHAPE = torch.zeros(3, 5)


@given(st.integers(0, 2**63 - 1), st.integers(1, 10**9), st.text(min_size=1, max_size=20))
def test_a_stream_depends_on_its_key_alone(seed, step, place):
    first, second = Streams(seed, step, CPU), Streams(seed, step, CPU)
    first.normal("another place", SHAPE)
    torch.rand(7)
    assert torch.equal(first.normal(place, SHAPE), second.normal(place, SHAPE))


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=12), st.sampled_from(["a", "b", "c"]))
def test_taking_a_place_away_moves_no_other(order, gone):
    whole, without = Streams(1, 2, CPU), Streams(1, 2, CPU)
    drawn = [(place, whole.normal(place, SHAPE)) for place in order]
    for place, expected in drawn:
        if place != gone:
            assert torch.equal(without.normal(place, SHAPE), expected)


def test_a_stream_is_read_on_within_a_step():
    rng = Streams(0, 1, CPU)
    first, second = rng.normal("a", SHAPE), rng.normal("a", SHAPE)
    assert not torch.equal(first, second)
    generator = torch.Generator().manual_seed(key(0, 1, "a"))
    assert torch.equal(first, torch.randn(3, 5, generator=generator))
    assert torch.equal(second, torch.randn(3, 5, generator=generator))


@given(st.tuples(st.integers(0, 5), st.integers(1, 5), st.sampled_from(["x", "y"])))
def test_other_keys_give_other_streams(other):
    if other != (0, 1, "x"):
        mine = Streams(0, 1, CPU).normal("x", SHAPE)
        assert not torch.equal(mine, Streams(other[0], other[1], CPU).normal(other[2], SHAPE))


def test_keys_are_63_bits_and_spread():
    keys = [key(0, step, "a") for step in range(4000)]
    assert len(set(keys)) == len(keys)
    assert all(0 <= k < 2**63 for k in keys)
    assert stats.kstest([k / 2**63 for k in keys], "uniform").pvalue > 1e-6


def follows_its_law(sample: torch.Tensor, law: str) -> bool:
    """Kolmogorov and Smirnov's test; a right sample fails it once in a million."""
    return bool(stats.kstest(sample.numpy(), law).pvalue > 1e-6)


def test_draws_follow_their_laws_and_the_test_would_see_it_if_not():
    rng = Streams(0, 1, CPU)
    many = torch.zeros(40_000, dtype=torch.float64)
    normal, uniform = rng.normal("a", many), rng.uniform("b", many)
    assert follows_its_law(normal, "norm")
    assert follows_its_law(uniform, "uniform")
    assert not follows_its_law(normal * math.sqrt(2), "norm")
    assert not follows_its_law(normal + 0.05, "norm")
    assert not follows_its_law(uniform * 0.97, "uniform")


def test_successive_steps_are_independent():
    """Correlations between neighbouring steps, as many as would show a shared stream; one in a million fails."""
    draws = torch.stack([Streams(0, step, CPU).normal("a", torch.zeros(2000)) for step in range(1, 60)])
    correlation = (draws[1:] * draws[:-1]).mean(dim=1) * math.sqrt(2000)
    assert stats.kstest(correlation.numpy(), "norm").pvalue > 1e-6
    shared = draws[:1].expand(59, -1)
    assert stats.kstest(((shared[1:] * shared[:-1]).mean(dim=1) * math.sqrt(2000)).numpy(), "norm").pvalue < 1e-6


def masks_of(rng, points):
    """The dropout mask that each point meets, evaluated in this order."""
    found = []
    for z in points:
        with rng.same_masks(z):
            found.append(torch.nn.functional.dropout(torch.ones(64), 0.5) == 0)
    return found


def test_every_living_point_keeps_its_mask_whatever_is_evaluated_between():
    a, b = torch.zeros(2), torch.zeros(2)
    masks = masks_of(Streams(0, 1, CPU), [a, b, a, b, a])
    assert torch.equal(masks[0], masks[2])
    assert torch.equal(masks[0], masks[4])
    assert torch.equal(masks[1], masks[3])
    assert not torch.equal(masks[0], masks[1])


def test_a_point_after_a_repeated_one_has_a_mask_that_no_other_has():
    a, b, c = torch.zeros(2), torch.zeros(2), torch.zeros(2)
    masks = masks_of(Streams(0, 1, CPU), [a, b, a, c])
    assert not torch.equal(masks[3], masks[1])


def test_a_point_is_another_one_when_the_weights_have_moved():
    rng, a = Streams(0, 1, CPU), torch.zeros(2)
    (first,) = masks_of(rng, [a])
    rng.new_points()
    assert not torch.equal(first, masks_of(rng, [a])[0])


def test_a_long_chain_keeps_no_point_and_no_state_of_those_that_are_gone():
    rng = Streams(0, 1, CPU)
    z = torch.zeros(2)
    for _ in range(50):
        z = z + 1
        with rng.same_masks(z):
            pass
    assert len(rng._masks) == 1
