"""Restarts: their mean, and for each example the worst of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.plan import lower, units
from atentdsl.testing import batch, interpreted, network


def recipe(**sampler):
    return {
        "schema": 1,
        "recipe": {"name": "restarted"},
        "data": {"name": "digits", "batch": 4},
        "model": {"name": "mlp"},
        "sampler": [
            {
                "moves": 3,
                "start": {"kind": "uniform", "radius": 0.3},
                "kernel": {"kind": "langevin", "step_size": 0.05, "noise": 0.1, "drift": "l2"},
                "projection": [{"kind": "box"}],
                **sampler,
            }
        ],
        "optimizer": {"kind": "sgd", "epochs": 1, "lr": 0.1},
        "evaluate": {"attacks": [], "select": "clean"},
    }


def losses(model, z, y):
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(model.eval()(z), y, reduction="none")


def drawn(pair, model, goal="draw", **sampler):
    return interpreted(lower(atentdsl.load(recipe(**sampler)), goal), model, [pair], seed=3)


@given(st.integers(2, 5), st.integers(0, 20), st.sampled_from(["last", "exponential", "mean"]))
@settings(max_examples=40)
def test_worst_is_the_maximum_of_each_example_over_all_chains(restarts, seed, averaging):
    """The same chains, handed on as a mean, show every restart's points; the worst are theirs, whole chains of them."""
    pair, model = batch(count=6, seed=seed), network(seed=seed)
    average = {"kind": averaging} | ({"alpha": 0.5} if averaging == "exponential" else {})
    every = drawn(pair, model, restarts=restarts, averaging=average)
    worst = drawn(pair, model, restarts=restarts, averaging=average | {"over_restarts": "worst"})
    kept = len(worst.points[0])
    chains = [every.points[0][r * kept : (r + 1) * kept] for r in range(restarts)]
    assert len(chains[-1]) == kept
    found = torch.stack([losses(model, chain[-1], pair[1]) for chain in chains])
    highest = found.argmax(dim=0)
    assert torch.equal(losses(model, worst.points[0][-1], pair[1]), found.max(dim=0).values)
    for k, point in enumerate(worst.points[0]):
        assert torch.equal(point, torch.stack([chains[int(r)][k][n] for n, r in enumerate(highest)]))
    assert sum(every.coefficients[0]) == pytest.approx(sum(worst.coefficients[0]), rel=1e-12)
    assert len(set(highest.tolist())) > 1 or restarts * seed < 4  # the examples do choose for themselves


def test_of_equals_the_first_restart_is_kept():
    """Without noise and with one start every chain is the same, and so is what is kept of them."""
    still = {"start": {"kind": "zero"}, "kernel": {"step_size": 0.05, "drift": "l2"}}
    pair, model = batch(count=6), network()
    once = drawn(pair, model, **still)
    worst = drawn(pair, model, restarts=3, averaging={"kind": "last", "over_restarts": "worst"}, **still)
    assert torch.equal(once.points[0][0], worst.points[0][0])


@pytest.mark.parametrize("restarts", [1, 2, 5])
@pytest.mark.parametrize("moves", [1, 4])
def test_the_units_of_restarts(restarts, moves):
    def cost(**averaging):
        return units(lower(atentdsl.load(recipe(moves=moves, restarts=restarts, averaging=averaging))))

    once = 2 * moves + 3
    assert cost(kind="last") == restarts * once
    assert cost(kind="last", over_restarts="worst") == (restarts * (2 * moves + 1) + 3 if restarts > 1 else once)


def test_restarts_read_on_in_their_streams():
    """Each restart is a chain of its own, and the first is the chain without restarts."""
    pair, model = batch(count=6), network()
    once, three = drawn(pair, model), drawn(pair, model, restarts=3)
    assert torch.equal(once.points[0][0], three.points[0][0])
    assert len({float(z.sum()) for z in three.points[0]}) == 3
    assert three.coefficients[0] == pytest.approx([1 / 3] * 3)
