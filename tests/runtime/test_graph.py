"""Captured steps: replayed, they are the steps as written, bit for bit; what cannot be captured is made as written.

On the processor against an emulation of the device's graphs, and on a CUDA device where there is one.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from runtime.emulated_graphs import emulate
from torch import nn

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.runtime import fused
from atentdsl.runtime.data import Images
from atentdsl.runtime.graph import MOST_WRITTEN, WRITTEN_FIRST
from atentdsl.runtime.placed import Placed
from atentdsl.runtime.policy import Policy
from atentdsl.runtime.running import Running
from atentdsl.runtime.tree import pack, unpack

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
SMALL = ["data.batch=8"]
CHAIN = [*SMALL, "sampler.attack.moves=3"]
CLIPPED = "optimizer.clip={kind='linear', start=0.05, end=0.5}"
RECIPES = {
    "plain": ("sgd", SMALL),
    "draws": ("atent_linf", CHAIN),
    "two moments": ("atent_linf", [*CHAIN, "optimizer={kind='adamw', lr=0.01, epochs=3}"]),
    "carries": ("free_at", [*SMALL, "data.repeat=3"]),
    "several batches": ("entropy_sgd", SMALL),
    "perturbed weights": ("awp_pgd_at", CHAIN),
    "clipped and averaged": ("awp_pgd_at", [*CHAIN, CLIPPED, "optimizer.weight_averaging={kind='ema', decay=0.9}"]),
}


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=NO_CUDA)])
def device(request, monkeypatch):
    """The device, and the graphs that were captured."""
    if request.param == "emulated":
        return SimpleNamespace(type="cpu", captured=emulate(monkeypatch))
    captured = []
    own = torch.cuda.graph

    def noted(graph, **named):
        captured.append(graph)
        return own(graph, **named)

    monkeypatch.setattr(torch.cuda, "graph", noted)
    return SimpleNamespace(type="cuda", captured=captured)


def network(dropout=0.0):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(dropout), nn.Linear(12, 3)
    )


def images():
    generator = torch.Generator().manual_seed(0)
    return Images(torch.randint(256, (40, 1, 4, 4), generator=generator, dtype=torch.uint8), torch.arange(40) % 3, 3)


def module(name, overrides, step=None):
    made = as_module(generate(atentdsl.load(name, overrides)).text, "made")
    made.train_step = step(made.train_step) if step else made.train_step
    return made


def running(made, device, graph, dropout=0.0, settings=None):
    """A run of the module whose steps are captured, or the same run with its steps as they are written."""

    def placed(model):
        optimizer = made.make_optimizer(model.parameters())
        assert fused.fuse(optimizer, rate_on_device=True)
        return Placed(made.train_step, model, optimizer, Policy(fused=True, graph=graph))

    program = SimpleNamespace(**{**vars(made), "placed": placed, "settings": settings or made.settings})
    return Running(program, network(dropout).to(device.type), images().to(torch.device(device.type)), seed=3)


def made_steps(run, count):
    signals = []
    for _ in range(count):
        if run.step == run.epoch * run.per_epoch:
            run.next_epoch()
        signals.append(run.advance())
    return [float(signal) for signal in signals]  # read at the end: no replay writes over an earlier step's


def different(one, other):
    """The names of all in two snapshots' content that is not the same, bit for bit."""
    (document, tensors), (its_document, its_tensors) = pack(one), pack(other)
    found = [name for name, t in tensors.items() if not torch.equal(t, its_tensors[name])]
    return found if document == its_document else [*found, document, its_document]


@pytest.mark.parametrize("name", RECIPES)
def test_replayed_steps_are_the_written_ones_bit_for_bit(device, name):
    made = module(*RECIPES[name])
    captured, written = running(made, device, graph=True), running(made, device, graph=False)
    assert made_steps(captured, 12) == made_steps(written, 12)
    assert device.captured, captured.placed.news()
    assert captured.placed.policy.graph
    assert different(captured.content(), written.content()) == []


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("at", [1, 7])
def test_a_run_of_captured_steps_goes_on_to_the_same_bits(device, name, at):
    """In a process of its own, and in the same one, whose graph wrote to the optimizer's memory of before."""
    made = module(*RECIPES[name])
    whole = running(made, device, graph=True)
    made_steps(whole, at)
    content = unpack(*pack(whole.content()))
    made_steps(whole, 12 - at)
    expected = unpack(*pack(whole.content()))
    other = running(made, device, graph=True)
    for run in (other, whole):
        run.restore(unpack(*pack(content)))
        made_steps(run, 12 - at)
        assert different(run.content(), expected) == []


def test_most_steps_are_replayed(device, monkeypatch):
    made = module(*RECIPES["draws"])
    replays = []
    run = running(made, device, graph=True)
    made_steps(run, WRITTEN_FIRST)
    assert not device.captured
    made_steps(run, 1)
    (graph,) = device.captured
    own = type(graph).replay
    monkeypatch.setattr(type(graph), "replay", lambda graph: (replays.append(1), own(graph)))
    made_steps(run, 20)
    assert (len(replays), len(device.captured)) == (20, 1)


def test_dropout_is_drawn_anew_at_each_replay(device):
    """Each point is evaluated once here, so that no mask is drawn again."""
    made = module(*RECIPES["plain"])
    captured, written = (running(made, device, graph, dropout=0.5) for graph in (True, False))
    assert made_steps(captured, 10) == made_steps(written, 10)
    assert len(device.captured) == 1
    without = running(made, device, graph=True)
    assert made_steps(without, 10) != made_steps(written, 10)


def test_a_step_that_draws_a_mask_again_is_made_as_written(device):
    """The literal plan evaluates a point twice, for the weights and for the next move."""

    def twice(step):
        from atentdsl.runtime import input_gradient

        def again(model, optimizer, batches, rng, state):
            x, y = next(batches)
            for _ in range(2):
                input_gradient(model, x, y, nn.functional.cross_entropy, rng, mode="train")
            return step(model, optimizer, iter([(x, y)]), rng, state)

        return again

    for dropout, refused in ((0.5, True), (0.0, False)):
        made = module(*RECIPES["plain"], twice)
        captured, written = (running(made, device, graph, dropout) for graph in (True, False))
        assert made_steps(captured, 8) == made_steps(written, 8)
        assert captured.placed.policy.graph is not refused
        said = captured.placed.news()
        assert len(said) == refused
        assert not refused or "draws a dropout mask again" in said[0]
        assert captured.placed.news() == [], "said once"


def reads(what):
    def changed(step):
        def reading(model, optimizer, batches, rng, state):
            signal = step(model, optimizer, batches, rng, state)
            with torch.no_grad():
                next(model.parameters()).mul_(1 - 0.01 * getattr(rng, what))
            return signal

        return reading

    return changed


def test_a_step_that_reads_the_epoch_is_captured_anew_in_each(device):
    made = module(*RECIPES["plain"], reads("epoch"))
    captured, written = (running(made, device, graph) for graph in (True, False))
    assert made_steps(captured, 15) == made_steps(written, 15)
    assert different(captured.content(), written.content()) == []
    assert len(device.captured) == 3
    assert captured.placed.policy.graph


def test_a_step_that_reads_its_number_is_not_captured(device):
    made = module(*RECIPES["plain"], reads("step"))
    captured, written = (running(made, device, graph) for graph in (True, False))
    assert made_steps(captured, 8) == made_steps(written, 8)
    assert not device.captured
    assert "reads the number of the outer step" in captured.placed.news()[0]


def test_the_learning_rate_of_each_step_is_read_at_its_replay(device):
    made = module(*RECIPES["plain"])
    rates = {"settings": lambda epoch, step: {"lr": 0.1 / step}}
    captured, written = (running(made, device, graph, **rates) for graph in (True, False))
    assert made_steps(captured, 9) == made_steps(written, 9)
    assert len(device.captured) == 1
    constant = running(made, device, graph=True, settings=lambda epoch, step: {"lr": 0.1})
    assert made_steps(constant, 9) != made_steps(running(made, device, graph=False, **rates), 9)


def test_another_number_of_the_optimizer_is_captured_anew(device):
    """From no momentum to one: the step between makes the buffer."""
    made = module(*RECIPES["plain"])
    numbers = {"settings": lambda epoch, step: {"lr": 0.1, "momentum": 0.9 if step > 6 else 0.0}}
    captured, written = (running(made, device, graph, **numbers) for graph in (True, False))
    assert made_steps(captured, 12) == made_steps(written, 12)
    assert different(captured.content(), written.content()) == []
    assert len(device.captured) == 2


def test_numbers_that_never_stay_are_not_waited_for(device):
    made = module(*RECIPES["plain"])
    numbers = {"settings": lambda epoch, step: {"lr": 0.1, "weight_decay": 1e-4 / step}}
    captured, written = (running(made, device, graph, **numbers) for graph in (True, False))
    assert made_steps(captured, MOST_WRITTEN + 5) == made_steps(written, MOST_WRITTEN + 5)
    assert not device.captured
    assert f"changed in each of {MOST_WRITTEN} steps" in captured.placed.news()[0]


def test_a_batch_of_another_size_is_made_as_written(device):
    made = module(*RECIPES["carries"])
    runs = [running(made, device, graph) for graph in (True, False)]
    for run in runs:
        own = run.batches
        run.batches = ((x[:5], y[:5]) if i == 6 else (x, y) for i, (x, y) in enumerate(own))
        signals = [float(run.advance()) for _ in range(12)]
        run.batches = own
        run.signals = signals
    assert runs[0].signals == runs[1].signals
    assert len(device.captured) == 2


def test_a_step_that_cannot_be_captured_falls_back_with_one_message(device):
    """It asks the device for a number."""

    def asks(step):
        def asking(model, optimizer, batches, rng, state):
            signal = step(model, optimizer, batches, rng, state)
            return signal * (1 + 0 * signal.item())

        return asking

    made = module(*RECIPES["plain"], asks)
    captured, written = (running(made, device, graph, dropout=0.5) for graph in (True, False))
    assert made_steps(captured, 8) == made_steps(written, 8)
    assert different(captured.content(), written.content()) == []
    (said,) = captured.placed.news()
    assert said.startswith("the step is not captured as a graph: capturing it failed: ")
    assert not captured.placed.policy.graph


def test_capturing_leaves_the_modes_of_the_optimizer(device):
    made = module(*RECIPES["two moments"])
    run = running(made, device, graph=True)
    made_steps(run, 8)
    assert device.captured
    assert [group["capturable"] for group in run.optimizer.param_groups] == [False]


@pytest.mark.parametrize("name", ["draws", "two moments"])
def test_the_fused_optimizer_is_the_plain_one_to_rounding(name):
    """In float64, where a step's rounding is 1e-16 of a weight; the rate is one that float32 holds."""
    where = "cuda" if torch.cuda.is_available() else "cpu"
    made = module(*RECIPES[name])
    weights = []
    for wanted in (True, False):
        torch.manual_seed(1)  # no batch norm: a bias before one has rounding for a gradient, which Adam enlarges
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)).double().to(where)
        optimizer = made.make_optimizer(model.parameters())
        if wanted:
            assert fused.fuse(optimizer, rate_on_device=True)
        for number in range(5):
            fused.put(optimizer, {"lr": 0.125 / 2**number})
            x = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(number), dtype=torch.float64).to(where)
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        weights.append([p.detach() for p in model.parameters()])
    for mine, theirs in zip(*weights, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)
