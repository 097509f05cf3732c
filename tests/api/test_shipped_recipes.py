"""Every shipped recipe trains: its own network, its own samplers, three steps from the recipe to an evaluation."""

from __future__ import annotations

import json
import os
from signal import SIGTERM

import pytest
import torch

import atentdsl
from atentdsl.recipe import shipped
from atentdsl.runtime.errors import Interrupted
from atentdsl.runtime.models import preact_resnet18
from atentdsl.runtime.running import Running


def images(shape, n=40):
    generator = torch.Generator().manual_seed(0)
    return torch.utils.data.TensorDataset(torch.rand(n, *shape, generator=generator), torch.arange(n) % 10)


def interrupted_after(steps):
    """A step in place of the runs' own, in which a signal comes after so many."""
    advance = Running.advance

    def interrupting(self):
        signal = advance(self)
        if self.step == steps:
            os.kill(os.getpid(), SIGTERM)
        return signal

    return interrupting


@pytest.mark.parametrize("name", shipped.names())
def test_three_steps_and_an_evaluation_and_the_same_when_interrupted(tmp_path, monkeypatch, name):
    """Chains of three moves at most, and the network of CIFAR-10 an eighth as wide, so that a recipe takes a second;
    random weights where it begins from another recipe, of which `test_beginnings.py` has the rest."""
    monkeypatch.setattr(preact_resnet18, "WIDTHS", (8, 16, 32, 64))
    recipe = atentdsl.load(name)
    moves = [f"sampler.{sampler.name}.moves={min(3, sampler.moves)}" for sampler in recipe.samplers]
    overrides = ["model.init=random", "data.batch=2", 'evaluate.attacks=["pgd-1"]', *moves]
    data = images({"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 8, 8)}[recipe.data.name])
    run = atentdsl.train(name, overrides=overrides, data=data, out=tmp_path, max_steps=3, quiet=True)
    assert all(bool(value.isfinite().all()) for value in run.model.state_dict().values())
    (line,) = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert line["step"] == 3
    assert line["loss"] > 0
    assert set(run.evaluation["attacks"]) == {"pgd-1"}
    with monkeypatch.context() as patched:
        patched.setattr(Running, "advance", interrupted_after(2))
        with pytest.raises(Interrupted) as caught:
            atentdsl.train(name, overrides=overrides, data=data, out=tmp_path, max_steps=3, quiet=True)
    assert caught.value.step == 2
    again = atentdsl.resume(caught.value.run, data=data, quiet=True)
    weights = zip(run.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    assert again.evaluation == run.evaluation
    (after,) = [json.loads(line) for line in (again.path / "metrics.jsonl").read_text().splitlines()]
    assert after["loss"] == line["loss"]
