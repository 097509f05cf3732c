"""The literal plan's units of samplers beside each other, against the table of the semantics."""

from __future__ import annotations

from itertools import combinations

import pytest

import atentdsl
from atentdsl.plan import lower, units, units_as_usually_written
from atentdsl.recipe import shipped

MOVES = [1, 2, 10]


def cost(name, *overrides):
    return units(lower(atentdsl.load(name, list(overrides))))


@pytest.mark.parametrize("K", MOVES)
def test_awp_around_pgd_costs_three_for_the_weights_and_three_for_the_signal(K):  # noqa: N803 - the table's letter
    assert cost("awp_pgd_at", f"sampler.attack.moves={K}") == 2 * K + 6


@pytest.mark.parametrize("L", MOVES)
def test_entropy_sgd_costs_three_a_move(L):  # noqa: N803
    assert cost("entropy_sgd", f"sampler.weights.moves={L}") == 3 * L
    assert cost("entropy_sgd_literal", f"sampler.weights.moves={L}") == 3 * L


@pytest.mark.parametrize("L", MOVES)
@pytest.mark.parametrize("K", MOVES)
def test_entropy_sgd_around_atent_costs_a_whole_chain_a_move(L, K):  # noqa: N803
    """L (5K), the literal chain with every point weighted, and L (2K + 3) with the last alone."""
    moves = [f"sampler.weights.moves={L}", f"sampler.attack.moves={K}"]
    assert cost("entropy_sgd_atent", *moves) == L * 5 * K
    assert cost("entropy_sgd_atent", *moves, "sampler.attack.averaging={ kind = 'last' }") == L * (2 * K + 3)


def test_a_replay_of_free_at_is_two_evaluations_at_one_point():
    """Literally 5; merged they are the 3 of the table."""
    assert cost("free_at") == 5
    assert units_as_usually_written(lower(atentdsl.load("free_at"))) == 6


def test_no_two_shipped_recipes_are_the_same_plan():
    """Nor the same plan under other names of samplers: what a stream is called after is no difference."""
    plans = {}
    for name in shipped.names():
        recipe = atentdsl.load(name)
        text = repr(lower(recipe).operations)
        for i, sampler in enumerate(recipe.samplers):
            text = text.replace(f"'{sampler.name}", f"'{i}")
        plans[name] = recipe.model.name, recipe.data.name, text
    alike = [(one, other) for one, other in combinations(plans, 2) if plans[one] == plans[other]]
    assert not alike
