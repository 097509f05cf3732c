"""Units, against the table of the semantics and against the matrix products that torch really runs."""

from __future__ import annotations

from collections import Counter
from itertools import cycle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import optimised
from atentdsl.plan import lower, units, units_as_usually_written
from atentdsl.plan.operations import Evaluate
from atentdsl.runtime import Streams
from atentdsl.testing import batch, interpreted, recipes

MOVES = [1, 2, 5, 10]


def averaged(name, moves, averaging):
    return atentdsl.load(name, [f"sampler.attack.moves={moves}", f"sampler.attack.averaging={averaging}"])


@pytest.mark.parametrize("K", MOVES)
@pytest.mark.parametrize("name", ["atent_linf", "atent_linf_literal", "pgd_at_linf"])
def test_the_table_of_the_semantics(name, K):  # noqa: N803 - the table's letter
    everywhere = lower(averaged(name, K, '{ kind = "exponential", alpha = 0.9 }'))
    last = lower(averaged(name, K, '{ kind = "last" }'))
    after_burn_in = lower(averaged(name, K, f'{{ kind = "mean", burn_in = {K // 2} }}'))
    assert units(everywhere) == 5 * K
    assert units(last) == 2 * K + 3
    assert units(after_burn_in) == 2 * K + 3 * (K - K // 2)  # not mergeable: 2K + 3W
    assert units_as_usually_written(last) == 3 * K + 3
    assert units_as_usually_written(everywhere) == 6 * K
    for plan in (everywhere, last, after_burn_in):
        assert units(optimised(plan)) == units(plan)


def test_plain_training_costs_three():
    assert units(lower(atentdsl.load("sgd"))) == units_as_usually_written(lower(atentdsl.load("sgd"))) == 3


@pytest.mark.parametrize("K", MOVES)
def test_points_that_are_only_drawn_cost_two_a_move(K):  # noqa: N803
    assert units(lower(averaged("atent_linf", K, '{ kind = "mean" }'), "draw")) == 2 * K


class Products(TorchDispatchMode):
    """Counts the matrix products of the layer between 7 and 11 units, told apart by the length they sum over.

    Forward: over 7, its inputs. Backward into the activations: over 11, its outputs. Weight gradients: over the batch.
    It sees what autograd really runs, which a module's hooks or a function's `needs_input_grad` do not.
    """

    def __init__(self, batch):
        super().__init__()
        self.counts = Counter()
        self.kinds = {(batch, 7, 11): "forward", (batch, 11, 7): "activations", (7, batch, 11): "weights"}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}:
            one, other = args[-2:]
            shape = (one.shape[0], one.shape[1], other.shape[1])
            self.counts[self.kinds.get(shape) or self.kinds.get(shape[::-1], "another layer")] += 1
        return function(*args, **(kwargs or {}))


def layered():
    layers = [torch.nn.Linear(16, 7), torch.nn.Tanh(), torch.nn.Linear(7, 11), torch.nn.Tanh(), torch.nn.Linear(11, 3)]
    return torch.nn.Sequential(torch.nn.Flatten(), *layers).double()


def counted(execute, size=5):
    with Products(size) as products:
        execute()
    assert products.counts.pop("another layer") > 0
    return products.counts


def by_kind(plan):
    """What the units are made of."""
    asked = Counter(o.wants for o in plan.flat() if isinstance(o, Evaluate))
    gradients = asked["input"] + asked["density"] + asked["weights"]
    return +Counter(forward=asked.total(), activations=gradients, weights=asked["weights"])


@given(recipes(), st.sampled_from(["train", "draw"]))
@settings(max_examples=60)
def test_the_units_are_the_products_that_run(recipe, goal):
    checked = atentdsl.load(recipe)
    literal = lower(checked, goal)
    if not units(literal):
        return  # nothing is evaluated where a start alone is drawn
    model, pair = layered(), batch(5)
    module = as_module(generate(checked, goal).text, "counted")

    def run():
        rng = Streams(0, 1, torch.device("cpu"))
        if goal == "draw":
            module.draw(model, *pair, rng)
        else:
            module.train_step(model, module.make_optimizer(model.parameters()), cycle([pair]), rng, {})

    for execute in (
        run,
        lambda: interpreted(literal, model, [pair]),
        lambda: interpreted(optimised(literal), model, [pair]),
    ):
        counts = counted(execute)
        assert counts == by_kind(literal)
        assert counts.total() == units(literal)


def test_a_chain_as_usually_written_runs_the_weight_gradients_too():
    """The count that compiled chains are set against: `loss.backward()` at every point."""
    K, model, (z, y) = 4, layered(), batch(5)  # noqa: N806

    def usually():
        point = z
        for _ in range(K):
            point = point.detach().requires_grad_()
            torch.nn.functional.cross_entropy(model(point), y).backward()
            point = point + 0.01 * point.grad.sign()
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(point), y).backward()

    plan = lower(atentdsl.load("pgd_at_linf", [f"sampler.attack.moves={K}"]))
    assert counted(usually).total() == units_as_usually_written(plan) == 3 * K + 3
    assert units(plan) == 2 * K + 3


def test_the_count_notices_a_pass_too_many():
    model, (x, y) = layered(), batch(5)
    recipe = atentdsl.load("pgd_at_linf", ["sampler.attack.moves=2"])
    text = generate(recipe).text
    line = next(line for line in text.splitlines() if "g = input_gradient" in line)
    module = as_module(text.replace(line, f"{line}\n{line}"), "twice")
    counts = counted(
        lambda: module.train_step(
            model, module.make_optimizer(model.parameters()), iter([(x, y)]), Streams(0, 1, torch.device("cpu")), {}
        )
    )
    assert counts.total() == units(lower(recipe)) + 2 * 2
