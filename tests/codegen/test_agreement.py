"""Translation validation: literal plan, every pass, and compiled step mean the same: same streams and batch, float64.

The interpreter and the generated text call the same functions in the same order, and both differentiate the summed
loss and multiply weight gradients by c / n. So everything is asserted to the last bit: points, gradients in the points
and in the weights, weights after the update, dropout's generator; interval bounds alone, of which the interpreter has
its own, are compared to rounding. Hence no rounding can flip a pixel under the `sign`
drift, and the whole chain is checked rather than each move from the interpreter's points. Only the signal itself is
compared to 1e-12. What a pass does not keep is left out of its comparison, and its own tests say what it may change
(`tests/passes`): merging updates running statistics less often, sharing adds in another order, and dropping changes
the gradient up to the tolerance.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import PIPELINE, optimised, share_clean_forward, stages, switch
from atentdsl.plan import lower, verify
from atentdsl.primitives import registry
from atentdsl.recipe import shipped
from atentdsl.recipe.tables import Compile
from atentdsl.runtime import models
from atentdsl.runtime.models import preact_resnet18
from atentdsl.testing import batch, differences, interpreted, network, recipes, run_module

GOALS = ["train", "draw"]
EXACT = Compile(tolerance=0.0)
BATCHES = [batch(seed=1), batch(count=3, seed=2)]
ROUNDING = [share_clean_forward]
TO_ROUNDING = 1e-10


def to_the_bit(plan):
    """The plan after the passes that round: the others change no bit of it."""
    for step in ROUNDING:
        plan = verify(step.apply(plan, EXACT))
    return plan


def compiled(recipe, goal="train"):
    made = generate(recipe, goal)
    return as_module(made.text, made.name)


def allowed(recipe):
    """None, but where the interpreter has interval bounds of its own, which round otherwise."""
    return TO_ROUNDING if registry.primitive("objectives", recipe.objective.kind).bounded else 0.0


def disagreement(recipe, model, goal="train", batches=BATCHES):
    """Between the optimised plan, interpreted, and the compiled module."""
    best = interpreted(optimised(lower(recipe, goal), recipe.compile), model, batches, seed=7)
    return differences(best, run_module(compiled(recipe, goal), model, batches, seed=7), allowed(recipe))


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", shipped.names())
def test_a_shipped_recipe_compiles_to_what_it_means(monkeypatch, name, goal):
    """The network of CIFAR-10 an eighth as wide and on small images: as it is, that took half a minute."""
    monkeypatch.setattr(preact_resnet18, "WIDTHS", (8, 16, 32, 64))
    recipe = atentdsl.load(name)
    shape = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 8, 8)}[recipe.data.name]
    own = models.build(recipe.model.name, shape, 10, [0.3] * shape[0], [0.4] * shape[0]).double()
    if goal == "draw":  # the same moves as in training, whose weight gradients are what a network differs by
        own = network(shape, classes=10)
    count = 4 if recipe.data.name == "digits" else 2
    batches = [batch(count=count, shape=shape, classes=10, seed=seed) for seed in (1, 2)]
    assert disagreement(recipe, own, goal, batches) == []


@given(recipes(), st.sampled_from(GOALS), st.booleans(), st.booleans())
@settings(max_examples=50)
def test_a_drawn_recipe_compiles_to_what_it_means(recipe, goal, dropout, batch_norm):
    """With the passes that it switches on, and at its own tolerance."""
    model = network(dropout=0.4 if dropout else 0.0, batch_norm=batch_norm)
    assert disagreement(atentdsl.load(recipe), model, goal) == []


@given(recipes(), st.sampled_from(GOALS))
@settings(max_examples=50)
def test_each_pass_keeps_what_the_recipe_means_is_verified_and_done_at_once(recipe, goal):
    """Alone and after those before it, at tolerance 0, and in the end the compiled module against the literal plan. A
    plan of the same operations in order is the same execution, and is not made again.
    """
    literal = plan = lower(atentdsl.load(recipe), goal)
    model = network(dropout=0.4)
    means = interpreted(literal, model, BATCHES)
    for step in PIPELINE:
        alone = verify(step.apply(literal, EXACT))
        assert step.apply(alone, EXACT) == alone
        assert (alone != literal) == (step.why_not(literal, EXACT) is None)
        if step not in ROUNDING and list(alone.flat()) != list(literal.flat()):
            assert differences(means, interpreted(alone, model, BATCHES)) == []
        plan = verify(step.apply(plan, EXACT))
        assert step.apply(plan, EXACT) == plan
    exact = to_the_bit(literal)
    whole = atentdsl.load({**recipe, "compile": {"tolerance": 0.0}})
    assert plan == optimised(literal, whole.compile)
    if exact == literal:
        assert differences(means, run_module(compiled(whole, goal), model, BATCHES), allowed(whole)) == []
    else:
        assert differences(interpreted(exact, model, BATCHES), run_module(compiled(whole, goal), model, BATCHES)) == []
        first = interpreted(literal, model, BATCHES[:1])
        assert differences(first, run_module(compiled(whole, goal), model, BATCHES[:1]), TO_ROUNDING) == []


def test_every_pass_has_a_switch_of_its_name_and_all_are_on():
    named = [switch(step) for step in PIPELINE]
    others = {"tolerance", "precision"}
    assert [name for name in Compile.model_fields if name not in others] == named
    assert all(getattr(Compile(), name) for name in named)


@pytest.mark.parametrize("step", PIPELINE, ids=switch)
def test_a_pass_that_is_switched_off_changes_nothing_and_is_said_to_be(step):
    recipe = atentdsl.load("atent_linf", [f"compile.{switch(step)}=false"])
    found = {stage.name: stage for stage in stages(lower(recipe), recipe.compile)}
    order = list(found)
    before = found[order[order.index(step.NAME) - 1]]
    assert found[step.NAME].plan == before.plan
    assert found[step.NAME].effect == f"off: {switch(step)} = false"


@given(recipes())
@settings(max_examples=50)
def test_the_points_drawn_are_those_at_which_training_takes_the_weights_gradients(recipe):
    """At tolerance 0. Without batch norm: in eval mode a chain reads running statistics, which training's evaluations
    update on the way and drawing's do not. Without dropout where a second chain follows, or the objective evaluates the
    clean inputs too: training has drawn a mask that drawing has not. A share of clean cross entropy is evaluated last,
    and the points have the rest of the signal.
    """
    checked = atentdsl.load({**recipe, "compile": {"tolerance": 0.0}})
    one_chain = sum(sampler.restarts for sampler in checked.samplers) <= 1
    clean = registry.primitive("objectives", checked.objective.kind).clean
    model = network(dropout=0.4 if one_chain and not clean else 0.0)
    if any(sampler.space == "weights" for sampler in checked.samplers):
        return  # training evaluates targets on the way, and drawing keeps the weights
    trained = run_module(compiled(checked), model, BATCHES[:1], seed=3)
    drawn = run_module(compiled(checked, "draw"), model, BATCHES[:1], seed=3)
    share = checked.objective.clean
    if share:
        assert trained.points[0].pop() is BATCHES[0][0]
        assert trained.coefficients[0].pop() == pytest.approx(share, rel=1e-12)
    for name in ("points", "coefficients", "gradients"):
        pairs = zip(getattr(trained, name)[0], getattr(drawn, name)[0], strict=True)
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs if name != "coefficients")
    for mine, theirs in zip(trained.coefficients[0], drawn.coefficients[0], strict=True):  # of a search one an example
        own, rest = (torch.as_tensor(value, dtype=torch.float64) for value in (mine, theirs))
        torch.testing.assert_close(own, (1 - share) * rest, rtol=1e-12, atol=0)
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
