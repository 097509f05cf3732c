"""What `atentdsl bench` reports, and that it reports what it measured."""

from __future__ import annotations

import copy
import gc
import json
import weakref

import attrs
import pytest
import torch
from runtime.emulated_graphs import emulate

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark import measured_step, step
from atentdsl.benchmark.graphed import graphed
from atentdsl.benchmark.step import KEYS, KEYS_OF_AUTHORS
from atentdsl.benchmark.subject import drawn_images
from atentdsl.benchmark.timing import WARM_UP
from atentdsl.cli import run
from atentdsl.codegen import as_module, generate
from atentdsl.plan import units
from atentdsl.recipe import load
from atentdsl.runtime import graph, placed
from atentdsl.runtime.policy import policy_of
from atentdsl.runtime.subnormals import are_flushed, flushed

QUICK = ["--set", "model.name=mlp", "--rounds", "1", "--device", "cpu"]
WANTED = {
    "literal_ms", "compiled_ms", "limit_ms", "ratio_to_limit", "speedup_over_literal", "images_per_second",
    "peak_memory_mb", "units_literal", "units_compiled", "device", "precision", "threads", "rounds",
    "tolerance",
}  # fmt: skip
OF_AUTHORS = {"authors_schedule_ms", "speedup_over_authors_schedule", "units_authors_schedule"}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    """No data set is there, and none may be looked for elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATENTDSL_DATA", str(tmp_path / "nothing"))


def benched(capsys, *words):
    assert run(["bench", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("sgd", False),
        ("atent_linf", True),
        ("mnist/pgd_at_l2", False),
        ("entropy_sgd_atent", False),
        ("trades_linf", False),
        ("mart", False),
    ],
)
def test_the_keys_and_the_units(capsys, name, theirs):
    found = benched(capsys, name, *QUICK, "--set", "data.batch=4")
    assert found.keys() == WANTED | (OF_AUTHORS if theirs else set())
    assert set(KEYS) == WANTED
    assert set(KEYS_OF_AUTHORS) == OF_AUTHORS
    compiled = generate(load(name))
    assert found["units_literal"] == units(compiled.stages[0].plan)
    assert found["units_compiled"] == units(compiled.plan)
    assert found["ratio_to_limit"] == pytest.approx(found["compiled_ms"] / found["limit_ms"])
    assert found["speedup_over_literal"] == pytest.approx(found["literal_ms"] / found["compiled_ms"])
    assert found["images_per_second"] == pytest.approx(4000 / found["compiled_ms"])
    chosen = policy_of(torch.nn.Linear(1, 1), load(name).compile.precision).precision
    assert (found["device"], found["precision"], found["threads"], found["rounds"]) == ("cpu", chosen, 1, 1)
    if theirs:
        assert found["units_authors_schedule"] == 61
        ratio = found["authors_schedule_ms"] / found["compiled_ms"]
        assert found["speedup_over_authors_schedule"] == pytest.approx(ratio)


def test_the_table(capsys):
    assert run(["bench", "atent_linf", *QUICK, "--set", "compile.precision=float32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:5]] == ["published schedule", "literal", "compiled", "limit"]
    assert "times the limit" in lines[5]
    assert lines[6] == "cpu, float32, tolerance 0.002, 1 thread, medians of 1 round"


def test_threads_are_as_they_were_afterwards(capsys):
    before = torch.get_num_threads()
    assert benched(capsys, "sgd", *QUICK, "--set", "data.batch=4", "--threads", "2")["threads"] == 2
    assert torch.get_num_threads() == before


def test_bfloat16(capsys):
    found = benched(capsys, "sgd", *QUICK, "--set", "compile.precision=bfloat16")
    assert found["precision"] == "bfloat16"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench"], "RECIPE"),
        (["bench", "sgd", "--steps", "3"], "--steps goes with --epoch"),
        (["bench", "sgd", "--rounds", "0"], "--rounds"),
        (["bench", "no_such_recipe"], "no_such_recipe"),
    ],
)
def test_wrong_usage(capsys, words, said):
    assert run(words) == 2
    assert said in capsys.readouterr().err


def test_time_that_the_step_takes_is_in_the_compiled_time_and_not_in_the_limit_s():
    """The clock is counted by hand: each look at it is a millisecond, and a slow step takes five more."""
    plain, now = subject("sgd", ["model.name=mlp"], "cpu"), [0.0]
    module = as_module(plain.compiled.text, "slow")
    own = module.train_step

    def clock():
        now[0] += 0.001
        return now[0]

    def slow(*arguments):
        now[0] += 0.005
        return own(*arguments)

    module.train_step = slow
    for measured, taken in ((plain, 1.0), (attrs.evolve(plain, module=module), 6.0)):
        found = measured_step(measured, rounds=3, clock=clock)
        assert found["compiled_ms"] == pytest.approx(taken)
        assert (found["literal_ms"], found["limit_ms"]) == pytest.approx((1.0, 1.0))
        assert found["ratio_to_limit"] == pytest.approx(taken)


@pytest.mark.parametrize("flushing", [True, False])
def test_literal_compiled_and_limit_treat_subnormals_alike(flushing, monkeypatch):
    """As the policy says."""
    if flushing and not can_flush():
        pytest.skip("this processor has no such setting")
    own = placed.policy_of
    monkeypatch.setattr(placed, "policy_of", lambda *given: attrs.evolve(own(*given), flush_subnormals=flushing))
    measured = subject("pgd_at_linf", ["sampler.attack.moves=1", "model.name=mlp"], "cpu")
    for make in (step._literal, step._compiled, step._limit):
        seen, network = [], copy.deepcopy(measured.network)
        network.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(are_flushed()))
        make(measured, network)()
        assert seen
        assert set(seen) == {flushing}, make
        assert not are_flushed()


def can_flush():
    with flushed():
        return are_flushed()


ON_A_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


@ON_A_GPU
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_is_measured_too(capsys, precision):
    words = ["--set", "sampler.attack.moves=3", "--set", f"compile.precision={precision}", "--rounds", "2", "--json"]
    assert run(["bench", "atent_linf", *words, "--device", "cuda"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["device"].partition(":")[0], found["precision"]) == ("cuda", precision)


def test_what_is_captured_keeps_what_it_reads(monkeypatch):
    """A graph holds addresses alone: freed, its inputs would be others' memory at the next replay."""
    emulate(monkeypatch)

    def made():
        inputs = torch.ones(2)

        def work():
            inputs.add_(1)

        return graphed(work, torch.device("cpu")), weakref.ref(work)

    replay, work = made()
    gc.collect()
    assert work() is not None
    replay()


@ON_A_GPU
def test_what_is_captured_computes_again_at_each_replay():
    device = torch.device("cuda")
    count = torch.zeros((), device=device)
    replay = graphed(lambda: count.add_(1), device)
    before = float(count)
    for _ in range(3):
        replay()
    assert float(count) == before + 3


def test_as_many_rounds_come_before_as_capture_a_step():
    """Those that are made as written, the one that is captured, and one replayed."""
    assert WARM_UP["cuda"] >= graph.WRITTEN_FIRST + 2


def test_every_step_is_timed_on_the_same_weights():
    """They move in the step, and are brought back before the next one is timed."""
    measured = subject("sgd", ["model.name=mlp"], "cpu")
    module = as_module(measured.compiled.text, "watched")
    own, seen = module.train_step, []

    def watching(model, *arguments):
        seen.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        return own(model, *arguments)

    module.train_step = watching
    begun = torch.cat([p.detach().flatten() for p in measured.network.parameters()])
    measured_step(attrs.evolve(measured, module=module), rounds=3)
    timed = seen[5:]  # one on two images and two whose memory is measured begin it; two steps give the weights
    assert len(timed) == 5
    assert all(torch.equal(weights, timed[0]) for weights in timed)
    assert not torch.equal(timed[0], begun)
    assert torch.equal(begun, torch.cat([p.detach().flatten() for p in measured.network.parameters()]))


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_images_are_drawn_anew_the_same(name):
    images = drawn_images(name)
    assert torch.equal(images.x, drawn_images(name).x)
    assert torch.equal(images.y, drawn_images(name).y)
    counts = torch.bincount(images.y, minlength=10).double() / len(images)
    assert images.classes == 10
    assert counts.sub(0.1).abs().max() < 0.04  # 1,438 draws: a class's share has a standard deviation of 0.008
    assert abs(float(images.x.double().mean()) - 127.5) < 1
