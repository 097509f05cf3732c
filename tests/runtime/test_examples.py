"""What is remembered of single examples: by training index, whatever the order, and in a run that is gone on with."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime.emulated_graphs import emulate
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.runtime import Batch, fused, remember, remembered
from atentdsl.runtime.batches import Batches
from atentdsl.runtime.data import Images
from atentdsl.runtime.placed import Placed
from atentdsl.runtime.policy import Policy
from atentdsl.runtime.running import Running
from atentdsl.runtime.streams import Streams
from atentdsl.runtime.tree import pack, unpack

CPU = torch.device("cpu")
FIRST, LARGEST = 0.05, 0.3
SEARCH = [
    "data.batch=4",
    "sampler.attack.moves=3",
    "sampler.attack.bisections=12",
    f"sampler.attack.initial_radius={FIRST}",
    f"sampler.attack.max_radius={LARGEST}",
    "sampler.attack.random_start=false",
]


class Pixel(nn.Module):
    """Two classes: what lies above 1/2 is of label 1."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.0, 4.0]))

    def forward(self, x):
        return (x.flatten(1)[:, :1] - 0.5) * self.w


def images(n=14):
    """Of one pixel each, all different."""
    x = torch.randperm(256, generator=torch.Generator().manual_seed(0))[:n].to(torch.uint8).view(n, 1, 1, 1)
    return Images(x, (x.flatten() > 127).long(), 2)


def running(data, *more, graph=False, model=None):
    made = as_module(generate(atentdsl.load("mma", [*SEARCH, *more])).text, "made")

    def placed(model):
        optimizer = made.make_optimizer(model.parameters())
        fused.fuse(optimizer, rate_on_device=True)
        return Placed(made.train_step, model, optimizer, Policy(graph=graph))

    program = SimpleNamespace(**{**vars(made), "placed": placed})
    return Running(program, model or Pixel(), data, seed=3)


def advance(run, steps):
    for _ in range(steps):
        if run.step == run.epoch * run.per_epoch:
            run.next_epoch()
        run.advance()


STILL = "optimizer.lr=0.0"


def test_after_each_epoch_the_memory_holds_each_example_s_own_margin():
    """In an order of its own each epoch, which leaves two of the 14 images out."""
    data = images()
    run = running(data, STILL)
    margins = (data.x.flatten() / 255.0 - 0.5).abs().clamp(FIRST, LARGEST)
    seen = set()
    for epoch in (1, 2):
        advance(run, run.per_epoch)
        stream = Batches(data, 4, seed=3, taken=(epoch - 1) * run.per_epoch)
        seen |= {int(i) for _ in range(run.per_epoch) for i in next(stream).examples}
        visited = torch.tensor([i in seen for i in range(14)])
        memory = run.state["attack.radius"]
        assert torch.allclose(memory, torch.where(visited, margins, FIRST), atol=2e-4)
        assert epoch == 2 or int((~visited).sum()) == 2


@given(st.integers(0, 99), st.integers(1, 3), st.sampled_from([(), ("crop4",), ("flip", "crop4")]), st.integers(0, 12))
@settings(max_examples=25)
def test_a_batch_knows_its_examples_repeated_augmented_and_gone_on_with(seed, repeat, augment, taken):
    """Images of one value each, which cropping leaves in the middle."""
    data = Images(torch.arange(1, 12, dtype=torch.uint8).view(11, 1, 1, 1).expand(11, 1, 9, 9), torch.arange(11), 11)
    stream = Batches(data, 3, seed=seed, augment=augment, repeat=repeat)
    given_ = [next(stream) for _ in range(taken + 6)]
    for batch in given_:
        x, y = batch
        assert batch.of == 11
        assert torch.equal(batch.examples, y)
        assert torch.equal((255 * x[:, 0, 4, 4]).round().long(), batch.examples + 1)
    again = Batches(data, 3, seed=seed, augment=augment, repeat=repeat, taken=taken)
    assert all(torch.equal(next(again).examples, batch.examples) for batch in given_[taken:])
    assert all(torch.equal(given_[0].examples, batch.examples) for batch in given_[:repeat])


def test_a_repeated_batch_begins_with_the_radii_that_its_step_before_found(monkeypatch):
    run = running(images(), STILL, "data.repeat=2")
    found = []
    monkeypatch.setitem(
        run.placed._train_step.__globals__, "remembered", lambda *given: found.append(remembered(*given)) or found[-1]
    )
    advance(run, 2)
    assert found[0].tolist() == pytest.approx([FIRST] * 4)
    batch = next(Batches(images(), 4, seed=3))
    margins = (images().x.flatten()[batch.examples] / 255.0 - 0.5).abs().clamp(FIRST, LARGEST)
    assert torch.allclose(found[1], margins, atol=2e-4)


def differs(content, other):
    (document, tensors), (its_document, its_tensors) = pack(content), pack(other)
    return document != its_document or any(not torch.equal(t, its_tensors[name]) for name, t in tensors.items())


RATE = "optimizer.lr=0.05"


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_run_goes_on_to_the_same_bits_and_without_its_memory_it_would_not(at):
    """Three steps an epoch: from the fourth on an example's own radius decides where its search begins."""
    whole = running(images(), RATE)
    advance(whole, at)
    content = unpack(*pack(whole.content()))
    advance(whole, 8 - at)
    other = running(images(), RATE)
    other.restore(unpack(*pack(content)))
    advance(other, 8 - at)
    assert not differs(whole.content(), other.content())
    forgetful = running(images(), RATE)
    forgetful.restore({**unpack(*pack(content)), "state": {}})
    advance(forgetful, 8 - at)
    assert differs(whole.content(), forgetful.content())


def test_a_step_that_remembers_examples_is_not_captured_and_says_why(monkeypatch):
    captured = emulate(monkeypatch)
    run, written = running(images(), RATE, graph=True), running(images(), RATE)
    advance(run, 8)
    advance(written, 8)
    assert not captured
    assert not run.placed.policy.graph
    (news,) = run.placed.news()
    assert "not captured as a graph: it remembers something of each training example" in news
    assert not differs(run.content(), written.content())


class NoWaiting(TorchDispatchMode):
    """Refuses what makes a device wait for a number of its own."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func._overloadpacket not in {torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero}, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_step_never_waits_for_the_device(norm):
    made = as_module(generate(atentdsl.load("mma", [*SEARCH, f"sampler.attack.norm={norm}"])).text, "made")
    model = Pixel()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    stream, state = Batches(images(), 4, seed=3), {}
    made.train_step(model, optimizer, stream, Streams(0, 1, CPU), state)
    with NoWaiting():
        made.train_step(model, optimizer, stream, Streams(0, 2, CPU), state)
    with pytest.raises(AssertionError), NoWaiting():
        bool(state["attack.radius"].sum() > 0)


def test_what_is_remembered_is_by_example():
    state, rng = {}, Streams(0, 1, CPU)
    pair = torch.zeros(2, 1), torch.zeros(2)
    remembered(state, "r", Batch(pair, torch.tensor([4, 1]), 5), torch.full((2,), 0.5), rng)
    before = state["r"]
    remember(state, "r", Batch(pair, torch.tensor([4, 1]), 5), torch.tensor([2.0, 3.0]))
    assert state["r"].tolist() == [0.5, 3.0, 0.5, 0.5, 2.0]
    assert before.tolist() == [0.5] * 5, "a snapshot's memory stays as it was"
    assert remembered(state, "r", Batch(pair, torch.tensor([1, 2]), 5), torch.ones(2), rng).tolist() == [3.0, 0.5]
    assert rng.read == {"examples"}
