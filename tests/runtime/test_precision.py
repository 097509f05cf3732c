"""Training in bfloat16: the passes are, and nothing else."""

from __future__ import annotations

import pytest
import torch

import atentdsl
from atentdsl.runtime.precision import PRECISIONS, prepared


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(100, 3),
    )


def passes(model, x, y):
    """Logits, the gradient in x, and the weights' gradients."""
    x = x.clone().requires_grad_()
    logits = model(x)
    torch.nn.functional.cross_entropy(logits, y).backward()
    return logits.detach(), x.grad, [p.grad for p in model.parameters()]


def test_bfloat16_rounds_the_passes_and_keeps_float32_around_them():
    """Against float32: close to bfloat16's eight bits, and not equal; everything handed on is float32."""
    x, y = torch.rand(8, 3, 5, 5), torch.arange(8) % 3
    exact = passes(network(), x, y)
    rounded = passes(prepared(network(), "bfloat16"), x, y)
    pairs = [*zip(exact[:2], rounded[:2], strict=True), *zip(exact[2], rounded[2], strict=True)]
    for a, b in pairs:
        assert b.dtype == torch.float32
        assert float((a - b).norm()) < 0.03 * max(float(a.norm()), 1e-3)
    assert not torch.equal(exact[0], rounded[0])


def test_the_prepared_network_is_the_network():
    """Its weights, its mode, its running statistics."""
    own = network()
    made = prepared(own, "bfloat16")
    made.eval()
    assert not own.training
    made.train()
    before = own[1].running_mean.clone()
    made(torch.rand(4, 3, 5, 5))
    assert not torch.equal(own[1].running_mean, before)
    assert {id(p) for p in own.parameters()} == {id(p) for p in made.parameters()}


def test_float32_changes_nothing():
    own = network()
    assert prepared(own, "float32") is own


def test_another_precision_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown precision 'float8'; choose one of float32, bfloat16"):
        prepared(network(), "float8")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_keeps_float32_weights_and_says_its_precision(tmp_path, precision):
    overrides = [f'compile.precision="{precision}"', "sampler.attack.moves=2", "evaluate.attacks=['pgd-1']"]
    run = atentdsl.train("atent_linf", overrides=overrides, out=tmp_path, max_steps=3, quiet=True)
    assert {w.dtype for w in run.model.state_dict().values()} == {torch.float32}
    assert f'PRECISION = "{precision}"' in (run.path / "module.py").read_text()
    assert f'precision = "{precision}"' in (run.path / "recipe.toml").read_text()
