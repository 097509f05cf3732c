"""Training that ends when its score has not been bettered for some epochs, on scores that are given."""

from __future__ import annotations

import importlib
import io
import itertools
import json
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import atentdsl
from atentdsl.api.evaluating import awaits_evaluation
from atentdsl.codegen import generate
from atentdsl.runtime import WeightAverage, as_written, snapshot
from atentdsl.runtime.data import Images
from atentdsl.runtime.directory import RunDirectory
from atentdsl.runtime.errors import Interrupted
from atentdsl.runtime.progress import make_progress
from atentdsl.runtime.snapshot import Saving
from atentdsl.source import RecipeError
from atentdsl.testing import edited

LOOP = importlib.import_module("atentdsl.runtime.loop")
PER_EPOCH, HELD = 2, 10


def images(n):
    return Images(torch.zeros(n, 1, 2, 2, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64), 2)


def network():
    """Class 0 for every image; the weight counts the steps."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([1.0, 0.0]))
    return model


def steps_of(model):
    return round(float(model[1].weight.detach()[0, 0]))


def program(patience, epochs=8, average=None):
    def train_step(model, optimizer, stream, rng, state):
        next(stream)
        with torch.no_grad():
            model[1].weight += 1.0
        return torch.zeros(())

    made = SimpleNamespace(
        BATCH=4, REPEAT=1, AUGMENT=(), PRECISION="float32", EPOCHS=epochs, SELECT="robust", ON_DIVERGENCE="stop",
        EVALUATION_BATCH=512, train_step=train_step, settings=lambda epoch, step: {"lr": 0.1},
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )  # fmt: skip
    made.placed = lambda model: as_written(made.train_step, made.make_optimizer, model)
    if patience is not None:
        made.PATIENCE = patience
    if average is not None:
        made.weight_average = average
    return made


def trained(made, scores, folder, *, fit=LOOP.fit, stops=None, content=None, directory=None, by=None, **options):
    """A run whose robust accuracy, in tenths, is the scores' by the epochs that the network has trained for."""
    asks = itertools.count(1)

    def watch(model, x, y, seed):
        tenths = scores[steps_of(model) // PER_EPOCH - 1] if by is None else by(model)
        return torch.arange(len(x)) < tenths

    directory, stream = directory or RunDirectory.create(folder, "run"), io.StringIO()
    with make_progress(10, stream) as progress:
        kept = fit(
            made, network(), images(8), images(HELD), watch=[watch], seed=0, directory=directory, progress=progress,
            saving=Saving(steps=10**9), asked=lambda: stops is not None and next(asks) > stops, content=content,
            **options,
        )  # fmt: skip
    lines = [json.loads(line) for line in (directory.path / "metrics.jsonl").read_text().splitlines()]
    return SimpleNamespace(kept=kept, epochs=[line["epoch"] for line in lines], said=stream.getvalue())


def by_hand(scores, patience):
    """The epochs made, and the best: the first of the highest so far."""
    best = 0
    for epoch, score in enumerate(scores):
        best = epoch if score > scores[best] else best
        if patience is not None and epoch - best >= patience:
            break
    return epoch + 1, best + 1


@given(st.lists(st.integers(0, HELD), min_size=1, max_size=8), st.none() | st.integers(1, 4))
@settings(max_examples=25)
def test_it_ends_when_so_many_epochs_have_not_bettered_the_score(tmp_path_factory, scores, patience):
    found = trained(program(patience, epochs=len(scores)), scores, tmp_path_factory.mktemp("run"))
    made, best = by_hand(scores, patience)
    assert (found.epochs, found.kept.epochs, found.kept.epoch) == (list(range(1, made + 1)), made, best)
    assert found.kept.step == made * PER_EPOCH
    assert found.kept.ended == ("patience" if made < len(scores) else "epochs")
    score = f"robust accuracy on held-out images was last bettered in epoch {best}"
    says = f"training ends after epoch {made} of {len(scores)}: {score}\n"
    assert found.said.endswith(says) == ("training ends" in found.said) == (made < len(scores))


SCORES = [3, 5, 5, 4, 6, 6, 6, 2]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("waited >= waits", "waited > waits"),
        ("running.best.epoch if running.best is not None else 0", "0"),
        ('"patience" if waits is not None and', '"patience" if waits is None and'),
        ("score > running.best.score", "score >= running.best.score"),
    ],
)
def test_an_edited_loop_is_caught(tmp_path, old, new):
    assert by_hand(SCORES, 2) == (4, 2)
    found = [trained(program(2), SCORES, tmp_path, fit=fit) for fit in (LOOP.fit, edited(LOOP, old, new).fit)]
    assert [(one.epochs[-1], one.kept.epoch) == (4, 2) for one in found] == [True, False]


@pytest.mark.parametrize("stops", [3, 9, 12, 14, 15])
def test_a_run_stopped_anywhere_ends_where_one_that_was_not_does(tmp_path, stops):
    """Asked once a step and twice a measurement, of clean and robust accuracy, of two parts: six times an epoch."""
    directory = RunDirectory.create(tmp_path, "run")
    with pytest.raises(Interrupted):
        trained(program(2), SCORES, tmp_path, directory=directory, stops=stops)
    content = snapshot.read(snapshot.newest(directory.checkpoints))
    assert 0 < content["step"] < 4 * PER_EPOCH
    found = trained(program(2), SCORES, tmp_path, directory=directory, content=content)
    assert (found.epochs, found.kept.epoch, found.kept.ended) == ([1, 2, 3, 4], 2, "patience")
    content = snapshot.read(snapshot.newest(directory.checkpoints))
    again = trained(program(2), SCORES, tmp_path, directory=directory, content=content)
    assert (again.epochs, again.kept.ended, again.kept.step) == ([1, 2, 3, 4], "patience", 8)


def test_what_ends_first_is_said(tmp_path):
    assert trained(program(2), SCORES, tmp_path, max_steps=8).kept.ended == "steps"
    assert trained(program(2, epochs=4), SCORES, tmp_path).kept.ended == "epochs"


def test_the_score_is_the_averaged_networks(tmp_path):
    """Of the mean of the weights after each epoch from the second on: 2, then 4, 5, 6, 7; the scores read it."""

    def average(model):
        return WeightAverage(model, lambda t: 1 / t, from_epoch=2, every="epoch", statistics="estimated")

    scores = {2: 3, 4: 4, 5: 6, 6: 6, 7: 1}
    found = trained(program(2, average=average), [], tmp_path, by=lambda model: scores[steps_of(model)])
    assert (found.epochs, found.kept.epoch, found.kept.averaged) == ([1, 2, 3, 4, 5], 3, True)


# A recipe's.


def test_schedules_over_epochs_keep_their_length():
    plain, patient = (
        generate(atentdsl.load("pgd_at_linf", more)).text.split("\n") for more in ([], ["evaluate.patience=3"])
    )
    added = [line for line in patient if line not in plain]
    assert [line.split("  #")[0] for line in added if "sha256" not in line] == ["PATIENCE = 3"]
    assert any(line.startswith("LR_LENGTH = 30") for line in patient)


def test_the_last_checkpoint_has_no_score_to_wait_for():
    with pytest.raises(RecipeError) as caught:
        atentdsl.load("sgd", ["evaluate.select='last'", "evaluate.patience=3"])
    (mistake,) = caught.value.diagnostics
    assert mistake.help == 'write `select = "robust"` or `select = "clean"`, or drop `patience`'


def test_a_runs_files_say_how_many_epochs_were_made_and_what_was_kept(tmp_path):
    """At a learning rate that leaves the weights where they are, the second epoch betters nothing."""
    small = ["model.name='mlp'", "optimizer.lr=1e-12", "evaluate.attacks=[]", "evaluate.select='clean'"]
    averaged = ["optimizer.weight_averaging={ kind = 'ema', decay = 0.5 }", "evaluate.patience=1"]
    run = atentdsl.train("sgd", overrides=[*small, *averaged], out=tmp_path, quiet=True)
    made = json.loads((run.path / "manifest.json").read_text())
    assert made["training"] == {"epochs": 2, "of": 30, "steps": 40, "ended": "patience"}
    assert (made["kept"]["epoch"], made["kept"]["weights"]) == (1, "averaged")
    assert run.evaluation["trained"]["weights"] == "averaged"
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 2
    (run.path / "evaluation.json").unlink()
    assert awaits_evaluation(run.path)
