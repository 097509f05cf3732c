"""A recipe that validates also compiles, and one that compiles also runs: numbers at the ends of their ranges too."""

from __future__ import annotations

import itertools
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe.recipe_mutations import at, copied, places

from atentdsl.codegen import as_module, generate
from atentdsl.evaluation import attacks
from atentdsl.recipe import load
from atentdsl.recipe.limits import LARGEST
from atentdsl.runtime.examples import Batch
from atentdsl.runtime.streams import Streams
from atentdsl.source import RecipeError
from atentdsl.testing import recipes

ENDS = [0, 0.0, -0.0, 5e-324, 1e-320, 1e-45, 1e-38, 1e-9, 1 - 2**-53, 1, 1 + 2**-52, 255, 3.4e38, 1e39, 1e308, LARGEST]


@st.composite
def extreme(draw: st.DrawFn) -> dict[str, Any]:
    """A valid recipe, some of its numbers at the ends of what floats can say."""
    recipe = copied(draw(recipes()))
    numbers = [p for p in places(recipe) if isinstance(at(recipe, p), float)]
    for path in draw(st.lists(st.sampled_from(numbers), max_size=6)) if numbers else []:
        at(recipe, path[:-1])[path[-1]] = draw(st.sampled_from(ENDS) | st.floats(0, LARGEST))
    return recipe


def step(recipe: Any) -> None:
    """Three outer steps, one drawing and one attack, on a network of its own."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    x, y = pair = Batch((torch.rand(2, 1, 8, 8), torch.tensor([3, 7])), torch.tensor([0, 1]), of=2)
    rng = Streams(recipe.header.seed, 1, x.device)
    drawn = as_module(generate(recipe, "draw").text, "drawn").draw(network, x, y, rng)
    # The last sampler hands its points on, but for one before it that hands on its displacement.
    handing = next(
        (s for s in recipe.samplers if s.averaging.of == "displacement"), next(reversed(recipe.samplers), None)
    )
    of_weights = handing is not None and handing.space == "weights"
    shape = (1, 64 * 10 + 10) if of_weights else x.shape
    assert drawn
    assert all(z.shape == shape and torch.as_tensor(weight).isfinite().all() for z, weight in drawn)
    for attack in attacks(recipe, 10):
        assert attack.withstands(network, x, y, 0).shape == (2,)
    module = as_module(generate(recipe).text, "trained")
    optimizer = module.make_optimizer(network.parameters())
    state: dict[str, Any] = {}
    for epoch in (1, 2, module.EPOCHS):
        settings = module.settings(epoch, epoch)
        assert settings["lr"] == module.learning_rate(epoch, epoch)
        assert all(0 <= value < math.inf for value in settings.values())
        optimizer.param_groups[0].update(settings)
        rng = Streams(recipe.header.seed, epoch, x.device, epoch)
        assert module.train_step(network, optimizer, itertools.repeat(pair), rng, state).shape == ()


@given(extreme())
@settings(max_examples=60)
def test_what_validates_compiles_and_runs(recipe):
    try:
        checked = load(recipe)
    except RecipeError:
        return
    step(checked)


@pytest.mark.parametrize(
    ("step_size", "noise"),
    [
        ("1e30", "8e29"),
        ("1e30", "{ kind = 'cyclic', peak = 8e29 }"),
        ("{ kind = 'linear', start = 0, end = 1e30 }", "8e29"),
    ],
)
def test_a_move_s_noise_that_float32_does_not_hold_is_refused_at_the_noise(step_size, noise):
    """Though either number alone is in range, sqrt(2e30) * 8e29 is 1.1e45."""
    with pytest.raises(RecipeError) as caught:
        load("atent_linf", [f"sampler.attack.kernel.step_size={step_size}", f"sampler.attack.kernel.noise={noise}"])
    (mistake,) = caught.value.diagnostics
    assert (mistake.code, "too large to compute with" in mistake.message) == ("inconsistent", True)
    assert load("atent_linf", [f"sampler.attack.kernel.step_size={step_size}"]).name == "atent_linf"


def test_extremes_are_accepted_and_refused():
    """Neither all nor nothing of what the property draws is a recipe."""
    from atentdsl.testing import sample

    def accepted(recipe: Any) -> bool:
        try:
            load(recipe)
        except RecipeError:
            return False
        return True

    found = [accepted(recipe) for recipe in sample(extreme(), 100)]
    assert 20 < sum(found) < 90


SHAPES = {
    "no moves, no kernel": ["sampler.attack.moves=0"],
    "nothing but a start": ["sampler.attack.moves=0", 'sampler.attack.averaging={kind="first"}'],
    "a mean without moves": ["sampler.attack.moves=0", 'sampler.attack.averaging={kind="mean"}'],
    "a mean of the last point": ['sampler.attack.averaging={kind="mean", burn_in=9}'],
    "the first of many points": ['sampler.attack.averaging={kind="first"}'],
    "no projection": ["sampler.attack.projection=[]", "evaluate.radius=0.1"],
    "the newest point alone": ["sampler.attack.averaging.alpha=1"],
    "the oldest name": ['recipe.name="0"', 'sampler.attack.name="a"'],
    "the longest name": [f"recipe.name={'n' * 80}", f"sampler.attack.name={'n' * 40}"],
    "a name that Python has": ["recipe.name=import", "sampler.attack.name=lambda"],
    "a name like a file's": ['recipe.name="1.."', "sampler.attack.name=model"],
    "the largest seed": [f"recipe.seed={2**63 - 1}"],
    "a cosine of one": ["optimizer.lr.length=1"],
    "a cosine as long as integers": [f"optimizer.lr.length={2**63 - 1}"],
    "a jump as late as integers": [f'optimizer.lr={{kind="piecewise", at=[1, {2**63 - 1}], value=[1, 0]}}'],
    "no learning": ["optimizer.lr=0"],
    "no memory": ['optimizer={kind="adamw", epochs=1, lr=1, betas=[0, 0], eps=5e-324}'],
    "an attack of nothing": ["evaluate.radius=0"],
    "an attack of everything": ["evaluate.radius=1", "evaluate.step_size=1e30"],
    "a batch as large as can be": ["data.batch=1000000"],
}


@pytest.mark.parametrize("sets", SHAPES.values(), ids=SHAPES.keys())
def test_shapes_at_the_ends_compile_and_run(sets):
    step(load("atent_linf", sets))


def test_a_chain_without_a_kernel_is_fine_where_it_does_not_move():
    values = load("atent_linf").values()
    del values["sampler"][0]["kernel"]
    step(load({**values, "sampler": [{**values["sampler"][0], "moves": 0}]}))


@pytest.mark.parametrize(
    ("alpha", "moves"), [("0.9", 10_000), ("0.1234567890123456", 1_500), ("1e-300", 200), ("0.12345678901234567", 1)]
)
def test_the_longest_weights_that_are_accepted_take_seconds(alpha, moves):
    begin = time.process_time()
    checked = load("atent_linf", [f"sampler.attack.averaging.alpha={alpha}", f"sampler.attack.moves={moves}"])
    averaging = checked.samplers[0].averaging
    from atentdsl.primitives import registry

    weights = registry.primitive("averaging", "exponential").coefficients(moves, averaging.alpha)
    assert len(weights) == moves + 1
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(("alpha", "moves"), [("0.1234567890123456", 3_000), ("1e-300", 600), ("0.99", 10_000)])
def test_weights_that_would_take_minutes_are_refused(alpha, moves):
    with pytest.raises(RecipeError) as caught:
        load("atent_linf", [f"sampler.attack.averaging.alpha={alpha}", f"sampler.attack.moves={moves}"])
    (mistake,) = caught.value.diagnostics
    assert mistake.code == "inconsistent"
    assert re.match(rf"the weights of {moves} points are too long to compute", mistake.message)


@pytest.mark.parametrize(
    "name", ["my recipe.toml", "rezept-数.toml", "--set x.toml", "a'b.toml", "a\\b.toml", "a#b.toml"]
)
def test_a_file_s_name_is_no_code(tmp_path: Path, name):
    (tmp_path / name).write_text(load("sgd").resolved, encoding="utf-8")
    step(load(tmp_path / name))
