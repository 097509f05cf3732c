"""Faults of the disk, made for real: it is full at any write, read-only, or the run's directory is taken away."""

from __future__ import annotations

import builtins
import re
import shutil
import signal
import time

import pytest
from forked import Forked
from survival.killing import ENVIRONMENT, command, outcome, same
from survival.mounts import small

from atentdsl.cli import run
from atentdsl.runtime import checkpoint, directory, lock

WORDS = [
    "run", "sgd", "--set", "model.name=mlp", "--set", "optimizer.epochs=2", "--set", "evaluate.attacks=['pgd-2']",
    "--max-steps", "30", "--checkpoint-steps", "6", "--device", "cpu",
]  # fmt: skip
__all__ = ["small"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    import torch

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole")
    assert run([*WORDS, "--out", str(out)]) == 0
    return outcome(next(out.glob("sgd/*")))


def test_a_disk_that_is_full_at_any_write_loses_nothing_that_was_safe(small, whole, capsys):
    """The disk is given a page more each time, until the run fits; whatever it fails at, it goes on from there."""
    size, failed = 0, []
    while True:
        size += 40_960
        small.resize(size)
        code = run([*WORDS, "--out", str(small.path)])
        said = capsys.readouterr().err
        runs = list(small.path.glob("sgd/[!.]*"))
        if code == 0:
            same(whole, outcome(runs[0]))
            break
        assert code == 5, said
        failed.append(re.search(r"atentdsl: (\S+) cannot be written: the disk is full", said)[1])
        assert not list(small.path.rglob("*.partial")), "nothing half-written stays"
        assert not list(small.path.glob("sgd/.*")), "nor a half-made directory"
        if runs:
            assert f"atentdsl run --resume {runs[0]}" in said
            small.resize(64 << 20)
            assert run(["run", "--resume", str(runs[0]), "--checkpoint-steps", "6", "--device", "cpu"]) == 0
            same(whole, outcome(runs[0]))
            shutil.rmtree(runs[0])
    assert len({name.split("/")[-1] for name in failed}) >= 3, failed


@pytest.mark.parametrize(
    "name", ["recipe.toml", "manifest.json", "metrics.jsonl", "evaluation.json", "best.safetensors"]
)
def test_a_disk_that_is_full_when_this_file_is_written(small, whole, capsys, monkeypatch, name):
    """The disk is filled to the last page at the moment when the file's turn has come."""
    filler = small.path / "filler"
    atomic, append = directory.write_atomically, directory.RunDirectory.append_metrics

    def fill():
        filler.touch()
        with builtins.open(filler, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def filled_first(path, data):
        if path.name == name and not filler.exists():
            fill()
        return atomic(path, data)

    def appended(self, record):
        if name == "metrics.jsonl" and not filler.exists():
            fill()
        return append(self, record)

    monkeypatch.setattr(directory, "write_atomically", filled_first)
    monkeypatch.setattr(checkpoint, "write_atomically", filled_first)
    monkeypatch.setattr(directory.RunDirectory, "append_metrics", appended)
    small.resize(4 << 20)
    assert run([*WORDS, "--out", str(small.path)]) == 5
    said = capsys.readouterr().err
    assert re.search(rf"{re.escape(name)} cannot be written: the disk is full", said), said
    runs = list(small.path.glob("sgd/[!.]*"))
    assert bool(runs) == (name not in ("recipe.toml", "manifest.json"))
    filler.unlink()
    monkeypatch.undo()
    again = ["run", "--resume", str(runs[0])] if runs else [*WORDS[:-4], "--out", str(small.path)]
    assert run([*again, "--checkpoint-steps", "6", "--device", "cpu"]) == 0
    same(whole, outcome(next(small.path.glob("sgd/[!.]*"))))


def test_a_read_only_target_is_refused_before_training(small, capsys):
    small.read_only(True)
    assert run([*WORDS, "--out", str(small.path)]) == 5
    said = capsys.readouterr().err
    assert "read-only" in said
    assert "--out" in said
    assert "epoch" not in said


def test_a_disk_that_becomes_read_only_keeps_what_was_safe(small, whole, capsys):
    assert run([*WORDS, "--out", str(small.path)]) == 0
    (made,) = small.path.glob("sgd/*")
    (made / "evaluation.json").unlink()
    small.read_only(True)
    capsys.readouterr()
    assert run(["run", "--resume", str(made)]) == 5
    assert "read-only" in capsys.readouterr().err
    small.read_only(False)
    assert run(["run", "--resume", str(made)]) == 0
    same(whole, outcome(made))


def test_a_directory_that_is_removed_ends_the_run(tmp_path):
    words = [*WORDS, "--max-steps", "100000", "--set", "optimizer.epochs=5000", "--out", "runs"]
    process = Forked(*command(*words), tmp_path, ENVIRONMENT)
    try:
        while not list(tmp_path.glob("runs/sgd/*/metrics.jsonl")):
            time.sleep(0.01)
            assert process.poll() is None, process.communicate()
        (made,) = tmp_path.glob("runs/sgd/*")
        shutil.rmtree(made, ignore_errors=True)
        said = process.communicate(timeout=60)[1]
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.returncode == 5, said
    assert "removed while the run was at work" in said
    assert "Traceback" not in said
    assert not (made / "manifest.json").exists()


def test_two_runs_that_start_together_get_two_directories(tmp_path):
    words = command(*WORDS, "--out", "runs")
    both = [Forked(*words, tmp_path, ENVIRONMENT) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    places = [out.splitlines()[-1] for out, _ in said]
    assert len(set(places)) == 2
    one, other = (outcome(tmp_path / place) for place in places)
    same(one, other)


def test_two_that_go_on_with_one_run_do_not_meet(tmp_path):
    assert run([*WORDS, "--out", str(tmp_path)]) == 0
    (made,) = tmp_path.glob("sgd/*")
    (made / "evaluation.json").unlink()
    held = lock.hold(made)
    assert run(["run", "--resume", str(made)]) == 2
    lock.release(held)
    assert run(["run", "--resume", str(made)]) == 0
