"""SIGINT and SIGTERM: the first stops at the next step with a checkpoint, a second SIGINT at once."""

from __future__ import annotations

import signal

import pytest
from survival.killing import command, finished, outcome, resumed, same
from survival.signalling import signalled

from atentdsl.runtime import snapshot

WORDS = [
    "run", "sgd", "--set", "model.name=mlp", "--set", "optimizer.epochs=3", "--set", "evaluate.attacks=['pgd-2']",
    "--device", "cpu",
]  # fmt: skip
SLOW = ["--set", "data.batch=1000", "--set", "data.repeat=20"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return outcome(finished(command(*WORDS, "--out", "runs"), tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize(
    ("phase", "number"),
    [("in a step", signal.SIGINT), ("in validation", signal.SIGTERM), ("in evaluation", signal.SIGINT)],
)
def test_the_first_signal_stops_with_a_checkpoint_and_code_130(tmp_path, whole, phase, number):
    process, out, said, _ = signalled(tmp_path, phase, number, words=WORDS)
    assert process.returncode == 130, said
    assert out == ""
    (made,) = tmp_path.glob("runs/sgd/*")
    assert f"go on with `atentdsl run --resume {made.relative_to(tmp_path)}`" in said
    assert "Traceback" not in said
    kept = snapshot.step_of(snapshot.newest(made / "checkpoints"))
    assert f"interrupted after step {kept};" in said
    assert kept == {"in a step": 1, "in validation": 20, "in evaluation": 60}[phase] or phase == "in a step"
    assert resumed(made) == 0
    same(whole, outcome(made))


def test_a_second_interrupt_stops_at_once(tmp_path, whole):
    """The second signal comes while the process is in a single long step, which the first one waits for."""
    words = [*WORDS, "--set", "sampler=[{name='attack', moves=1000, kernel={kind='gradient', step_size=0.01}}]"]
    process, _, said, took = signalled(
        tmp_path, "in a step", signal.SIGINT, signal.SIGINT, words=[*words, *SLOW], pause=0.05
    )
    assert process.returncode == 130, said
    assert "a second signal stops at once" in said
    (made,) = tmp_path.glob("runs/sgd/*")
    assert snapshot.step_of(snapshot.newest(made / "checkpoints")) == 0, "the step was not finished"
    assert took < 5
    assert not list(made.rglob("*.partial"))
