"""What a captured step keeps, what it reads anew, and how its state is carried: everything but the device."""

from __future__ import annotations

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from atentdsl.runtime import Streams, fused
from atentdsl.runtime.capture import Static, Taken, carry_back, form_of, refusal
from atentdsl.runtime.streams import CapturedStreams

CPU = torch.device("cpu")


def optimizer(rate=0.1, **numbers):
    own = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=rate, **numbers)
    fused.fuse(own, rate_on_device=True)
    return own


def batch(n=4, dtype=torch.float32):
    return torch.rand(n, 1, 2, 2, dtype=dtype), torch.arange(n)


@given(st.lists(st.integers(), max_size=5), st.integers(0, 5), st.integers(0, 5))
def test_a_stream_gives_the_batches_that_were_taken_and_then_its_own(items, before, count):
    stream = iter(items)
    first = [next(stream) for _ in range(min(before, len(items)))]
    taken = Taken(stream, first)
    got = [next(taken) for _ in range(min(count, len(items)))]
    assert got == items[: len(got)] == taken.given


def test_the_form_is_what_a_graph_keeps_and_nothing_else():
    own = optimizer(momentum=0.5)
    form = form_of([batch()], {"carry": torch.zeros(3)}, own, None)
    fused.put(own, {"lr": 0.7})
    assert form == form_of([batch()], {"carry": torch.ones(3)}, own, None), "numbers on the device are read"
    others = [
        form_of([batch(5)], {"carry": torch.zeros(3)}, own, None),
        form_of([batch(dtype=torch.float64)], {"carry": torch.zeros(3)}, own, None),
        form_of([batch(), batch()], {"carry": torch.zeros(3)}, own, None),
        form_of([batch()], {"carry": torch.zeros(4)}, own, None),
        form_of([batch()], {"other": torch.zeros(3)}, own, None),
        form_of([batch()], {}, own, None),
        form_of([batch()], {"carry": torch.zeros(3), "count": 1}, own, None),
        form_of([batch()], {"carry": torch.zeros(3)}, own, 2),
    ]
    fused.put(own, {"momentum": 0.6})
    others.append(form_of([batch()], {"carry": torch.zeros(3)}, own, None))
    assert all(form != other for other in others)
    assert len(attrs.fields(type(form))) == 4


def test_the_state_is_carried_in_its_own_memory():
    static = Static([batch()], {"a": torch.ones(2), "deep": [torch.zeros(1), 3]})
    place = static.state["a"].data_ptr()
    inside = static.inside()
    inside["a"] = inside["a"] + 1
    inside["deep"][0].add_(5)
    carry_back(inside, static.state)
    assert static.state["a"].tolist() == [2, 2]
    assert static.state["deep"][0].tolist() == [5]
    assert static.state["a"].data_ptr() == place


def test_tensors_that_change_places_arrive_whole():
    static = Static([], {"a": torch.ones(2), "b": torch.zeros(2)})
    inside = static.inside()
    inside["a"], inside["b"] = inside["b"], inside["a"]
    carry_back(inside, static.state)
    assert (static.state["a"].tolist(), static.state["b"].tolist()) == ([0, 0], [1, 1])


@pytest.mark.parametrize(
    "left", [{}, {"a": torch.ones(3)}, {"a": torch.ones(2), "b": 1}, {"a": torch.ones(2).double()}]
)
def test_a_state_of_another_form_is_not_carried(left):
    static = Static([], {"a": torch.ones(2)})
    with pytest.raises(ValueError, match="another form"):
        carry_back(left, static.state)


def test_what_is_filled_in_is_copied():
    x, y = batch()
    static = Static([(x.clone(), y.clone())], {"a": torch.zeros(2)})
    given_state = {"a": torch.ones(2)}
    static.fill([(x + 1, y + 1)], given_state)
    given_state["a"].zero_()
    assert torch.equal(static.batches[0][0], x + 1)
    assert torch.equal(static.batches[0][1], y + 1)
    assert static.state["a"].tolist() == [1, 1]


@given(st.sets(st.sampled_from(["epoch", "step"])))
def test_streams_note_what_was_read(what):
    rng = Streams(0, 5, CPU, epoch=3)
    rng.normal("place", torch.zeros(2))  # its key is no reading: a replay seeds it
    assert {"epoch": Streams(0, 5, CPU, 3).epoch, "step": Streams(0, 5, CPU, 3).step} == {"epoch": 3, "step": 5}
    for name in what:
        getattr(rng, name)
    assert rng.read == what
    assert (refusal(rng) is None) == ("step" not in what)


@pytest.mark.parametrize(("dropout", "times", "noted"), [(0.5, 1, False), (0.5, 2, True), (0.0, 2, False)])
def test_a_mask_that_is_drawn_again_is_noted(dropout, times, noted):
    network, z, rng = nn.Dropout(dropout), torch.ones(50), Streams(0, 1, CPU)
    seen = []
    for _ in range(times):
        with rng.same_masks(z):
            seen.append(network(z))
    assert all(torch.equal(seen[0], other) for other in seen)
    assert ("masks" in rng.read) == noted
    assert (refusal(rng) is None) == (not noted)


def test_captured_streams_draw_from_the_generators_they_are_given():
    plain, like = Streams(7, 4, CPU), torch.zeros(5)
    first, second = plain.normal("a", like), plain.normal("a", like)
    rng = Streams(7, 4, CPU, epoch=2)
    own = torch.Generator()
    captured = CapturedStreams(rng, {"a": rng.seed("a", own)})
    assert torch.equal(captured.normal("a", like), first)
    assert torch.equal(captured.normal("a", like), second)
    rng.seed("a", own)
    assert torch.equal(captured.normal("a", like), first), "seeded from outside, never by itself"
    assert (captured.epoch, captured.step) == (2, 4)
    with pytest.raises(KeyError):
        captured.normal("b", like)
