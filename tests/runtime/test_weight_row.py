"""The weights as one row: copied, set, and their gradients put aside and gathered."""

from __future__ import annotations

import pytest
import torch

from atentdsl.runtime import (
    Streams,
    carried,
    displacement_gradient,
    example_losses,
    gathered,
    input_gradient,
    put_aside,
    set_weights,
    weight_gradient,
    weight_row,
    weight_shapes,
    weights,
    worse,
)
from atentdsl.testing import edited

CPU = torch.device("cpu")
X, Y = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4


def cross_entropy(logits, y):
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def network():
    torch.manual_seed(0)
    made = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 4)).double()
    made[0].bias.requires_grad_(False)  # what asks for no gradient is no part of the row
    return made


def streams():
    return Streams(0, 1, CPU)


def test_the_row_holds_what_asks_for_a_gradient_in_order():
    model = network()
    asking = [p for p in model.parameters() if p.requires_grad]
    assert weight_shapes(model) == [tuple(p.shape) for p in asking]
    assert torch.equal(weights(model)[0], torch.nn.utils.parameters_to_vector(asking))
    assert weights(model).data_ptr() not in {p.data_ptr() for p in asking}


def test_setting_a_row_and_taking_it_again():
    model = network()
    before, place = weights(model), [p.data_ptr() for p in model.parameters()]
    row = torch.randn_like(before)
    set_weights(model, row, streams())
    assert torch.equal(weights(model), row)
    assert [p.data_ptr() for p in model.parameters()] == place  # an optimizer knows them by their tensors
    set_weights(model, before, streams())
    assert torch.equal(weights(model), before)


def test_channels_last_weights_keep_their_order_and_their_format():
    model = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    row = torch.randn(1, sum(p.numel() for p in model.parameters()))
    set_weights(model, row, streams())
    assert torch.equal(weights(model), row)
    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(model.weight.flatten(), row[0, : model.weight.numel()])


@pytest.mark.parametrize("before", [True, False])
def test_a_gathered_gradient_is_the_one_asked_for_and_what_was_there_comes_back(before):
    model = network()
    asking = [p for p in model.parameters() if p.requires_grad]
    for p in asking if before else []:
        p.grad = torch.ones_like(p)
    aside = put_aside(model)
    assert all(p.grad is None for p in asking)
    weight_gradient(model, X, Y, cross_entropy, streams(), weight=0.5)
    g = gathered(model, aside)
    wanted = torch.autograd.grad(0.5 * cross_entropy(model.train()(X), Y).sum(), asking)
    assert torch.allclose(g[0], torch.cat([own.flatten() for own in wanted]), rtol=1e-12, atol=0)
    assert all((p.grad is None) != before and (not before or bool((p.grad == 1).all())) for p in asking)


def test_weights_that_were_not_asked_have_a_gathered_gradient_of_zero():
    model = network()
    assert not gathered(model, put_aside(model)).any()


def displaced(function=displacement_gradient):
    """What is returned, the gradients, and both by autograd from gain/2 ||w - w'||^2."""
    model = network()
    asking = [p for p in model.parameters() if p.requires_grad]
    w, moved = weights(model), weights(model) + torch.randn_like(weights(model))
    for p in asking:
        p.grad = torch.ones_like(p)
    signal = function(model, w, moved, weight=0.3)
    flat = torch.cat([p.grad.flatten() for p in asking])
    w = w.clone().requires_grad_()
    loss = 0.3 / 2 * (w - moved).square().sum()
    return signal, flat, loss.detach(), 1 + torch.autograd.grad(loss, w)[0][0]


def test_a_displacements_gradient_is_autograds_of_half_its_square():
    signal, flat, loss, wanted = displaced()
    assert torch.allclose(signal, loss, rtol=1e-12, atol=0)
    assert torch.allclose(flat, wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("old", "new"),
    [("away = w - w_moved", "away = w_moved - w"), ("p.grad + own", "own"), ("weight / 2 * away", "weight * away")],
)
def test_an_edited_displacement_is_caught(old, new):
    signal, flat, loss, wanted = displaced(edited(weight_row, old, new).displacement_gradient)
    assert not (torch.allclose(signal, loss) and torch.allclose(flat, wanted))


@pytest.mark.parametrize("evaluate", ["weights", "input", "loss"])
def test_a_frozen_evaluation_reads_batch_statistics_and_leaves_the_running_ones(evaluate):
    """As in train mode but for the buffers; afterwards a train-mode evaluation tracks them as ever."""
    found, buffers = [], []
    for mode in ("frozen", "train"):
        model = network()
        before = [b.clone() for b in model.buffers()]
        if evaluate == "weights":
            weight_gradient(model, X, Y, cross_entropy, streams(), weight=1.0, mode=mode)
            found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        else:
            ask = input_gradient if evaluate == "input" else example_losses
            found.append(ask(model, X, Y, cross_entropy, streams(), mode))
        buffers.append([torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True)])
        assert model[1].track_running_stats
    assert torch.equal(*found)
    assert buffers == [[True] * 3, [False] * 3]


def test_example_losses_are_the_losses_without_a_graph():
    model = network()
    found = example_losses(model, X, Y, cross_entropy, streams(), "eval")
    assert torch.equal(found, cross_entropy(model.eval()(X), Y))
    assert not found.requires_grad


def test_the_worst_takes_each_examples_points_together():
    points = [[torch.full((3, 1), float(10 * r + k)) for k in range(2)] for r in range(3)]
    losses = [torch.tensor(own) for own in ([1.0, 5.0, 2.0], [3.0, 4.0, 2.0], [2.0, 6.0, float("nan")])]
    worst = None
    for own, high in zip(points, losses, strict=True):
        worst = worse(worst, own, high)
    assert worst.losses.tolist() == [3.0, 6.0, 2.0]
    assert [z.flatten().tolist() for z in worst.points] == [[10.0, 20.0, 0.0], [11.0, 21.0, 1.0]]


def test_nothing_is_carried_to_a_batch_of_another_shape():
    state = {"attack.carry": torch.ones(2, 3)}
    assert carried(state, "attack.carry", torch.zeros(2, 3)) is state["attack.carry"]
    for name, shape in (("attack.carry", (1, 3)), ("other.carry", (2, 3))):
        assert torch.equal(carried(state, name, torch.ones(shape)), torch.zeros(shape))


def convolutions(memory_format):
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(12, 4))
    return layers.to(memory_format=memory_format)


def test_the_row_is_the_same_in_either_memory_format():
    plain, ordered = convolutions(torch.contiguous_format), convolutions(torch.channels_last)
    row = weights(plain)
    assert torch.equal(weights(ordered), row)
    set_weights(ordered, 2 * row, streams())
    assert torch.equal(weights(ordered), 2 * row)
    assert ordered[0].weight.is_contiguous(memory_format=torch.channels_last)
    loss = [displacement_gradient(model, row, 3 * row, weight=0.5) for model in (plain, ordered)]
    assert torch.equal(*loss)
    assert torch.equal(plain[0].weight.grad, ordered[0].weight.grad)
    for model in (plain, ordered):  # a fused optimizer takes a weight and its gradient in one format
        assert [p.grad.stride() for p in model.parameters()] == [p.stride() for p in model.parameters()]
    assert torch.equal(gathered(plain, [None] * 4), gathered(ordered, [None] * 4))
