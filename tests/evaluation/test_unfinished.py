"""An evaluation that is stopped goes on with what it had found, and believes nothing else."""

from __future__ import annotations

import json
import os
import stat
import time

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import atentdsl
from atentdsl.api.going_on import going_on
from atentdsl.cli import run
from atentdsl.evaluation import Unfinished, attacks, depends_on, evaluation, unfinished
from atentdsl.evaluation.ball import Ball
from atentdsl.evaluation.sampling import SamplerAttack
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import EvaluationInterrupted, MemoryExhausted
from atentdsl.testing.mutants import edited


class First(nn.Module):
    """An image's first pixel is its number, an eighth its class."""

    def forward(self, x):
        return nn.functional.one_hot((x.flatten(1)[:, 0] * 1024).round().long() % 4, 4).float()


@attrs.define(eq=False)
class Drawing:
    """An attack that breaks images by its batch's seed alone, and can be stopped at one of its calls."""

    name: str
    calls: list
    stop: int = -1
    ball: Ball = attrs.field(factory=lambda: Ball("linf", 0.1))

    def settings(self):
        return {}

    def withstands(self, model, x, y, seed):
        if len(self.calls) == self.stop:
            raise KeyboardInterrupt
        self.calls.append((self.name, seed, (x.flatten(1)[:, 0] * 1024).round().long().tolist()))
        generator = torch.Generator().manual_seed(seed % 2**31)
        return torch.rand(len(x), generator=generator) < 0.7


def numbered(n):
    x = torch.zeros(n, 1, 2, 2)
    x[:, 0, 0, 0] = torch.arange(n) / 1024
    return Images(x, torch.arange(n) % 4, 4)


def kept(folder):
    return Unfinished.of({}, folder)


@pytest.fixture(scope="module", autouse=True)
def _whatever_it_took():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unfinished, "MOMENT", 0.0)
        yield


@given(st.data())
def test_stopped_anywhere_and_torn_anywhere_it_ends_in_the_same_figures(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cache")
    n, batch = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 12))
    independent, number = data.draw(st.booleans()), data.draw(st.integers(1, 3))

    def evaluated(calls, stop=-1, remember=lambda attack: attack):
        made = [Drawing(f"a{i}", calls, stop) for i in range(number)]
        return evaluation(First(), numbered(n), made, "test", 0, batch, independent=independent, remember=remember)

    whole = []
    expected = evaluated(whole)
    stop = data.draw(st.integers(0, len(whole) - 1))
    before, after = [], []
    with pytest.raises(KeyboardInterrupt):
        evaluated(before, stop, kept(folder).remember)
    cut = None
    for file in folder.glob("*.jsonl"):
        cut = data.draw(st.one_of(st.none(), st.integers(0, file.stat().st_size)))
        if cut is not None:
            os.truncate(file, cut)
    again = kept(folder)
    assert evaluated(after, remember=again.remember) == expected
    assert again.taken + len(after) == len(whole)
    if cut is None:
        assert before + after == whole, "nothing is asked twice"
    again.end()
    assert list(folder.glob("*")) == []
    assert evaluated([], remember=kept(folder).remember) == expected


def answer(model, x, y, seed):
    return torch.tensor([seed % 2 == 1] * len(y))


def test_other_images_labels_and_seeds_are_asked_anew(tmp_path):
    """Four questions that differ in one thing each; a digest that leaves one of them out answers one for another."""
    x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 2])
    questions = [(x, y, 1), (x + 1, y, 1), (x, y + 1, 1), (x, y, 2), (x[:2], y[:2], 1), (x.flatten(1), y, 1)]

    def asked(module):
        module.MOMENT = 0.0
        made = module.Unfinished.of({}, tmp_path)
        made.end()
        for question in questions:
            made.remember(answer)(None, *question)
        return made.taken

    assert asked(unfinished) == 0
    for old, new in (
        ("{'x': x, 'y': y}", "{'x': x}"),
        ("{'x': x, 'y': y}", "{'y': y}"),
        ("{seed} {tensors", "{tensors"),
    ):
        assert asked(edited(unfinished, old, new)) > 0, new
    made = kept(tmp_path / "again")
    assert made.remember(answer)(None, x, y, 1).all()
    assert not kept(tmp_path / "again").remember(answer)(None, x, y, 2).any()


def test_whatever_answers_depend_on_names_another_file(tmp_path, monkeypatch):
    recipe = atentdsl.load("sgd", ["evaluate.attacks=['pgd-2']"])
    network = nn.Linear(4, 2)

    def named(recipe=recipe, network=network, device="cpu"):
        made = depends_on(recipe, network, attacks(recipe, 10), torch.device(device))
        return Unfinished.of(made, tmp_path).path.name

    first = named()
    assert named() == first
    others = {named(device="cuda")}
    for change in ("evaluate.attacks=['pgd-3']", "evaluate.radius=0.2", "evaluate.restarts=2", "model.name=mlp"):
        others.add(named(atentdsl.load("sgd", ["evaluate.attacks=['pgd-2']", change])))
    with torch.no_grad():
        network.weight[0, 0] += 1e-6
    others.add(named())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)
        others |= {named(), named(device="cuda")}
    monkeypatch.setattr(unfinished, "versions", lambda: {"torch": "another"})
    others.add(named())
    monkeypatch.setattr(unfinished, "_code", lambda: "another")
    others.add(named())
    assert len(others) == 10
    assert first not in others


@pytest.mark.parametrize("line", ["", "{", "[]", '{"asked": 1}', '{"asked": "a", "withstand": "012"}', "\0", "null"])
def test_a_line_that_is_none_counts_as_not_there(tmp_path, line):
    x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 2])
    made = kept(tmp_path)
    made.remember(answer)(None, x, y, 1)
    made.path.write_text(line + "\n" + made.path.read_text() + line)
    again = kept(tmp_path)
    again.remember(answer)(None, x, y, 3)
    assert len(again.known) == 2
    assert len(kept(tmp_path).known) == 2
    assert kept(tmp_path).remember(answer)(None, x, y, 1).tolist() == [True] * 3


def test_what_took_a_moment_leaves_no_file_and_a_folder_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 2])
    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "MOMENT", 60.0)
        assert kept(tmp_path / "quick").remember(answer)(None, x, y, 1).all()
    assert not (tmp_path / "quick").exists()
    (tmp_path / "file").write_text("")
    assert kept(tmp_path / "file").remember(answer)(None, x, y, 1).all()
    link = kept(tmp_path / "linked")
    (tmp_path / "linked").mkdir()
    link.path.symlink_to(tmp_path / "elsewhere")
    assert link.remember(answer)(None, x, y, 1).all()
    assert not (tmp_path / "elsewhere").exists()


def test_the_file_is_the_users_and_goes_after_a_month(tmp_path):
    x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 2])
    made = kept(tmp_path / "deep" / "er")
    made.remember(answer)(None, x, y, 1)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    Unfinished.of({"another": 1}, made.path.parent)
    assert made.path.exists()
    old = time.time() - 31 * 24 * 3600
    os.utime(made.path, (old, old))
    Unfinished.of({"another": 1}, made.path.parent)
    assert not made.path.exists()


SMALL = ["model.name=mlp", "optimizer.epochs=1", "evaluate.attacks=['pgd-2', 'pgd-3', 'pgd-4']", "evaluate.batch=200"]
INDEPENDENT = "evaluate.independent=true"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return atentdsl.train(
        "sgd", overrides=[*SMALL, INDEPENDENT], quiet=True, out=tmp_path_factory.mktemp("runs"), device="cpu"
    ).path


@pytest.fixture
def stopped_at(tmp_path, monkeypatch):
    """Makes the attack stop at a call; the calls that were answered, by their names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own, calls = SamplerAttack.withstands, []

    def at(number):
        def withstands(self, model, x, y, seed):
            if len(calls) == number:
                raise KeyboardInterrupt
            calls.append((self.name, seed))
            return own(self, model, x, y, seed)

        monkeypatch.setattr(SamplerAttack, "withstands", withstands)
        return calls

    return at


def test_eval_says_so_and_prints_the_same(trained, stopped_at, tmp_path, capsys):
    words = ["eval", str(trained), "--device", "cpu"]
    assert run(words) == 0
    expected = capsys.readouterr().out
    folder = tmp_path / "cache/atentdsl/unfinished"
    assert list(folder.glob("*")) == []
    calls = stopped_at(3)
    assert run(words) == 130
    assert "3 batches of attacks are kept for a month, and the same evaluation again goes on" in capsys.readouterr().err
    assert len(list(folder.glob("*"))) == 1
    stopped_at(-1)
    assert run([*words, "--set", "evaluate.radius=0.1"]) == 0
    assert "going on" not in capsys.readouterr().err
    del calls[3:]
    assert run(words) == 0
    said = capsys.readouterr()
    assert said.out == expected
    assert "atentdsl: going on with an evaluation that was stopped: 3 batches of attacks are done" in said.err
    assert [name for name, _ in calls] == ["pgd-2"] * 2 + ["pgd-3"] * 2 + ["pgd-4"] * 2
    assert list(folder.glob("*")) == []


def test_a_run_that_was_stopped_in_its_evaluation_goes_on_in_it(trained, stopped_at, tmp_path):
    calls = stopped_at(2 + 3)  # the first two watch training
    how = {"quiet": True, "out": tmp_path, "device": "cpu"}
    with pytest.raises(EvaluationInterrupted):
        atentdsl.train("sgd", overrides=[*SMALL, INDEPENDENT], **how)
    (path,) = (tmp_path / "sgd").iterdir()
    stopped_at(-1)
    atentdsl.resume(path, quiet=True)
    assert len(calls) == len(set(calls)) == 2 + 6
    found, expected = (json.loads((it / "evaluation.json").read_text()) for it in (path, trained))
    assert found == expected


def test_of_a_network_whose_code_is_elsewhere_nothing_is_kept(stopped_at, tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for name, own in (("mlp", True), ("some.module:Network", False)):
        recipe = atentdsl.load("sgd", [*SMALL, f"model.name={name}"])
        made, images = attacks(recipe, 10), Images(torch.rand(9, 1, 8, 8), torch.arange(9), 10)
        with going_on(recipe, network, made, torch.device("cpu"), own=own) as evaluated:
            assert evaluated(network, images, made, "test")["n"] == 9
            assert not (tmp_path / "cache").exists()
    stopped_at(1)
    with pytest.raises(KeyboardInterrupt) as stop:
        atentdsl.evaluate("sgd", model=network, overrides=SMALL, device="cpu")
    assert type(stop.value) is KeyboardInterrupt
    assert not (tmp_path / "cache").exists()


class Greedy(Drawing):
    """Its memory ends at five images."""

    def withstands(self, model, x, y, seed):
        if len(x) > 4:
            raise MemoryError
        return torch.ones(len(x), dtype=torch.bool)


def test_a_trial_of_a_batchs_size_is_neither_kept_nor_answered(tmp_path):
    with pytest.raises(MemoryExhausted) as said:
        evaluation(First(), numbered(20), [Greedy("a", [])], "test", 0, 8, remember=kept(tmp_path).remember)
    assert said.value.fits == 4
    assert kept(tmp_path).known == {}
