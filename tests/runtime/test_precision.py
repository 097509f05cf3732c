"""The network that a step is made through: bfloat16 passes, channels-last images, and nothing else changed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from atentdsl.runtime import checkpoint
from atentdsl.runtime.policy import PRECISIONS, Policy
from atentdsl.runtime.precision import prepared

BFLOAT16 = Policy("bfloat16", channels_last=True)
CHANNELS_LAST = Policy("float32", channels_last=True)
POLICIES = st.builds(Policy, st.sampled_from(PRECISIONS), st.booleans())


def network(flatten=None):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), flatten or nn.Flatten(), nn.Linear(100, 3)
    )


class View(nn.Module):
    """As many networks are written: it takes its input's memory for contiguous."""

    def forward(self, x):
        return x.view(len(x), -1)


class Counting(nn.Module):
    """Counts its passes, in eval mode too."""

    def __init__(self):
        super().__init__()
        self.layers = network()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        self.passes += 1
        return self.layers(x)


def passes(model, x, y):
    """Logits, the gradient in x, and the weights' gradients."""
    x = x.clone().requires_grad_()
    logits = model(x)
    nn.functional.cross_entropy(logits, y).backward()
    return [logits.detach(), x.grad, *(p.grad for p in model.parameters())]


def batch(dtype=torch.float32):
    return torch.rand(8, 3, 5, 5, dtype=dtype), torch.arange(8) % 3


def test_bfloat16_rounds_the_passes_and_keeps_float32_around_them():
    """Against float32: three layers, each rounded on the way there and back by at most 2^-8; and not equal."""
    x, y = batch()
    exact, rounded = passes(network(), x, y), passes(prepared(network(), BFLOAT16), x, y)
    for a, b in zip(exact, rounded, strict=True):
        assert b.dtype == torch.float32
        assert float((a - b).norm()) < 2 * 3 * 2**-8 * max(float(a.norm()), 1e-3)
    assert not torch.equal(exact[0], rounded[0])


def test_channels_last_changes_the_order_of_sums_alone():
    """In float32, and measured in its roundings: 1.2e-7 of the largest number."""
    x, y = batch()
    for a, b in zip(passes(network(), x, y), passes(prepared(network(), CHANNELS_LAST), x, y), strict=True):
        assert float((a - b).abs().max()) < 20 * 2**-23 * max(float(a.abs().max()), 1.0)


@given(POLICIES)
def test_float64_is_never_cast(policy):
    x, y = batch(torch.float64)
    exact, found = passes(network().double(), x, y), passes(prepared(network().double(), policy), x, y)
    for a, b in zip(exact, found, strict=True):
        assert b.dtype == torch.float64
        assert float((a - b).abs().max()) < 1e-13


@given(POLICIES)
def test_the_prepared_network_is_the_network(policy):
    """Its weights, its mode, its running statistics."""
    own = network()
    made = prepared(own, policy)
    made.eval()
    assert not own.training
    made.train()
    before = own[1].running_mean.clone()
    made(torch.rand(4, 3, 5, 5))
    assert not torch.equal(own[1].running_mean, before)
    assert {id(p) for p in own.parameters()} == {id(p) for p in made.parameters()}
    assert own[0].weight.is_contiguous(memory_format=torch.channels_last) == policy.channels_last


def test_where_nothing_is_chosen_it_is_the_network_itself():
    own = network()
    assert prepared(own, Policy("float32")) is own


def test_images_are_put_into_the_order_and_other_inputs_are_not():
    seen = []
    own = nn.Sequential(nn.Flatten(), nn.Linear(75, 3))
    own.register_forward_pre_hook(lambda module, given: seen.append(given[0].stride()))
    made = prepared(own, CHANNELS_LAST)
    made(torch.rand(2, 3, 5, 5))
    made(torch.rand(2, 75))
    assert seen[-2:] == [(75, 1, 15, 3), (75, 1)]


@pytest.mark.parametrize("policy", [CHANNELS_LAST, BFLOAT16])
def test_a_network_that_views_its_images_gives_the_order_up(policy):
    own = network(View())
    made = prepared(own, policy)
    x, y = batch()
    passes(made, x, y)
    assert not made.channels_last
    assert own[0].weight.is_contiguous()
    exact = passes(network(View()), x, y)
    again = passes(prepared(network(View()), policy), x, y)
    if policy.precision == "float32":
        assert all(torch.equal(a, b) for a, b in zip(exact, again, strict=True))


def test_finding_out_leaves_the_network_as_it_was():
    """Its modes, its buffers, the generators; whatever else is wrong with a pass is said by the pass."""
    own = Counting()
    own.layers[1].eval()
    made = prepared(own, CHANNELS_LAST)
    x, _ = batch()
    state = torch.get_rng_state()
    made(x)
    assert own.passes == 1
    assert (own.training, own.layers[1].training) == (True, False)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        prepared(network(), CHANNELS_LAST)(torch.rand(2, 3, 4, 4))


def test_a_checkpoint_is_the_same_in_either_order(tmp_path):
    """The files hold numbers in their logical order, and a network keeps its own when it takes them."""
    plain, ordered = network(), network().to(memory_format=torch.channels_last)
    for name, model in (("plain", plain), ("ordered", ordered)):
        checkpoint.save(model, tmp_path / name)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "ordered").read_bytes()
    with torch.no_grad():
        ordered[0].weight.zero_()
    checkpoint.load(ordered, tmp_path / "plain")
    assert torch.equal(ordered[0].weight, plain[0].weight)
    assert ordered[0].weight.is_contiguous(memory_format=torch.channels_last)
