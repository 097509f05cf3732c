"""The published schedule: the same gradient, at 6K + 1 units."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from benchmark.counting import CountingNetwork, batch

from atentdsl.benchmark import authors_schedule
from atentdsl.benchmark.authors_schedule import applies, authors_step, authors_units
from atentdsl.codegen import as_module, generate
from atentdsl.plan import interpret
from atentdsl.recipe import load
from atentdsl.runtime.streams import Streams
from atentdsl.testing import edited, networks

CASES = [
    ("atent_linf", 0.3, "train"),
    ("atent_linf", 0.9, "eval"),
    ("atent_linf_literal", 0.5, "train"),
    ("atent_l2", 0.3, "train"),
]


def the_recipe(name, moves, alpha=0.9, mode="train"):
    settings = [f"moves={moves}", f"averaging.alpha={alpha}", f"mode={mode}"]
    return load(name, [f"sampler.attack.{setting}" for setting in settings])


def gradients(recipe, run, model):
    """The weights' gradients after one step on a copy of the model, by name."""
    model = copy.deepcopy(model)
    pair = networks.batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run(model, optimizer, itertools.repeat(pair), Streams(3, 1, pair[0].device), {})
    return {name: p.grad for name, p in model.named_parameters()}


def published(recipe, schedule=authors_schedule):
    plan, alpha = generate(recipe).stages[0].plan, recipe.samplers[0].averaging.alpha
    return lambda *arguments: schedule.authors_step(plan, alpha, *arguments)


def apart(mine, theirs):
    size = max(float(g.abs().max()) for g in mine.values())
    return max(float((mine[name] - theirs[name]).abs().max()) for name in mine) / size


@pytest.mark.parametrize(("name", "alpha", "mode"), CASES)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_its_gradient_is_ours(name, alpha, mode, batch_norm):
    """Literal and compiled, in float64 without dropout; every point has weight, and so none may be left out."""
    recipe = the_recipe(name, 4, alpha, mode)
    model = networks.network(batch_norm=batch_norm)
    theirs = gradients(recipe, published(recipe), model)
    literal = generate(recipe).stages[0].plan
    assert apart(gradients(recipe, lambda *arguments: interpret(literal, *arguments), model), theirs) < 1e-10
    if not batch_norm and alpha == 0.3:
        module = as_module(generate(recipe).text, recipe.name)
        assert apart(gradients(recipe, module.train_step, model), theirs) < 1e-10


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(1 - self.alpha) * self.mu", "self.mu"),
        ("self.alpha * loss", "loss"),
        ("self.model(point), self.y).mean()", "self.model(point), self.y).sum()"),
    ],
)
def test_another_average_is_another_gradient(old, new):
    recipe = the_recipe("atent_linf", 3, 0.3)
    model = networks.network()
    mutant = edited(authors_schedule, old, new)
    assert (
        apart(gradients(recipe, published(recipe), model), gradients(recipe, published(recipe, mutant), model)) > 1e-3
    )


@pytest.mark.parametrize("moves", [1, 2, 10])
def test_it_costs_six_units_a_move_and_one(moves):
    recipe = the_recipe("atent_linf", moves)
    network = CountingNetwork()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        published(recipe)(network, optimizer, itertools.repeat(batch()), Streams(0, 1, torch.device("cpu")), {})
        assert network.units() == authors_units(recipe) == 6 * moves + 1


def test_a_weight_that_the_network_does_not_use_is_left_alone():
    recipe = the_recipe("atent_linf", 2, 0.3)
    model = networks.network()
    model[-1].register_parameter("spare", torch.nn.Parameter(torch.ones(3).double()))
    found = gradients(recipe, published(recipe), model)
    assert [name for name, g in found.items() if g is None] == [f"{len(model) - 1}.spare"]


def test_batch_norm_is_updated_21_times_with_10_moves():
    recipe = the_recipe("atent_linf", 10)
    model = networks.network(batch_norm=True)
    pair = networks.batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    published(recipe)(model, optimizer, itertools.repeat(pair), Streams(0, 1, pair[0].device), {})
    assert [int(b) for name, b in model.named_buffers() if "num_batches" in name] == [21]


def test_the_weights_move_by_the_gradient():
    recipe = the_recipe("atent_linf", 3)
    model, pair = networks.network(), networks.batch()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    arguments = (itertools.repeat(pair), Streams(0, 1, pair[0].device), {})
    signal = authors_step(generate(recipe).stages[0].plan, 0.9, model, optimizer, *arguments)
    assert not signal.requires_grad
    for old, p in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), old - 0.1 * p.grad, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "overrides", "does"),
    [
        ("atent_linf", [], True),
        ("atent_l2", [], True),
        ("mnist/atent_linf", [], True),
        ("atent_mala", [], False),
        ("atent_linf", ["sampler.attack.averaging.alpha=1.0"], False),
        ("atent_linf", ["sampler.attack.restarts=2"], False),
        ("pgd_at_linf", [], False),
        ("sgd", [], False),
        ("entropy_sgd", [], False),
        ("entropy_sgd_atent", [], False),
    ],
)
def test_which_recipes_it_can_run(name, overrides, does):
    assert applies(load(name, overrides)) is does
