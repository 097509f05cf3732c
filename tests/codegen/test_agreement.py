"""The compiled step against the interpreter of the literal plan: same streams, same batch, float64.

Both call the same functions in the same order, and c * mean(L) and (c / n) * sum(L) hand the network the same numbers
backwards, c / n for each example. So everything is asserted to the last bit: points, gradients in the points and in the
weights, weights after the update, buffers, dropout's generator. Hence no rounding can flip a pixel under the `sign`
drift, and the whole chain is checked rather than each move from the interpreter's points. Only the signal itself, a
mean against a sum divided by n, is compared to 1e-12. Where a pass rounds, it is the plan after that pass that is
interpreted, and the pass has tests of its own for what it may change.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import PIPELINE, share_clean_forward
from atentdsl.plan import lower, verify
from atentdsl.primitives import registry
from atentdsl.recipe import shipped
from atentdsl.runtime import models
from atentdsl.testing import batch, differences, interpreted, network, recipes, run_module

GOALS = ["train", "draw"]
BATCHES = [batch(seed=1), batch(count=3, seed=2)]
ROUNDING = [share_clean_forward]


def to_the_bit(plan):
    """The plan after the passes that round: the others change no bit of it."""
    for step in ROUNDING:
        plan = verify(step.apply(plan))
    return plan


def compiled(recipe, goal="train"):
    made = generate(recipe, goal)
    return as_module(made.text, made.name)


def disagreement(recipe, model, goal="train", batches=BATCHES, tolerance=0.0):
    literal = interpreted(to_the_bit(lower(recipe, goal)), model, batches, seed=7)
    return differences(literal, run_module(compiled(recipe, goal), model, batches, seed=7), tolerance)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", shipped.names())
def test_a_shipped_recipe_compiles_to_what_it_means(name, goal):
    recipe = atentdsl.load(name)
    shape = {"digits": (1, 8, 8), "mnist": (1, 28, 28)}[recipe.data.name]
    own = models.build(recipe.model.name, shape, 10, [0.3], [0.4]).double()
    digits = [batch(count=4, shape=shape, classes=10, seed=seed) for seed in (1, 2)]
    assert disagreement(recipe, own, goal, digits) == []


@given(recipes(), st.sampled_from(GOALS), st.booleans(), st.booleans())
@settings(max_examples=200)
def test_a_drawn_recipe_compiles_to_what_it_means(recipe, goal, dropout, batch_norm):
    model = network(dropout=0.4 if dropout else 0.0, batch_norm=batch_norm)
    assert disagreement(atentdsl.load(recipe), model, goal) == []


@given(recipes(), st.sampled_from(GOALS))
@settings(max_examples=80)
def test_each_pass_keeps_every_bit_is_verified_and_done_at_once(recipe, goal):
    literal = plan = lower(atentdsl.load(recipe), goal)
    model = network(dropout=0.4, batch_norm=True)
    means = interpreted(literal, model, BATCHES)
    for step in PIPELINE:
        alone = verify(step.apply(literal))
        if step not in ROUNDING:
            assert differences(means, interpreted(alone, model, BATCHES)) == []
        assert step.apply(alone) == alone
        assert (alone != literal) == (step.why_not(literal) is None)
        plan = verify(step.apply(plan))
        assert step.apply(plan) == plan
    assert differences(interpreted(to_the_bit(literal), model, BATCHES), interpreted(plan, model, BATCHES)) == []


@given(recipes())
@settings(max_examples=80)
def test_the_points_drawn_are_those_at_which_training_takes_the_weights_gradients(recipe):
    """Without batch norm: in eval mode a chain reads running statistics, which training's evaluations update on the way
    and drawing's do not. Without dropout where a second chain follows, or the objective evaluates the clean inputs too:
    training has drawn a mask that drawing has not.
    """
    checked = atentdsl.load(recipe)
    one_chain = sum(sampler.restarts for sampler in checked.samplers) <= 1
    clean = registry.primitive("objectives", checked.objective.kind).clean
    model = network(dropout=0.4 if one_chain and not clean else 0.0)
    if any(sampler.space == "weights" for sampler in checked.samplers):
        return  # training evaluates targets on the way, and drawing keeps the weights
    trained = run_module(compiled(checked), model, BATCHES[:1], seed=3)
    drawn = run_module(compiled(checked, "draw"), model, BATCHES[:1], seed=3)
    for name in ("points", "coefficients", "gradients"):
        pairs = zip(getattr(trained, name)[0], getattr(drawn, name)[0], strict=True)
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs if name != "coefficients")
    assert trained.coefficients[0] == pytest.approx(drawn.coefficients[0], rel=1e-12)
    assert all(torch.equal(before, drawn.weights[name]) for name, before in model.state_dict().items())


def test_a_compiled_step_is_comparable_at_a_tolerance():
    """`differences` compares by the largest entry, says where and by how much, and calls NaN a difference."""
    recipe = atentdsl.load("atent_linf", ["sampler.attack.moves=2"])
    one = interpreted(lower(recipe), network(), BATCHES)
    other = interpreted(lower(recipe), network(), BATCHES)
    name = next(iter(other.weights))
    size = float(other.weights[name].abs().max())
    other.weights[name] += 1e-11 * size
    assert differences(one, other, tolerance=1e-10) == []
    found = differences(one, other)
    assert len(found) == 1
    assert found[0].startswith(f"afterwards, weights of {name}: by ")
    other.weights[name][...] = float("nan")
    assert len(differences(one, other, tolerance=1e9)) == 1
