"""The loop, driven by a program small enough to follow by hand."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest
import torch

from atentdsl.runtime import as_written, checkpoint
from atentdsl.runtime.data import Images, hold_out
from atentdsl.runtime.directory import RunDirectory
from atentdsl.runtime.errors import Diverged
from atentdsl.runtime.loop import fit
from atentdsl.runtime.progress import make_progress


def program(step=None, epochs=3, batch=8, select="clean"):
    """A generated module's face: the step is given, and notes what it was called with."""
    met = []

    def train_step(model, optimizer, batches, rng, state):
        x, y = next(batches)
        met.append(
            SimpleNamespace(x=x, y=y, lr=optimizer.param_groups[0]["lr"], draw=rng.normal("a", x[:1]), state=state)
        )
        return step(model, optimizer, x, y) if step else x.new_zeros(())

    made = SimpleNamespace(
        BATCH=batch, REPEAT=1, AUGMENT=(), ON_DIVERGENCE="stop", EVALUATION_BATCH=512,
        PRECISION="float32", EPOCHS=epochs, SELECT=select,
        met=met, train_step=train_step,
        settings=lambda epoch, step: {"lr": 0.1 * epoch + 0.001 * step},
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )  # fmt: skip
    made.placed = lambda model: as_written(made.train_step, made.make_optimizer, model)
    return made


def images(n=44):
    generator = torch.Generator().manual_seed(0)
    return Images(torch.randint(256, (n, 1, 4, 4), generator=generator, dtype=torch.uint8), torch.arange(n) % 2, 2)


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))


def run(made, tmp_path, model=None, watch=(), **options):
    training, validation = hold_out(images(), 0.1)
    directory = RunDirectory.create(tmp_path, "run")
    model = model or network()
    with make_progress(10, io.StringIO()) as progress:
        kept = fit(
            made, model, training, validation, watch=watch, seed=3, directory=directory, progress=progress, **options
        )
    lines = [json.loads(line) for line in (directory.path / "metrics.jsonl").read_text().splitlines()]
    return kept, lines, directory


def test_every_step_gets_its_rate_its_streams_and_the_same_state(tmp_path):
    made = program()
    _, lines, _ = run(made, tmp_path)
    assert [line["step"] for line in lines] == [5, 10, 15]
    assert [m.lr for m in made.met] == pytest.approx([0.1 * ((i // 5) + 1) + 0.001 * (i + 1) for i in range(15)])
    assert len({m.draw.sum().item() for m in made.met}) == 15
    assert all(m.state is made.met[0].state for m in made.met)


def test_an_epoch_shows_every_image_at_most_once_and_epochs_differ(tmp_path):
    made = program()
    run(made, tmp_path)
    epochs = [torch.cat([m.x for m in made.met[i : i + 5]]).flatten(1) for i in (0, 5, 10)]
    for epoch in epochs:
        assert len(torch.unique(epoch, dim=0)) == len(epoch) == 40
    assert not torch.equal(epochs[0], epochs[1])


def test_it_stops_after_max_steps_and_still_keeps_a_checkpoint(tmp_path):
    made = program()
    kept, lines, _ = run(made, tmp_path, max_steps=7)
    assert len(made.met) == 7
    assert [line["step"] for line in lines] == [5, 7]
    assert kept.path.is_file()


@pytest.mark.parametrize(("select", "epoch", "score"), [("robust", 2, 0.9), ("clean", 1, None), ("last", 4, 4.0)])
def test_it_keeps_the_checkpoint_that_select_names(tmp_path, select, epoch, score):
    """The robust accuracies of four epochs are 0.25, 0.9, 0.9 and 0.5 of the images that are right; of equals the
    earlier stays. The weights grow by one each epoch, so the checkpoint tells when it was written."""
    shares = iter([1.0, 0.25, 1.0, 0.9, 1.0, 0.9, 1.0, 0.5])  # training, validation, by turns
    sized = iter(range(10**6))

    def watch(model, x, y, seed):
        next(sized)
        held = torch.zeros(len(x), dtype=torch.bool)
        held[: round(next(shares) * len(x))] = True
        return held

    def step(model, optimizer, x, y):
        with torch.no_grad():
            model[1].weight += 0.2
        return x.new_zeros(())

    model = network()
    with torch.no_grad():  # class 0 wins everywhere, so the clean accuracy never changes
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([1.0, 0.0]))
    training = Images(images(60).x, torch.zeros(60, dtype=torch.long), 2)
    validation = Images(training.x[:20], training.y[:20], 2)
    directory = RunDirectory.create(tmp_path, "run")
    with make_progress(10, io.StringIO()) as progress:
        kept = fit(
            program(step, epochs=4, batch=20, select=select), model, training, validation,
            watch=[watch], seed=0, directory=directory, progress=progress,
        )  # fmt: skip
    assert kept.epoch == epoch
    assert kept.score == pytest.approx(1.0 if score is None else score)
    again = network()
    assert checkpoint.load(again, kept.path)["epoch"] == str(epoch)
    torch.testing.assert_close(again[1].weight, torch.full((2, 16), 0.2 * 3 * epoch))


def test_a_signal_that_is_not_finite_is_divergence(tmp_path):
    steps = iter(range(100))
    made = program(lambda model, optimizer, x, y: x.new_tensor(float("nan") if next(steps) == 7 else 1.0))
    with pytest.raises(Diverged) as caught:
        run(made, tmp_path)
    assert (caught.value.epoch, caught.value.step) == (2, 10)
    assert caught.value.checkpoint.is_file()


def test_a_weight_that_is_not_finite_is_divergence_though_the_signal_is(tmp_path):
    def step(model, optimizer, x, y):
        model[1].bias.data[0] = float("inf")
        return x.new_zeros(())

    with pytest.raises(Diverged) as caught:
        run(program(step), tmp_path)
    assert caught.value.checkpoint.name == "step-00000000.safetensors"
    assert (caught.value.epoch, caught.value.step) == (1, 1)


def test_dropout_depends_on_seed_and_step_alone_and_the_global_state_is_kept(tmp_path):
    seen = []
    made = program(lambda model, optimizer, x, y: seen.append(torch.rand(2)) or x.new_zeros(()))
    model = network()
    before = torch.get_rng_state()
    run(made, tmp_path, model=model)
    assert torch.equal(torch.get_rng_state(), before)
    first = list(seen)
    seen.clear()
    torch.manual_seed(2)
    run(made, tmp_path, model=model)
    assert all(torch.equal(a, b) for a, b in zip(first, seen, strict=True))
    assert len({tuple(t.tolist()) for t in first}) == 15


def test_frozen_parameters_are_not_handed_to_the_optimizer(tmp_path):
    model = network()
    model[1].bias.requires_grad_(False)
    handed = []
    made = program()
    made.make_optimizer = lambda parameters: handed.extend(parameters) or torch.optim.SGD(handed, lr=0.1)
    run(made, tmp_path, model=model)
    assert [id(p) for p in handed] == [id(model[1].weight)]
