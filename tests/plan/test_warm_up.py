"""Radii and step sizes that warm up linearly over epochs, as points in these epochs, by hand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import optimised
from atentdsl.plan import interpret, lower
from atentdsl.plan.operations import Move, Project
from atentdsl.runtime import Streams
from atentdsl.source import RecipeError
from atentdsl.testing import batch, network

WARM = {"kind": "linear", "over": "epochs", "start": 0.02, "end": 0.08, "length": 3}
BY_HAND = [0.02, 0.04, 0.06, 0.08, 0.08, 0.08]  # in epochs 1 to 6
ROOT = Path(__file__).parents[2]
X, Y = batch()
MODEL = network()


class Ones(Streams):
    """Uniform draws that are all 1: the start lies in a corner of its cube."""

    def uniform(self, name, like):
        return torch.ones_like(like)


# Each reaches as far from x, in every coordinate, as the one number lets it.
CHAINS = {
    "a start's radius": {"moves": 0, "start": {"kind": "uniform", "radius": WARM}},
    "a step size": {"moves": 1, "kernel": {"step_size": WARM, "drift": "sign"}},
    "a ball's radius": {
        "moves": 3,
        "kernel": {"step_size": 0.1, "drift": "sign"},
        "projection": [{"kind": "linf_ball", "radius": WARM}],
    },
    "a start projected onto its ball": {
        "moves": 0,
        "start": {"kind": "uniform", "radius": 1.0, "projected": True},
        "projection": [{"kind": "linf_ball", "radius": WARM}],
    },
    "a folded ball and box": {
        "moves": 3,
        "kernel": {"step_size": 0.1, "drift": "sign"},
        "projection": [{"kind": "linf_ball", "radius": WARM}, {"kind": "box"}],
    },
}


def recipe(chain):
    return atentdsl.load(
        {
            "schema": 1,
            "recipe": {"name": "warm_up"},
            "data": {"name": "digits", "batch": 5},
            "model": {"name": "mlp"},
            "sampler": [chain],
            "optimizer": {"kind": "sgd", "epochs": 6, "lr": 0.1},
            "evaluate": {"attacks": [], "select": "clean"},
        }
    )


def interpreted(made, rng):
    plan = optimised(lower(made, "draw"), made.compile)
    ((z, _),) = interpret(plan, MODEL, None, iter([(X, Y)]), rng, {}).kept
    return z


def compiled(made, rng):
    ((z, _),) = as_module(generate(made, "draw").text, "warm_up").draw(MODEL, X, Y, rng)
    return z


@pytest.mark.parametrize("execute", [interpreted, compiled])
@pytest.mark.parametrize("name", CHAINS)
def test_in_each_epoch_points_reach_as_far_as_the_line_says(name, execute):
    made = recipe(CHAINS[name])
    reached = []
    for epoch in range(1, 7):
        rng = Ones(seed=0, step=10 * epoch, device=torch.device("cpu"), epoch=epoch)
        reached.append(float((execute(made, rng) - X).abs().max()))
    assert reached == pytest.approx(BY_HAND, rel=1e-12)


def test_smoothadv_warms_up_over_ten_epochs_the_step_twice_the_radius_over_the_moves():
    flat = list(lower(atentdsl.load("smoothadv")).flat())
    radius = dict(next(o for o in flat if isinstance(o, Project) and o.call.kind == "l2_ball").call.arguments)["radius"]
    step = dict(next(o for o in flat if isinstance(o, Move)).kernel.arguments)["step_size"]
    for epoch in range(1, 31):
        by_hand = 0.7 * min(epoch, 10) / 10
        assert radius.call.function(epoch, **dict(radius.call.arguments)) == pytest.approx(by_hand)
        assert step.call.function(epoch, **dict(step.call.arguments)) == pytest.approx(2 * by_hand / 10)


def test_the_attacks_of_an_evaluation_ask_for_a_radius_of_their_own():
    """A ball that changes has no one radius; what `[evaluate]` says holds in every epoch."""
    values = recipe(CHAINS["a ball's radius"]).values()
    values["evaluate"] = {"attacks": ["pgd-5"], "select": "robust"}
    with pytest.raises(RecipeError) as caught:
        atentdsl.load(values)
    (mistake,) = caught.value.diagnostics
    assert mistake.message == "the attacks have no radius: the sampler's ball changes its own"
    values["evaluate"]["radius"] = 0.08
    assert atentdsl.load(values).evaluate.radius == 0.08


def test_the_documents_recipes_are_recipes(tmp_path):
    """And the warmed-up one is that of the shipped recipe which it extends, from the tenth epoch on."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/decisions/outer-options.md").read_text(), re.DOTALL)
    for number, text in enumerate(blocks):
        (tmp_path / f"{number}.toml").write_text(text)
    averaged, warm = (atentdsl.load(tmp_path / f"{number}.toml") for number in range(len(blocks)))
    assert averaged.optimizer.weight_averaging.kind == "ema"
    assert (averaged.objective.clean, averaged.optimizer.clip, averaged.evaluate.patience) == (0.25, 1.0, 10)
    drawn = [
        interpreted(made, Streams(seed=0, step=1, device=torch.device("cpu"), epoch=10))
        for made in (warm, atentdsl.load("pgd_at_l2"))
    ]
    assert torch.allclose(*drawn, rtol=0, atol=1e-12)
