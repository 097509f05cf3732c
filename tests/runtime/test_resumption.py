"""A run that is stopped anywhere and gone on with is the run that was not: weights, streams, data, lines."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from atentdsl.runtime import WeightAverage, as_written, checkpoint, snapshot
from atentdsl.runtime.batches import Batches
from atentdsl.runtime.data import Images
from atentdsl.runtime.directory import DIVERGED, RunDirectory
from atentdsl.runtime.errors import Diverged, Interrupted
from atentdsl.runtime.loop import ROLLBACKS, fit
from atentdsl.runtime.progress import make_progress
from atentdsl.runtime.snapshot import Saving


class Counting(nn.Module):
    """A linear network with dropout, batch norm and a count that `state_dict` leaves out."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.calls += 1
        return self.layers(x) * (1 + 0.001 * self.calls)


def images(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Images(torch.randint(256, (n, 1, 4, 4), generator=generator, dtype=torch.uint8), torch.arange(n) % 2, 2)


def network():
    torch.manual_seed(1)
    return Counting()


def program(
    bad=lambda epoch, step, lr: False,
    on_divergence="stop",
    optimizer=torch.optim.SGD,
    batches=1,
    repeat=1,
    average=None,
):
    """A step that draws, remembers, and takes momentum: whatever is lost on the way shows in the weights."""

    def train_step(model, optimizer, stream, rng, state):
        optimizer.zero_grad()
        model.train()
        total = 0.0
        for _ in range(batches):
            x, y = next(stream)
            kept = state.get("kept", {"sum": torch.zeros(1, 4, 4), "points": (torch.zeros(1),)})
            noise = rng.normal("noise", x) + kept["sum"]
            state["kept"] = {"sum": 0.1 * noise.mean(dim=0), "points": (noise.flatten()[:1],)}
            total = total + nn.functional.cross_entropy(model(x + 0.1 * noise), y)
        total.backward()
        optimizer.step()
        if bad(rng.epoch, rng.step, optimizer.param_groups[0]["lr"]):
            return total.detach() * float("inf")
        return total.detach()

    made = SimpleNamespace(
        BATCH=8, REPEAT=repeat, AUGMENT=("flip",), PRECISION="float32", EPOCHS=3, SELECT="clean",
        ON_DIVERGENCE=on_divergence, EVALUATION_BATCH=512, train_step=train_step,
        settings=lambda epoch, step: {"lr": 0.1 / epoch},
        make_optimizer=lambda parameters: optimizer(parameters, lr=0.1, **MOMENTUM.get(optimizer, {})),
    )  # fmt: skip
    made.placed = lambda model: as_written(made.train_step, made.make_optimizer, model)
    if average is not None:
        every, statistics = average
        named = {"from_epoch": 2, "every": every, "statistics": statistics}
        made.weight_average = lambda model: WeightAverage(model, lambda t: 1 / t, **named)
    return made


MOMENTUM = {torch.optim.SGD: {"momentum": 0.9}, torch.optim.AdamW: {}}


def begun(made, directory, stops=None, content=None, saving=None):
    """Runs until it has been asked more than `stops` times, once a step and once a measurement, or to the end."""
    seen = []

    def asked():
        seen.append(None)
        return stops is not None and len(seen) > stops

    with make_progress(10, io.StringIO()) as progress:
        return fit(
            made, network(), images(44), images(12, seed=1), watch=(), seed=3, directory=directory, progress=progress,
            saving=saving or Saving(steps=10**9), content=content, asked=asked,
        )  # fmt: skip


def outcome(directory):
    (last, *_) = snapshot.listed(directory.checkpoints)
    content = snapshot.read(last)
    lines = [json.loads(line) for line in (directory.path / "metrics.jsonl").read_text().splitlines()]
    for line in [*lines, *content["lines"]]:
        line.pop("seconds")
        line.pop("images_per_second")
    content.pop("seconds")
    tensors, texts = checkpoint.read(directory.checkpoint("best.safetensors"), sealed=True)
    return {"content": flat(content), "lines": lines, "best": flat(tensors), "texts": texts}


def flat(value):
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.contiguous().view(-1).numpy().tobytes()
    if isinstance(value, dict):
        return {name: flat(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [flat(item) for item in value]
    return value


def resumed_at(stops, options, folder):
    """A run that is stopped after so many steps of each process, and its directory."""
    directory = RunDirectory.create(folder, "run")
    content = None
    for stop in stops:
        with pytest.raises(Interrupted) as caught:
            begun(program(**options), directory, stop, content)
        content = snapshot.read(snapshot.newest(directory.checkpoints))
        assert content["step"] == caught.value.step
    begun(program(**options), directory, content=content)
    return directory


WAYS = {
    "sgd": {},
    "adamw": {"optimizer": torch.optim.AdamW},
    "several batches a step": {"batches": 3},
    "repeated batches": {"repeat": 3},
    "goes back": {"bad": lambda epoch, step, lr: epoch == 2 and step == 8 and lr > 0.02, "on_divergence": "rollback"},
    "averages epochs": {"average": ("epoch", "estimated")},
    "averages what it goes back on": {
        "average": ("step", "averaged"),
        "bad": lambda epoch, step, lr: epoch == 3 and step == 14 and lr > 0.02,
        "on_divergence": "rollback",
    },
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = {}
    for name, options in WAYS.items():
        directory = RunDirectory.create(tmp_path_factory.mktemp("whole"), "run")
        begun(program(**options), directory)
        found[name] = outcome(directory)
    return found


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=12)
@given(st.data())
def test_a_run_stopped_anywhere_ends_as_one_that_was_not(tmp_path_factory, whole, way, data):
    stops = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    if sum(stops) >= 14:
        stops = stops[:1]
    assert outcome(resumed_at(stops, WAYS[way], tmp_path_factory.mktemp("stopped"))) == whole[way]


@pytest.mark.parametrize(
    "lost",
    ["optimizer", "state", "taken", "loss_sum", "best", "model", "lines", "step", "rollbacks", "epoch", "average"],
)
def test_each_part_of_a_snapshot_is_needed(tmp_path, whole, lost):
    """A mutant for each: with that part as it was at the beginning, the run ends otherwise, or not at all."""
    way = {"rollbacks": "goes back", "average": "averages what it goes back on"}.get(lost, "several batches a step")
    directory = RunDirectory.create(tmp_path, "run")
    with pytest.raises(Interrupted):
        begun(program(**WAYS[way]), directory, 26 if lost == "rollbacks" else 9)  # in the middle of epoch 3, or 2
    content = snapshot.read(snapshot.newest(directory.checkpoints))
    other = RunDirectory.create(tmp_path, "other")
    with pytest.raises(Interrupted):
        begun(program(**WAYS[way]), other, 1 if lost == "model" else 0.5)
    first = snapshot.read(snapshot.newest(other.checkpoints))
    assert flat(content[lost]) != flat(first[lost])
    begun(program(**WAYS[way]), directory, content={**content, lost: first[lost]})
    assert outcome(directory) != whole[way]


@given(taken=st.integers(0, 60), repeat=st.integers(1, 4), size=st.integers(1, 20))
def test_a_stream_of_batches_goes_on_from_the_number_taken(taken, repeat, size):
    given_images = images(17)
    options = {"seed": 2, "augment": ("flip",), "repeat": repeat}
    through = Batches(given_images, size, **options)
    for _ in range(taken):
        next(through)
    later = Batches(given_images, size, taken=taken, **options)
    for _ in range(5):
        (x, y), (other_x, other_y) = next(through), next(later)
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)
    assert through.taken == later.taken == taken + 5


def test_divergence_keeps_the_batch_that_caused_it_and_the_state_before_it(tmp_path):
    """The fault is in step 8 of 15; the loss is looked at when the epoch ends, with step 10."""
    directory = RunDirectory.create(tmp_path, "run")
    with pytest.raises(Diverged) as caught:
        begun(program(bad=lambda epoch, step, lr: step == 8), directory)
    error = caught.value
    assert (error.epoch, error.step) == (2, 8)
    assert snapshot.step_of(error.checkpoint) == 7
    before = snapshot.read(error.checkpoint)
    assert [line["epoch"] for line in before["lines"]] == [1]
    assert before["best"]["epoch"] == 1
    tensors, texts = checkpoint.read(error.batch, sealed=True)
    stream = Batches(images(44), 8, seed=3, augment=("flip",))
    eighth = [next(stream) for _ in range(8)][-1]
    assert torch.equal(tensors["x0"], eighth[0])
    assert torch.equal(tensors["y0"], eighth[1])
    assert texts == {"epoch": "2", "step": "8", "not_finite": "the signal"}
    assert str(error.batch) in str(error)
    assert str(error.checkpoint) in str(error)
    with pytest.raises(Diverged) as again:  # from the checkpoint before it, it happens again in one step
        begun(program(bad=lambda epoch, step, lr: step == 8), directory, content=before)
    assert again.value.step == 8


def test_a_weight_that_is_not_finite_is_named(tmp_path):
    directory = RunDirectory.create(tmp_path, "run")
    made = program()
    step = made.train_step

    def spoilt(model, optimizer, stream, rng, state):
        signal = step(model, optimizer, stream, rng, state)
        if rng.step == 9:
            model.layers[2].running_var[3] = float("inf")
        return signal

    made.train_step = spoilt
    with pytest.raises(Diverged) as caught:
        begun(made, directory)
    assert caught.value.step == 9
    _, texts = checkpoint.read(directory.path / DIVERGED)
    assert texts["not_finite"] == "the network's layers.2.running_var"


def test_rollback_goes_back_to_the_epochs_begin_and_halves_the_rate(tmp_path):
    """The fault ends when the rate of epoch 2, 0.05, has been halved twice."""
    directory = RunDirectory.create(tmp_path, "run")
    begun(program(bad=lambda epoch, step, lr: step == 7 and lr > 0.015, on_divergence="rollback"), directory)
    lines = [json.loads(line) for line in (directory.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["learning_rate"] for line in lines] == pytest.approx([0.1, 0.05 / 4, 0.1 / 3 / 4])
    assert [line.get("rollbacks", 0) for line in lines] == [0, 2, 2]
    assert [line["step"] for line in lines] == [5, 10, 15]


def test_rollback_is_given_up_after_three_times(tmp_path):
    rates = []

    def bad(epoch, step, lr):
        if step == 7:
            rates.append(lr)
        return step == 7

    with pytest.raises(Diverged) as caught:
        begun(program(bad=bad, on_divergence="rollback"), RunDirectory.create(tmp_path, "run"))
    assert caught.value.step == 7
    assert rates[: ROLLBACKS + 1] == pytest.approx([0.05, 0.025, 0.0125, 0.00625])
    assert ROLLBACKS == 3


def test_snapshots_follow_each_other_and_the_one_before_stays(tmp_path):
    directory = RunDirectory.create(tmp_path, "run")
    begun(program(), directory, saving=Saving(steps=4))
    assert [snapshot.step_of(p) for p in snapshot.listed(directory.checkpoints)] == [15, 12]


def test_by_the_clock_writing_takes_at_most_its_share(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(snapshot.time, "monotonic", lambda: now[0])
    saving = Saving(minutes=0.5)
    written = []
    for step in range(100_000):
        now[0] += 0.1
        if saving.due(step):
            took = 2.0 if len(written) == 3 else 0.1
            now[0] += took
            written.append((now[0], took))
            saving.wrote(took)
    assert written[1][0] - written[0][0] == pytest.approx(30.1, abs=0.2)
    assert written[4][0] - written[3][0] == pytest.approx(198.1, abs=0.2), "a slow write makes the next one later"
    assert sum(took for _, took in written) <= Saving.SHARE * now[0]
