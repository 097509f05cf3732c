"""Generated steps where they run fastest, held against the same steps as they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.runtime import Streams, allocator, as_written, checkpoint, machine, weights
from atentdsl.runtime.errors import Interrupted
from atentdsl.runtime.subnormals import are_flushed

CPU = torch.device("cpu")
FAST, SLOW = frozenset({"avx512_bf16"}), frozenset({"avx2"})


def network(dtype):
    torch.manual_seed(2)
    layers = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.Softplus(), nn.Conv2d(8, 8, 3), nn.Softplus(), nn.Flatten(), nn.Linear(288, 3)
    )
    return layers.to(dtype)


def update(name, dtype, precision=None):
    """What two steps do to the weights, as one vector in float64; as they are written, where no precision is given.

    Under recipes whose drifts are continuous: a sign turns a rounding into a step.
    """
    module = as_module(generate(atentdsl.load(name, ["data.batch=8"])).text, "made")
    model = network(dtype)
    before = weights(model)
    if precision is None:
        placed = as_written(module.train_step, module.make_optimizer, model)
    else:
        module.PRECISION = precision
        placed = module.placed(model)
    state = {}
    for step in (1, 2):
        x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(step), dtype=torch.float64).to(dtype)
        rng = Drawing64(0, step, CPU)
        placed.step(iter([(x, torch.arange(8) % 3)]), rng, state)
    return (weights(model) - before).double()[0]


class Drawing64(Streams):
    """The same numbers for every type: drawn in float64, and rounded."""

    def normal(self, place, like):
        return super().normal(place, like.double()).to(like.dtype)

    def uniform(self, place, like):
        return super().uniform(place, like.double()).to(like.dtype)


RECIPES = ["sgd", "pgd_at_l2", "atent_l2"]


@pytest.mark.parametrize("name", RECIPES)
def test_in_float32_a_placed_step_is_as_exact_as_the_written_one(name):
    """Both against the same steps in float64: channels-last adds the same numbers up in another order."""
    exact = update(name, torch.float64)
    written, placed = (update(name, torch.float32, precision) - exact for precision in (None, "float32"))
    assert float(placed.norm()) < 2 * float(written.norm()) < 1e-4 * float(exact.norm())


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("name", RECIPES)
def test_in_float64_nothing_is_cast(name, precision):
    exact = update(name, torch.float64)
    assert float((update(name, torch.float64, precision) - exact).norm()) < 1e-12 * float(exact.norm())


@pytest.mark.parametrize("name", RECIPES)
def test_in_bfloat16_a_step_is_close_to_the_exact_one(name):
    """Three layers, there and back, each rounded to 2^-8 or better; a float16 or a wrong cast would be far off."""
    exact = update(name, torch.float64)
    error = float((update(name, torch.float32, "bfloat16") - exact).norm() / exact.norm())
    assert 2**-13 < error < 2 * 3 * 2**-8


def test_subnormals_are_flushed_while_a_step_is_made_and_no_longer():
    seen = []

    def step(model, optimizer, batches, rng, state):
        seen.append(are_flushed())
        if len(seen) == 3:
            raise ArithmeticError
        return torch.zeros(())

    def make_optimizer(weights):
        return torch.optim.SGD(weights, lr=0.1)

    from atentdsl.runtime import place

    before = are_flushed()
    placed = place(step, make_optimizer, nn.Linear(1, 1), "float32")
    placed.step(iter([]), Streams(0, 1, CPU), {})
    assert are_flushed() is before
    placed.trial(iter([]), Streams(0, 1, CPU))
    assert are_flushed() is before
    with pytest.raises(ArithmeticError):
        placed.step(iter([]), Streams(0, 1, CPU), {})
    assert are_flushed() is before
    as_written(step, make_optimizer, nn.Linear(1, 1)).step(iter([]), Streams(0, 1, CPU), {})
    assert seen == [True, True, True, before]


class View(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3), nn.Linear(144, 10)

    def forward(self, x):
        return self.last(self.first(x).view(len(x), -1))


def test_what_is_given_up_is_said_once(tmp_path, capfd):
    overrides = ["evaluate.attacks=[]", "evaluate.select='clean'"]
    run = atentdsl.train("sgd", overrides=overrides, model=View(), out=tmp_path, max_steps=3)
    assert run.evaluation["n"] > 0
    assert capfd.readouterr().err.count("channels-last is given up") == 1


def test_the_manifest_says_what_ran(tmp_path):
    """Of a network that cannot take channels-last."""
    overrides = ["evaluate.attacks=[]", "evaluate.select='clean'"]
    run = atentdsl.train("sgd", overrides=overrides, model=View(), out=tmp_path, max_steps=3, quiet=True, device="cpu")
    assert manifest(run.path)["policy"]["channels_last"] is False


def test_a_run_that_is_stopped_gives_the_model_back_in_its_usual_order(tmp_path, monkeypatch):
    from atentdsl.runtime.running import Running

    met = []

    def advance(running):
        met.extend(w.is_contiguous() for w in running.model.parameters())
        raise Interrupted(tmp_path, 0)

    monkeypatch.setattr(Running, "advance", advance)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10))
    overrides = ["evaluate.attacks=[]", "evaluate.select='clean'"]
    with pytest.raises(Interrupted):
        atentdsl.train("sgd", overrides=overrides, model=model, out=tmp_path, quiet=True, device="cpu")
    assert not all(met), "it trains in the other order"
    assert all(w.is_contiguous() for w in model.parameters())


MINE = ["data.batch=32", "sampler.attack.moves=2", "optimizer.epochs=1", "evaluate.attacks=['pgd-1']"]


def manifest(run):
    return json.loads((Path(run) / "manifest.json").read_text())


def train(out, *overrides, **options):
    return atentdsl.train("atent_linf", overrides=[*MINE, *overrides], out=out, max_steps=6, quiet=True, **options)


@pytest.mark.parametrize(
    ("asked", "flags", "resolved"),
    [
        ("auto", FAST, "bfloat16"),
        ("auto", SLOW, "float32"),
        ("float32", FAST, "float32"),
        ("bfloat16", SLOW, "bfloat16"),
    ],
)
def test_a_run_says_what_it_trained_in(tmp_path, monkeypatch, asked, flags, resolved):
    monkeypatch.setattr(machine, "processor_flags", lambda: flags)
    run = train(tmp_path, f"compile.precision='{asked}'", device="cpu")
    assert {w.dtype for w in run.model.state_dict().values()} == {torch.float32}
    assert f'PRECISION = "{asked}"' in (run.path / "module.py").read_text(), "the text is the same on every machine"
    assert manifest(run.path)["policy"] == {
        "precision": resolved,
        "channels_last": True,
        "flush_subnormals": True,
        "keep_freed": allocator.can_keep(),
        "fused": False,
        "graph": False,
    }
    assert run.evaluation["trained"] == {"tolerance": 2e-3, "precision": resolved}
    assert all(w.is_contiguous() for w in run.model.parameters()), "evaluated as a loaded checkpoint is"
    assert atentdsl.evaluate(run.path, device="cpu") == run.evaluation


def interrupted(out, monkeypatch, after=3):
    """A run that was stopped after so many steps."""
    from atentdsl.runtime.running import Running

    own = Running.advance

    def advance(running):
        if running.step == after:
            raise Interrupted(out, after)
        return own(running)

    with monkeypatch.context() as within:
        within.setattr(Running, "advance", advance)
        with pytest.raises(Interrupted):
            train(out, device="cpu", checkpoint_steps=1)
    (path,) = out.glob("*/*")
    return path


def kept(run):
    """The checkpoint kept, to the last bit."""
    tensors, texts = checkpoint.read(run.path / "checkpoints/best.safetensors", sealed=True)
    return texts, {name: t.numpy().tobytes() for name, t in tensors.items()}


def test_a_run_goes_on_in_the_precision_that_it_began_in(tmp_path, monkeypatch):
    """On a machine that would choose the other; and to the same bits, channels-last weights and momenta among them."""
    ends = {}
    for began, elsewhere in ((FAST, SLOW), (SLOW, FAST)):
        monkeypatch.setattr(machine, "processor_flags", lambda began=began: began)
        whole = train(tmp_path / f"whole {len(ends)}", device="cpu")
        path = interrupted(tmp_path / f"stopped {len(ends)}", monkeypatch)
        monkeypatch.setattr(machine, "processor_flags", lambda elsewhere=elsewhere: elsewhere)
        resumed = atentdsl.resume(path, quiet=True)
        assert kept(resumed) == kept(whole)
        assert resumed.evaluation == whole.evaluation
        precision = manifest(path)["policy"]["precision"]
        assert manifest(path)["resumed"][0]["policy"]["precision"] == precision
        ends[precision] = kept(whole)
    assert sorted(ends) == ["bfloat16", "float32"]
    assert ends["bfloat16"] != ends["float32"]


def test_a_run_from_before_there_was_a_choice_goes_on_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "processor_flags", lambda: FAST)
    path = interrupted(tmp_path, monkeypatch)
    made = manifest(path)
    del made["policy"]
    (path / "manifest.json").write_text(json.dumps(made))
    resumed = atentdsl.resume(path, quiet=True)
    assert manifest(path)["policy"]["precision"] == resumed.evaluation["trained"]["precision"] == "float32"
