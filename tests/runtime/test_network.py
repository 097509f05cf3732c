"""The network passes: gradients against autograd written out, weights frozen and given back, one mask a point."""

from __future__ import annotations

import pytest
import torch

from atentdsl.runtime import (
    Streams,
    clean_logits,
    density,
    example_losses,
    input_gradient,
    weight_gradient,
    weights_frozen,
)
from atentdsl.runtime.modes import mode_kept

CPU = torch.device("cpu")


def cross_entropy(logits, y):
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.5),
        torch.nn.Linear(8, 4),
    ).double()  # fmt: skip


X, Y = torch.rand(6, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_input_s_gradient(network, mode):
    state = torch.get_rng_state()
    g = input_gradient(network, X, Y, cross_entropy, Streams(0, 1, CPU), mode)
    assert network.training == (mode == "train")
    torch.set_rng_state(state)
    x = X.clone().requires_grad_()
    cross_entropy(network.train(mode == "train")(x), Y).sum().backward()
    torch.testing.assert_close(g, x.grad, rtol=1e-12, atol=0)
    assert not g.requires_grad


def test_the_input_s_gradient_leaves_the_weights_gradients_alone(network):
    input_gradient(network, X, Y, cross_entropy, Streams(0, 1, CPU), "train")
    assert all(p.grad is None for p in network.parameters())


def test_the_weights_gradient_is_added_and_weighted(network):
    network[4].p = 0.0
    expected = network.train()
    loss = 0.25 * cross_entropy(expected(X), Y).sum()
    wanted = torch.autograd.grad(loss, list(network.parameters()))
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    signal = weight_gradient(network, X, Y, cross_entropy, Streams(0, 1, CPU), weight=0.25)
    for p, g in zip(network.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, 1 + g, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(signal, loss.detach(), rtol=1e-12, atol=0)
    assert not signal.requires_grad


def distance(logits, y, clean, again):
    return (logits - clean).square().sum(dim=1) + cross_entropy(again, y)


@pytest.mark.parametrize("forwards", [1, 2])
def test_the_weights_gradient_goes_through_the_clean_logits_too(network, forwards):
    network[4].p = 0.0
    z = X.flip(0)
    clean = network.train()(X)
    wanted = torch.autograd.grad(0.5 * distance(network(z), Y, clean, clean).sum(), list(network.parameters()))
    network[2].reset_running_stats()
    rng = Streams(0, 1, CPU)
    weight_gradient(network, z, Y, distance, rng, weight=0.5, clean=X, reads=2, forwards=forwards)
    for p, g in zip(network.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-11, atol=1e-13)
    assert network[2].num_batches_tracked == forwards + 1


@pytest.mark.parametrize(("mode", "tracked"), [("eval", 0), ("frozen", 0), ("train", 1)])
def test_clean_logits_are_constants_under_the_mask_of_their_inputs(network, mode, tracked):
    rng = Streams(0, 1, CPU)
    logits = clean_logits(network, X, rng, mode)
    assert not logits.requires_grad
    assert network[2].num_batches_tracked == tracked
    assert torch.equal(logits, clean_logits(network, X, rng, mode))
    if mode != "eval":
        assert not torch.equal(logits, clean_logits(network, X.clone(), rng, mode))


def test_points_are_held_constant(network):
    z = X.clone().requires_grad_()
    weight_gradient(network, z, Y, cross_entropy, Streams(0, 1, CPU), weight=1.0)
    assert z.grad is None


def test_frozen_weights_are_given_back_whatever_happens(network):
    network[1].bias.requires_grad_(False)
    before = [p.requires_grad for p in network.parameters()]

    def stopped():
        with weights_frozen(network):
            assert not any(p.requires_grad for p in network.parameters())
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        stopped()
    assert [p.requires_grad for p in network.parameters()] == before


def test_freezing_changes_no_bit_of_the_input_s_gradient_and_saves_nothing_for_weights(network):
    """Autograd saves fewer tensors when no weight asks for a gradient."""
    network[4].p = 0.0

    def measured():
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
            g = input_gradient(network, X, Y, cross_entropy, Streams(0, 1, CPU), "eval")
        return g, sum(saved)

    free, many = measured()
    with weights_frozen(network):
        frozen, few = measured()
    assert torch.equal(free, frozen)
    assert few < many


def test_a_point_has_one_dropout_mask(network):
    torch.manual_seed(5)
    rng = Streams(0, 1, CPU)
    first = input_gradient(network, X, Y, cross_entropy, rng, "train")
    again = input_gradient(network, X, Y, cross_entropy, rng, "train")
    other = input_gradient(network, X.clone(), Y, cross_entropy, rng, "train")
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    fresh = input_gradient(network, X, Y, cross_entropy, Streams(0, 1, CPU), "train")
    assert not torch.equal(first, fresh), "without the point remembered, the mask is another"


def test_a_part_left_in_another_mode_is_set_to_the_one_asked_for(network):
    """The mode is the whole network's: the interpreter sets it so, whatever the root says."""
    network.train()
    network[2].eval()
    input_gradient(network, X, Y, cross_entropy, Streams(0, 1, CPU), "train")
    assert network[2].training


def test_every_part_gets_its_mode_back_whatever_happens(network):
    network.train()
    network[4].eval()

    def stopped():
        with mode_kept(network):
            network.eval()
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        stopped()
    assert [part.training for part in network] == [True, True, True, True, False, True]
    assert network.training


def test_the_density_is_the_losses_and_the_input_s_gradient(network):
    """One pass gives what the two other functions give, and leaves the weights and the statistics alone."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    losses, gradient = density(network, X, Y, cross_entropy, Streams(0, 1, CPU), "eval")
    assert torch.equal(losses, example_losses(network, X, Y, cross_entropy, Streams(0, 1, CPU), "eval"))
    assert torch.equal(gradient, input_gradient(network, X, Y, cross_entropy, Streams(0, 1, CPU), "eval"))
    assert not losses.requires_grad
    assert not gradient.requires_grad
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
