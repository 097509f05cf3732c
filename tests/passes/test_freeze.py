"""Freeze weights: regions that hold every move, and in which no weight gets or keeps a gradient."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import freeze_weights, optimised
from atentdsl.plan import interpret, lower, units, verify
from atentdsl.plan.margins import Climb
from atentdsl.plan.metropolis import Accept, Propose
from atentdsl.plan.operations import Evaluate, Frozen, Hold, Move, Noise, Project
from atentdsl.plan.program import flatten
from atentdsl.recipe.tables import Compile
from atentdsl.runtime import Streams, weights_frozen
from atentdsl.testing import batch, network, recipes

SETTINGS = Compile()


def moves_data(operation):
    tested = isinstance(operation, Propose | Accept | Climb)
    return tested or (isinstance(operation, Move | Project) and operation.space == "data")


def asks_for_the_input(operation):
    return isinstance(operation, Evaluate) and operation.wants in {"input", "density"}


@given(recipes(), st.sampled_from(["train", "draw"]))
@settings(max_examples=60)
def test_regions_hold_the_moves_and_nothing_else_moves_into_them(recipe, goal):
    literal = lower(atentdsl.load(recipe), goal)
    frozen = verify(freeze_weights.apply(literal, SETTINGS))
    assert list(frozen.flat()) == list(literal.flat())
    assert units(frozen) == units(literal)
    inside = [o for region in frozen.operations if isinstance(region, Frozen) for o in flatten(region.body)]
    outside = [o for o in frozen.operations if not isinstance(o, Frozen)]
    assert all(moves_data(o) or asks_for_the_input(o) or isinstance(o, Hold | Noise) for o in inside)
    # A proposal and a projection ask nothing of the network.
    assert not any(moves_data(o) and not isinstance(o, Project | Propose) for o in outside)
    for region in (o.body for o in frozen.operations if isinstance(o, Frozen)):
        pairs = list(itertools.pairwise(region))
        assert all(isinstance(before, Accept) for before, o in pairs if isinstance(o, Hold))
        assert all(asks_for_the_input(o) for before, o in pairs if isinstance(before, Noise))
        assert asks_for_the_input(next(o for o in region if not isinstance(o, Noise)))
        assert not isinstance(region[-1], Noise)
    assert not any(asks_for_the_input(o) for o in outside)
    assert all(o.after == "start" for o in outside if isinstance(o, Project) and o.space == "data")
    neighbours = itertools.pairwise(frozen.operations)
    assert not any(isinstance(a, Frozen | Noise) and isinstance(b, Frozen) for a, b in neighbours)


@pytest.mark.parametrize("name", ["sgd", "entropy_sgd"])
def test_a_recipe_that_moves_no_data_has_nothing_to_freeze(name):
    literal = lower(atentdsl.load(name))
    assert freeze_weights.apply(literal, SETTINGS) == literal
    assert freeze_weights.why_not(literal, SETTINGS) == "no evaluation asks for an input's gradient alone"


def test_a_chain_inside_another_has_a_region_of_its_own():
    """Its start lies between them."""
    whole = atentdsl.load("pgd_at_linf", ["sampler.attack.moves=3"]).values()
    whole["sampler"].append({"name": "inner", "moves": 2, "kernel": {"step_size": 0.1}})
    frozen = freeze_weights.apply(lower(atentdsl.load(whole)), SETTINGS)
    regions = [o for o in frozen.operations if isinstance(o, Frozen)]
    assert [sum(asks_for_the_input(o) for o in region.body) for region in regions] == [3, 2]


def test_the_losses_of_a_restart_stand_outside():
    """They record no graph as they are."""
    changes = ["sampler.attack.restarts=2", 'sampler.attack.averaging={ kind = "last", over_restarts = "worst" }']
    frozen = freeze_weights.apply(lower(atentdsl.load("pgd_at_linf", ["sampler.attack.moves=3", *changes])), SETTINGS)
    assert sum(isinstance(o, Evaluate) and o.wants == "loss" for o in frozen.operations) == 2
    assert [len(o.body) for o in frozen.operations if isinstance(o, Frozen)] == [12, 12]


class Watched(torch.nn.Module):
    """A network that notes, at each forward, how many weights ask for a gradient and how many have one."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.inner = network()
        next(self.inner.parameters()).requires_grad_(False)  # one that its owner has frozen
        self.seen = []
        self.fails_at = fails_at

    def forward(self, x):
        asking = sum(p.requires_grad for p in self.parameters())
        self.seen.append((x.requires_grad, asking, sum(p.grad is not None for p in self.parameters())))
        if len(self.seen) == self.fails_at:
            raise ArithmeticError("as a network might")
        return self.inner(x)


def step(model, recipe):
    module = as_module(generate(recipe).text, "frozen")
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    module.train_step(model, optimizer, itertools.repeat(batch()), Streams(0, 1, torch.device("cpu")), {})


def test_in_a_compiled_chain_no_weight_asks_for_a_gradient_or_gets_one():
    recipe, model = atentdsl.load("pgd_at_linf", ["sampler.attack.moves=3"]), Watched()
    asked = [p.requires_grad for p in model.parameters()]
    step(model, recipe)
    assert model.seen == [(True, 0, 0)] * 3 + [(False, len(asked) - 1, 0)]
    assert [p.requires_grad for p in model.parameters()] == asked
    assert [p.grad is not None for p in model.parameters()] == asked


def test_in_an_averaged_chain_the_gradients_grow_between_the_regions_only():
    apart = ["sampler.attack.moves=2", "compile.merge_evaluations=false"]
    recipe, model = atentdsl.load("atent_linf", apart), Watched()
    step(model, recipe)
    asking = sum(p.requires_grad for p in model.parameters())
    assert model.seen == [(True, 0, 0), (False, asking, 0), (True, 0, asking), (False, asking, asking)]


def test_where_both_gradients_are_asked_for_the_weights_ask_and_nowhere_before():
    recipe, model = atentdsl.load("atent_linf", ["sampler.attack.moves=3", "compile.tolerance=0.02"]), Watched()
    step(model, recipe)
    asking = sum(p.requires_grad for p in model.parameters())
    assert model.seen == [(True, 0, 0), (True, 0, 0), (True, asking, 0), (False, asking, asking)]


def test_around_a_chain_of_weights_every_weight_asks():
    """The attack's moves are frozen, the climb of the weights is not, and it sees no gradient but its own."""
    recipe, model = atentdsl.load("awp_pgd_at", ["sampler.attack.moves=3", "sampler.weights.moves=2"]), Watched()
    asking = sum(p.requires_grad for p in model.parameters())
    step(model, recipe)
    assert model.seen == [(True, 0, 0)] * 3 + [(False, asking, 0)] * 3


def test_in_a_chain_inside_weights_the_displacements_are_put_aside():
    changes = ["sampler.weights.moves=2", "sampler.attack.moves=1", 'sampler.attack.averaging={ kind = "last" }']
    recipe, model = atentdsl.load("entropy_sgd_atent", changes), Watched()
    asked = [p.requires_grad for p in model.parameters()]
    step(model, recipe)
    assert model.seen == [(True, 0, 0), (False, len(asked) - 1, 0)] * 2
    assert [p.requires_grad for p in model.parameters()] == asked
    assert [p.grad is not None for p in model.parameters()] == asked


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_an_exception_gives_the_weights_back(fails_at):
    recipe, model = atentdsl.load("pgd_at_linf", ["sampler.attack.moves=3"]), Watched(fails_at)
    asked = [p.requires_grad for p in model.parameters()]
    with pytest.raises(ArithmeticError):
        step(model, recipe)
    assert model.seen[-1][1] == 0
    assert [p.requires_grad for p in model.parameters()] == asked


def test_regions_nest_and_give_back_what_they_found():
    model = Watched()
    asked = [p.requires_grad for p in model.parameters()]
    with weights_frozen(model):
        with weights_frozen(model):
            pass
        assert not any(p.requires_grad for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == asked


def test_the_interpreter_leaves_no_gradient_behind_when_it_draws():
    """It freezes nothing, but asks autograd for the input's gradient alone."""
    model = network()
    plan = lower(atentdsl.load("atent_linf", ["sampler.attack.moves=3"]), "draw")
    for executed in (plan, optimised(plan, SETTINGS)):
        interpret(executed, model, None, iter([batch()]), Streams(0, 1, torch.device("cpu")), {})
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
