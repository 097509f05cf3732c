"""Averages of weights against numpy and torch's own, and what a run measures and keeps of them."""

from __future__ import annotations

import io
import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import swa_utils

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.primitives.weight_averages.ema import ema_share
from atentdsl.primitives.weight_averages.swa import swa_share
from atentdsl.runtime import WeightAverage, as_written, checkpoint
from atentdsl.runtime import weight_average as averages
from atentdsl.runtime.batches import batches
from atentdsl.runtime.data import Images
from atentdsl.runtime.directory import RunDirectory
from atentdsl.runtime.loop import fit
from atentdsl.runtime.progress import make_progress
from atentdsl.runtime.running import NotFiniteState, Running
from atentdsl.testing import edited

SEED, BATCH, EPOCHS, PER_EPOCH = 3, 8, 4, 5
DECAY = 0.75


def ema(model, from_epoch=2, decay=DECAY, kind=WeightAverage):
    share = partial(ema_share, decay=decay)
    return kind(model, share, from_epoch=from_epoch, every="step", statistics="averaged")


def swa(model, from_epoch=2, kind=WeightAverage):
    return kind(model, swa_share, from_epoch=from_epoch, every="epoch", statistics="estimated")


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))


def images(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Images(torch.randint(256, (n, 1, 4, 4), generator=generator, dtype=torch.uint8), torch.arange(n) % 2, 2)


# The average by itself, on weights that are written into the network.


def through(average, model, course, per_epoch):
    """Each of the course becomes the weights after one step; the average's after each, where there is one."""
    seen = []
    for step, w in enumerate(course, start=1):
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(w))
        average.after_step(1 + (step - 1) // per_epoch, last=step % per_epoch == 0)
        seen.append(average.tensors["weight"].numpy().copy() if average.count else None)
    return seen


courses = st.integers(0, 100).map(lambda seed: np.random.default_rng(seed).normal(size=(9, 2, 3)))


def linear():
    return nn.Linear(3, 2, bias=False).double()


@given(courses, st.integers(1, 4), st.integers(1, 3), st.sampled_from([0.0, 0.5, 0.999]))
@settings(max_examples=40)
def test_a_moving_average_is_its_recursion_by_hand(course, from_epoch, per_epoch, decay):
    model = linear()
    seen = through(ema(model, from_epoch, decay), model, course, per_epoch)
    first = (from_epoch - 1) * per_epoch
    assert seen[:first] == [None] * min(first, 9)
    by_hand = None
    for w, found in zip(course[first:], seen[first:], strict=True):
        by_hand = w if by_hand is None else decay * by_hand + (1 - decay) * w
        np.testing.assert_allclose(found, by_hand, rtol=0, atol=1e-14)


@given(courses, st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=40)
def test_the_mean_of_epochs_is_their_last_weights_mean(course, from_epoch, per_epoch):
    model = linear()
    seen = through(swa(model, from_epoch), model, course, per_epoch)
    for step, found in enumerate(seen, start=1):
        entered = course[from_epoch * per_epoch - 1 : step : per_epoch]
        if len(entered):
            np.testing.assert_allclose(found, entered.mean(axis=0), rtol=0, atol=1e-14)
        else:
            assert found is None


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_it_is_torchs_own_average_bit_for_bit(kind):
    model = network()
    own = ema(model, from_epoch=1) if kind == "ema" else swa(model, from_epoch=1)
    averaging = swa_utils.get_ema_multi_avg_fn(DECAY) if kind == "ema" else swa_utils.get_swa_multi_avg_fn()
    theirs = swa_utils.AveragedModel(model, multi_avg_fn=averaging, use_buffers=kind == "ema")
    for seed in range(7):
        torch.manual_seed(seed)
        model(torch.rand(4, 16))  # moves the running statistics
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        own.after_step(1, last=True)
        theirs.update_parameters(model)
    expected = dict(theirs.module.named_parameters()) | dict(theirs.module.named_buffers())
    assert own.tensors.keys() >= dict(model.named_parameters()).keys()
    assert ("2.running_var" in own.tensors) == (kind == "ema")
    assert all(torch.equal(t, expected[name]) for name, t in own.tensors.items())


def test_counts_and_what_is_never_finite_stay_the_networks_own():
    model = network()
    model.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    average = ema(model, from_epoch=1)
    for _ in range(3):
        model(torch.rand(4, 16))
        average.after_step(1, last=False)
    assert not {"mask", "2.num_batches_tracked"} & set(average.tensors)
    with average.in_place():
        assert model.get_buffer("mask").tolist() == [0.0, float("-inf")]
        assert model[2].num_batches_tracked == 3


# Running statistics.


def estimated(model, inputs, kind=WeightAverage):
    """An average of one epoch, put in place over these batches: the statistics inside, and the network afterwards."""
    average = swa(model, from_epoch=1, kind=kind)
    average.after_step(1, last=True)
    with torch.no_grad():
        model[1].weight.add_(1.0)  # training goes on
    with average.in_place(lambda: iter(inputs)):
        return model[2].running_mean.numpy().copy(), model[2].running_var.numpy().copy()


def statistics_by_hand(weight, bias, inputs):
    """The means over batches, all equal, of each one's mean and unbiased variance."""
    hidden = [x.flatten(1).double().numpy() @ weight.T + bias for x in inputs]
    return np.mean([h.mean(axis=0) for h in hidden], axis=0), np.mean([h.var(axis=0, ddof=1) for h in hidden], axis=0)


def test_they_are_estimated_at_the_average_and_given_back():
    model, inputs = network(), [torch.rand(n, 1, 4, 4) for n in (8, 8, 3)]
    weight, bias = (p.detach().double().numpy().copy() for p in (model[1].weight, model[1].bias))
    model(torch.rand(9, 16))
    model.eval()
    model[3].train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    mean, var = estimated(model, inputs)
    by_hand = statistics_by_hand(weight, bias, inputs)
    np.testing.assert_allclose(mean, by_hand[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(var, by_hand[1], rtol=0, atol=1e-6)
    before["1.weight"] += 1.0
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert (model.training, model[3].training, model[2].momentum) == (False, True, 0.1)


def test_broken_off_on_the_way_everything_is_given_back():
    model, average = network(), None
    average = swa(model, from_epoch=1)
    average.after_step(1, last=True)
    before = {name: t.clone() for name, t in model.state_dict().items()}

    def inputs():
        yield torch.rand(8, 1, 4, 4)
        raise InterruptedError

    with pytest.raises(InterruptedError), average.in_place(inputs):
        raise AssertionError("it is not put in place")
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert (model.training, model[2].momentum) == (True, 0.1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epoch < self._from_epoch or", ""),
        ("epoch < self._from_epoch or", "epoch <= self._from_epoch or"),
        ('self._every == "epoch" and not last', 'self._every == "epoch" and last'),
        ("self._share(self.count)", "self._share(self.count + 1)"),
        ("if self.count == 1:", "if True:"),
        ("            _copy(self.tensors, own)\n", ""),
        ("            _copy(before, own)\n", "            pass\n"),
        (
            "            if self._estimated:\n                _estimate",
            "            if False:\n                _estimate",
        ),
        ("with mode_kept(model):", "if True:"),
        ("            part.momentum = momentum", "            part.momentum = None"),
        ("tensor.detach().clone() for name", "tensor.detach() for name"),
    ],
)
def test_an_edited_average_is_caught(old, new):
    """By what the tests above look at: averages, statistics, and what is given back."""
    assert looks_right(averages.WeightAverage)
    assert not looks_right(edited(averages, old, new).WeightAverage)


def looks_right(kind):
    course = np.random.default_rng(0).normal(size=(9, 2, 3))
    for make in (ema, swa):
        model, other = linear(), linear()
        found, expected = through(make(model, kind=kind), model, course, 2), through(make(other), other, course, 2)
        for a, b in zip(found, expected, strict=True):
            if (a is None) != (b is None) or (a is not None and (a != b).any()):
                return False
    model, inputs = network(), [torch.rand(8, 1, 4, 4)]
    model(torch.rand(9, 16))
    model.eval()
    model[3].train()
    weight, bias = (p.detach().double().numpy().copy() for p in (model[1].weight, model[1].bias))
    running = model[2].running_mean.clone()
    mean, _ = estimated(model, inputs, kind=kind)
    if np.abs(mean - statistics_by_hand(weight, bias, inputs)[0]).max() > 1e-6:
        return False
    back = np.allclose(model[1].weight.detach().numpy(), weight + 1.0) and torch.equal(model[2].running_mean, running)
    return back and not model.training and model[3].training and model[2].momentum == 0.1


# A run.


def program(average, step=None, select="clean", epochs=EPOCHS):
    """A step that adds one to every weight, unless another is given; by it one can tell weights and averages apart."""

    def train_step(model, optimizer, stream, rng, state):
        x, _ = next(stream)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(1.0)
        return step(model, x, rng) if step else x.new_zeros(())

    made = SimpleNamespace(
        BATCH=BATCH, REPEAT=1, AUGMENT=("flip",), PRECISION="float32", EPOCHS=epochs, SELECT=select,
        ON_DIVERGENCE="stop", EVALUATION_BATCH=512, train_step=train_step, settings=lambda epoch, step: {"lr": 0.1},
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )  # fmt: skip
    made.placed = lambda model: as_written(made.train_step, made.make_optimizer, model)
    if average is not None:
        made.weight_average = average
    return made


def trained(made, folder, watch=(), model=None, **options):
    directory, stream = RunDirectory.create(folder, "run"), io.StringIO()
    model = model or network()
    with make_progress(10, stream) as progress:
        kept = fit(
            made, model, images(44), images(12, seed=1), watch=watch, seed=SEED, directory=directory,
            progress=progress, **options,
        )  # fmt: skip
    lines = [json.loads(line) for line in (directory.path / "metrics.jsonl").read_text().splitlines()]
    return SimpleNamespace(kept=kept, lines=lines, said=stream.getvalue(), model=model)


BIAS = "4.bias"
# After each of four epochs of five steps the weights are 5, 10, 15, 20 more than at first; from epoch 2 on averaged:
# by steps with 6, 7, ... 20, weighted by 3/4 and 1/4; and by epochs with 10, 12.5 and 15.
MOVING = [5.0]
mean = 6.0
for later in range(7, 21):
    mean = DECAY * mean + (1 - DECAY) * later
    MOVING += [mean] if later % PER_EPOCH == 0 else []
EXPECTED = {"none": [5.0, 10.0, 15.0, 20.0], "ema": MOVING, "swa": [5.0, 10.0, 12.5, 15.0]}
AVERAGES = {"none": None, "ema": ema, "swa": swa}


@pytest.mark.parametrize("kind", AVERAGES)
def test_what_is_measured_and_kept_is_the_average_and_training_goes_on_from_the_weights(tmp_path, kind):
    first, met = network().state_dict()[BIAS].clone(), []

    def watch(model, x, y, seed):
        met.append(float((model[4].bias.detach() - first).mean()))
        return torch.zeros(len(x), dtype=torch.bool)

    made = trained(program(AVERAGES[kind], select="last"), tmp_path, watch=[watch])
    assert met == pytest.approx(sorted(2 * EXPECTED[kind]), abs=1e-5), "of training and validation images, each epoch"
    assert float((made.model[4].bias.detach() - first).mean()) == pytest.approx(20.0, abs=1e-5)
    tensors, texts = checkpoint.read(made.kept.path, sealed=True)
    assert float((tensors[BIAS] - first).mean()) == pytest.approx(EXPECTED[kind][-1], abs=1e-5)
    assert (made.kept.averaged, texts.get("weights")) == ((True, "averaged") if kind != "none" else (False, None))
    weights = ["trained", "averaged", "averaged", "averaged"] if kind != "none" else [None] * 4
    assert [line.get("weights") for line in made.lines] == weights
    assert made.said.count("the average of the weights is measured and kept") == (kind != "none")


def test_statistics_are_estimated_from_the_epochs_own_batches(tmp_path):
    """In the last of four epochs, at the mean of 10, 15 and 20, from images in the order and as mirrored as then."""
    first = {name: t.double().numpy().copy() for name, t in network().state_dict().items()}
    met = []

    def watch(model, x, y, seed):
        met.append((model[2].running_mean.numpy().copy(), model[2].running_var.numpy().copy()))
        return torch.zeros(len(x), dtype=torch.bool)

    model = network()
    trained(program(swa), tmp_path, watch=[watch], model=model)
    epoch = batches(images(44), BATCH, seed=SEED, epoch=4, first_step=16, augment=("flip",))
    by_hand = statistics_by_hand(first["1.weight"] + 15.0, first["1.bias"] + 15.0, [x for x, _ in epoch])
    np.testing.assert_allclose(met[-1][0], by_hand[0], rtol=1e-5)
    np.testing.assert_allclose(met[-1][1], by_hand[1], rtol=1e-4)
    assert torch.equal(model[2].running_mean, torch.zeros(8)), "no step of this run has moved its own"


def test_an_epoch_that_is_broken_off_does_not_enter_the_mean_of_epochs(tmp_path):
    made = trained(program(partial(swa, from_epoch=1)), tmp_path, max_steps=8)
    assert [line["weights"] for line in made.lines] == ["averaged", "averaged"]
    with torch.no_grad():
        assert float((made.model[4].bias - network()[4].bias).mean()) == pytest.approx(8.0, abs=1e-5)
    made = trained(program(swa), tmp_path, max_steps=8)
    assert [line["weights"] for line in made.lines] == ["trained", "trained"]


def test_an_average_that_is_not_finite_is_named():
    made = Running(program(partial(ema, from_epoch=1)), network(), images(44), seed=SEED)
    made.advance()
    made.check_finite()
    made.average.tensors[BIAS][0] = float("nan")
    with pytest.raises(NotFiniteState) as found:
        made.check_finite()
    assert found.value.what == f"the network's averaged {BIAS}"


@pytest.mark.parametrize("spoil", ["missing", "shape"])
def test_another_networks_average_is_refused_before_anything_changes(spoil):
    made = Running(program(partial(ema, from_epoch=1)), network(), images(44), seed=SEED)
    made.advance()
    content = made.content()
    tensors = {**content["average"]["tensors"], BIAS: torch.zeros(3)}
    if spoil == "missing":
        del tensors[BIAS]
    made.advance()
    before = made.model[4].bias.clone()
    with pytest.raises(ValueError, match="the average of other weights"):
        made.restore({**content, "average": {"count": 1, "tensors": tensors}})
    assert torch.equal(made.model[4].bias, before)
    assert made.step == 2


@pytest.mark.parametrize(
    ("table", "share", "says"),
    [
        ("{ kind = 'ema', decay = 0.9, from_epoch = 3 }", [1.0, 0.1, 0.1], ['every="step"', 'statistics="averaged"']),
        ("{ kind = 'swa' }", [1.0, 0.5, 1 / 3], ['every="epoch"', 'statistics="estimated"']),
    ],
)
def test_a_compiled_module_makes_what_its_recipe_says(table, share, says):
    recipe = atentdsl.load("sgd", [f"optimizer.weight_averaging={table}"])
    text = generate(recipe).text
    made = as_module(text, "averaging").weight_average(network())
    assert [made._share(t) for t in (1, 2, 3)] == pytest.approx(share)
    assert made._from_epoch == recipe.optimizer.weight_averaging.from_epoch
    assert all(words in text for words in says)
    assert "Beside the steps, weight averaging" in text
    assert "weight_average" not in generate(atentdsl.load("sgd")).text
    assert "averaging" not in generate(recipe, "draw").text


def test_an_estimate_under_dropout_is_the_same_whatever_was_drawn_before():
    """As in a run that is resumed between its epoch's last step and the measurement."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    made = Running(program(partial(swa, from_epoch=1)), model, images(44), seed=SEED)
    for _ in range(PER_EPOCH):
        made.advance()
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        with made.measured(lambda: None):
            found.append(model[3].running_mean.clone())
    assert torch.equal(*found)
