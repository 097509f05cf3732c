"""An epoch against its steps."""

from __future__ import annotations

import json

import attrs
import pytest

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark import epoch, measured_epoch
from atentdsl.cli import run
from atentdsl.codegen import as_module

WANTED = {
    "epoch_seconds",
    "steps_seconds",
    "overhead_share",
    "steps",
    "device",
    "precision",
    "threads",
    "rounds",
    "tolerance",
}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ticking(clock):
    """A recipe whose every step takes a second of that clock."""
    return ticking_subject(clock, [])


def ticking_subject(clock, overrides):
    plain = subject("sgd", ["model.name=mlp", *overrides], "cpu")
    module = as_module(plain.compiled.text, "ticking")
    own = module.train_step

    def step(*arguments):
        clock.now += 1.0
        return own(*arguments)

    module.train_step = step
    return attrs.evolve(plain, module=module)


def test_the_keys(capsys):
    assert run(["bench", "sgd", "--epoch", "--steps", "3", "--rounds", "1", "--set", "model.name=mlp", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == WANTED == set(epoch.KEYS)
    assert found["steps"] == 3
    assert found["overhead_share"] == pytest.approx(1 - found["steps_seconds"] / found["epoch_seconds"])


def test_the_table(capsys):
    assert run(["bench", "sgd", "--epoch", "--steps", "2", "--rounds", "1", "--set", "model.name=mlp"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["epoch", "steps"]
    assert "of an epoch of 2 steps" in lines[3]


@pytest.mark.parametrize("steps", [1, 4, None])
@pytest.mark.parametrize("block", [1, 3, 16])
def test_steps_that_take_all_the_time_leave_nothing(clock, ticking, steps, block, monkeypatch):
    monkeypatch.setitem(epoch.BLOCK, "cpu", block)
    found = measured_epoch(ticking, steps, rounds=2, clock=clock)
    count = steps or 22  # 1,438 images in batches of 64
    assert found["steps"] == count
    assert found["steps_seconds"] == found["epoch_seconds"] == count
    assert found["overhead_share"] == 0


def test_a_repeated_batch_is_as_many_steps(clock):
    found = measured_epoch(ticking_subject(clock, ["data.repeat=2"]), None, rounds=1, clock=clock)
    assert found["steps_seconds"] == found["epoch_seconds"] == 44


@pytest.mark.parametrize(
    ("part", "count"), [("runtime.running.Batches.__next__", 4), ("runtime.loop._Fit.keep_best", 1)]
)
def test_what_comes_on_top_is_counted(clock, ticking, monkeypatch, part, count):
    """Half a second for each batch that the loop fetches, and for what it does at an epoch's end."""
    home, _, name = part.rpartition(".")
    import atentdsl.runtime.loop
    import atentdsl.runtime.running

    owner = {
        "runtime.running.Batches": atentdsl.runtime.running.Batches,
        "runtime.loop._Fit": atentdsl.runtime.loop._Fit,
    }[home]
    own = getattr(owner, name)

    def slow(*arguments):
        clock.now += 0.5
        return own(*arguments)

    monkeypatch.setattr(owner, name, slow)
    found = measured_epoch(ticking, 4, rounds=3, clock=clock)
    assert found["steps_seconds"] == 4
    assert found["epoch_seconds"] == 4 + 0.5 * count
    assert found["overhead_share"] == pytest.approx(0.5 * count / (4 + 0.5 * count))


@pytest.mark.parametrize(("took", "share"), [(0.6, 0.6 / 60), (30.0, 0.01 / 0.99), (0.06, 0.001)])
def test_a_snapshot_is_borne_at_the_rate_it_is_written(clock, ticking, monkeypatch, took, share):
    """Every minute, or as seldom as makes it 1 % of the time."""
    from atentdsl.runtime import snapshot

    own = snapshot.write

    def slow(*arguments, **named):
        clock.now += took
        return own(*arguments, **named)

    monkeypatch.setattr(snapshot, "write", slow)
    found = measured_epoch(ticking, 4, rounds=1, clock=clock)
    assert found["steps_seconds"] == 4
    assert found["epoch_seconds"] == pytest.approx(4 * (1 + share))
