"""Dropout and batch norm in a step: one mask a point, batch statistics once an evaluation in train mode."""

from __future__ import annotations

import pytest
import torch

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.plan import lower
from atentdsl.testing import batch, interpreted, network, run_module

MOVES = 4
EVERY_POINT = [
    "sampler.attack.averaging={ kind = 'exponential', alpha = 0.5 }",
    f"sampler.attack.moves={MOVES}",
    "compile.merge_evaluations=false",
]


def recipe(mode):
    return atentdsl.load("atent_linf", [*EVERY_POINT, f'sampler.attack.mode="{mode}"'])


class Masks(torch.nn.Dropout):
    """Dropout that keeps the masks it draws, also when its network is copied."""

    drawn: list = []  # noqa: RUF012 - one list for all copies, emptied by each test

    def forward(self, x):
        dropped = super().forward(torch.ones_like(x))
        if self.training:
            self.drawn.append(dropped == 0)
        return x * dropped


def executions(checked, model, batches):
    module = as_module(generate(checked).text, "masks")
    return {
        "interpreted": lambda: interpreted(lower(checked), model, batches),
        "compiled": lambda: run_module(module, model, batches),
    }


@pytest.fixture
def masked():
    model = network()
    model.insert(3, Masks(0.5))
    Masks.drawn.clear()
    return model


def different(masks):
    return all(not torch.equal(a, b) for i, a in enumerate(masks) for b in masks[:i])


@pytest.mark.parametrize("execution", ["interpreted", "compiled"])
def test_a_point_has_one_mask_and_another_point_another(masked, execution):
    """In train mode: z^0 is evaluated once, z^1 … z^(K-1) for the weights and for the move, z^K for the weights."""
    executions(recipe("train"), masked, [batch(count=16)])[execution]()
    masks = Masks.drawn
    assert len(masks) == 2 * MOVES
    for i in range(1, 2 * MOVES - 1, 2):
        assert torch.equal(masks[i], masks[i + 1])
    assert different([masks[0], *masks[1::2]])


@pytest.mark.parametrize("execution", ["interpreted", "compiled"])
def test_in_eval_mode_the_moves_draw_no_mask_and_each_point_still_has_its_own(masked, execution):
    executions(recipe("eval"), masked, [batch(count=16)])[execution]()
    assert len(Masks.drawn) == MOVES
    assert different(Masks.drawn)


@pytest.mark.parametrize("execution", ["interpreted", "compiled"])
def test_another_step_has_other_masks(masked, execution):
    executions(recipe("train"), masked, [batch(count=16), batch(count=16)])[execution]()
    assert different([Masks.drawn[0], Masks.drawn[2 * MOVES]])


@pytest.mark.parametrize("execution", ["interpreted", "compiled"])
@pytest.mark.parametrize(("mode", "updates"), [("train", 2 * MOVES), ("eval", MOVES)])
def test_running_statistics_are_updated_once_an_evaluation_in_train_mode(execution, mode, updates):
    model = network(batch_norm=True)
    after = executions(recipe(mode), model, [batch()])[execution]().weights
    counts = {int(value) for name, value in after.items() if name.endswith("num_batches_tracked")}
    assert counts == {updates}


@pytest.mark.parametrize("execution", ["interpreted", "compiled"])
def test_the_callers_generator_and_model_are_left_alone(masked, execution):
    before, state = torch.get_rng_state(), {name: value.clone() for name, value in masked.state_dict().items()}
    executions(recipe("train"), masked, [batch()])[execution]()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in masked.state_dict().items())
