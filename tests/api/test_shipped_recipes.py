"""Every shipped recipe trains: its own network, its own samplers, three steps from the recipe to an evaluation."""

from __future__ import annotations

import json

import pytest
import torch

import atentdsl
from atentdsl.recipe import shipped


def images(shape, n=40):
    generator = torch.Generator().manual_seed(0)
    return torch.utils.data.TensorDataset(torch.rand(n, *shape, generator=generator), torch.arange(n) % 10)


@pytest.mark.parametrize("name", shipped.names())
def test_three_steps_and_an_evaluation(tmp_path, name):
    """Chains of three moves at most, so that the longest recipe takes a second."""
    recipe = atentdsl.load(name)
    moves = [f"sampler.{sampler.name}.moves={min(3, sampler.moves)}" for sampler in recipe.samplers]
    overrides = ["data.batch=4", 'evaluate.attacks=["pgd-1"]', *moves]
    data = images({"digits": (1, 8, 8), "mnist": (1, 28, 28)}[recipe.data.name])
    run = atentdsl.train(name, overrides=overrides, data=data, out=tmp_path, max_steps=3, quiet=True)
    assert all(bool(value.isfinite().all()) for value in run.model.state_dict().values())
    (line,) = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert line["step"] == 3
    assert line["loss"] > 0
    assert set(run.evaluation["attacks"]) == {"pgd-1"}
    again = atentdsl.train(name, overrides=overrides, data=data, out=tmp_path, max_steps=3, quiet=True)
    weights = zip(run.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
