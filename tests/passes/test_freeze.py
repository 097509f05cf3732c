"""Freeze weights: regions that hold every move, and in which no weight gets or keeps a gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import freeze_weights, optimised
from atentdsl.plan import interpret, lower, units, verify
from atentdsl.plan.operations import Evaluate, Frozen, Keep, Move, Project, Start, Update, flatten
from atentdsl.runtime import Streams, weights_frozen
from atentdsl.testing import batch, network, recipes


@given(recipes(), st.sampled_from(["train", "draw"]))
@settings(max_examples=120)
def test_regions_hold_the_moves_and_nothing_else_moves_into_them(recipe, goal):
    literal = lower(atentdsl.load(recipe), goal)
    frozen = verify(freeze_weights.apply(literal))
    assert list(frozen.flat()) == list(literal.flat())
    assert units(frozen) == units(literal)
    inside = [o for region in frozen.operations if isinstance(region, Frozen) for o in flatten(region.body)]
    outside = [o for o in frozen.operations if not isinstance(o, Frozen)]
    assert not any(isinstance(o, Start | Keep | Update) for o in inside)
    assert not any(isinstance(o, Evaluate) and o.wants == "weights" for o in inside)
    assert not any(isinstance(o, Move) or (isinstance(o, Evaluate) and o.wants == "input") for o in outside)
    assert all(o.after == "start" for o in outside if isinstance(o, Project))
    neighbours = zip(frozen.operations, frozen.operations[1:], strict=False)
    assert not any(isinstance(a, Frozen) and isinstance(b, Frozen) for a, b in neighbours)


def test_a_recipe_without_moves_has_nothing_to_freeze():
    literal = lower(atentdsl.load("sgd"))
    assert freeze_weights.apply(literal) == literal
    assert freeze_weights.why_not(literal) == "no evaluation asks for an input's gradient"


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
    module.train_step(model, optimizer, iter([batch()]), Streams(0, 1, torch.device("cpu")), {})


def test_in_a_compiled_chain_no_weight_asks_for_a_gradient_or_gets_one():
    recipe, model = atentdsl.load("pgd_at_linf", ["sampler.attack.moves=3"]), Watched()
    asked = [p.requires_grad for p in model.parameters()]
    step(model, recipe)
    assert model.seen == [(True, 0, 0)] * 3 + [(False, len(asked) - 1, 0)]
    assert [p.requires_grad for p in model.parameters()] == asked
    assert [p.grad is not None for p in model.parameters()] == asked


def test_in_an_averaged_chain_the_gradients_grow_between_the_regions_only():
    recipe, model = atentdsl.load("atent_linf", ["sampler.attack.moves=2"]), Watched()
    step(model, recipe)
    asking = sum(p.requires_grad for p in model.parameters())
    assert model.seen == [(True, 0, 0), (False, asking, 0), (True, 0, asking), (False, asking, asking)]


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
    for executed in (plan, optimised(plan)):
        interpret(executed, model, None, iter([batch()]), Streams(0, 1, torch.device("cpu")), {})
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
