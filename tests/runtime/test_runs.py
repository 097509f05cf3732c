"""Run directories as they lie on the disk: how each ended, and what of it may go."""

from __future__ import annotations

import contextlib
import json
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime.real_runs import DIVERGED, FINISHED, INTERRUPTED, files, litter, make

import atentdsl
from atentdsl.runtime import lock
from atentdsl.runtime.runs import found, leftovers, size, summary


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def root(made, tmp_path):
    """A folder with three runs: finished, interrupted, diverged."""
    return shutil.copytree(made, tmp_path / "runs")


@pytest.fixture
def sgd(root):
    return root / "sgd"


@contextlib.contextmanager
def held(path):
    """Within it the run is one that is running."""
    descriptor = lock.hold(path)
    try:
        yield
    finally:
        lock.release(descriptor)


def test_a_run_tells_how_it_ended(sgd):
    ended = {name: summary(sgd / name) for name in (FINISHED, INTERRUPTED, DIVERGED)}
    assert [run.status for run in ended.values()] == ["finished", "interrupted", "diverged"]
    assert {run.name for run in ended.values()} == {"sgd"}
    finished, interrupted, diverged = ended.values()
    assert finished.evaluation == json.loads((sgd / FINISHED / "evaluation.json").read_text())
    assert interrupted.evaluation is diverged.evaluation is None
    assert (finished.step, finished.epoch) == (interrupted.step, interrupted.epoch) == (3, 1)
    assert diverged.epoch == 0
    assert finished.manifest == json.loads((sgd / FINISHED / "manifest.json").read_text())
    assert finished.size == size(sgd / FINISHED) == sum(map(len, files(sgd / FINISHED).values()))


def test_it_is_running_as_long_as_its_lock_is_held(sgd):
    for name, before in {INTERRUPTED: "interrupted", DIVERGED: "diverged"}.items():
        with held(sgd / name):
            assert summary(sgd / name).status == "running"
        assert summary(sgd / name).status == before


def test_the_step_is_the_newest_snapshot_s_or_the_last_line_s(sgd):
    run = sgd / INTERRUPTED
    newest = run / "checkpoints/step-00000003.safetensors"
    newest.rename(newest.with_name("step-00000017.safetensors"))
    assert summary(run).step == 17
    newest.with_name("step-00000017.safetensors").unlink()
    assert summary(run).step == 3
    (run / "metrics.jsonl").unlink()
    assert (summary(run).step, summary(run).epoch) == (0, 0)


@pytest.mark.parametrize("torn", ['{"epoch": 2, "st', "", "3", "[]", "null", "\udcff"])
def test_a_torn_last_line_is_passed_over(sgd, torn):
    with (sgd / INTERRUPTED / "metrics.jsonl").open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(torn)
    assert summary(sgd / INTERRUPTED).epoch == 1


def test_runs_are_found_by_name_and_then_by_time(root, sgd):
    shutil.copytree(sgd, root / "atent")
    order = [("atent", FINISHED), ("atent", INTERRUPTED), ("atent", DIVERGED)]
    order += [("sgd", time) for _, time in order]
    assert [(run.name, run.path.name) for run in found(root)] == order
    assert [run.path.parent.name for run in found(root, "atent")] == ["atent"] * 3
    assert list(found(root, "absent")) == []
    assert list(found(root / "absent")) == []


@pytest.mark.parametrize("damage", ["", "{", "{}", "[]", "3"])
@pytest.mark.parametrize("name", ["manifest.json", "evaluation.json"])
def test_what_cannot_be_read_is_left_out_and_nothing_of_it_may_go(root, sgd, name, damage):
    (sgd / FINISHED / name).write_text(damage)
    litter(sgd / FINISHED)
    with pytest.raises(ValueError, match=f"{name} lacks|Expecting"):
        summary(sgd / FINISHED)
    assert [run.path.name for run in found(root)] == [INTERRUPTED, DIVERGED]
    assert leftovers(root) == []


def test_other_files_and_folders_are_no_runs(root, sgd):
    (root / "notes.txt").write_text("notes")
    (sgd / "notes.txt").write_text("notes")
    (sgd / "empty").mkdir()
    shutil.copytree(sgd / FINISHED, sgd / ".hidden")
    (sgd / FINISHED / "checkpoints/step-mine.safetensors").write_bytes(b"mine")
    assert len(list(found(root))) == 3
    assert not any(path.name in ("notes.txt", "empty", ".hidden", "step-mine.safetensors") for path in leftovers(root))


def test_of_a_finished_run_its_snapshots_may_go(root, sgd):
    snapshot = sgd / FINISHED / "checkpoints/step-00000003.safetensors"
    assert leftovers(root) == [snapshot]
    (sgd / FINISHED / "checkpoints/best.safetensors").unlink()
    assert leftovers(root) == [], "without the checkpoint kept, the snapshot is all that is left of it"


def test_of_others_they_may_go_only_whole_and_on_demand(root, sgd):
    assert not any({INTERRUPTED, DIVERGED} & set(path.parts) for path in leftovers(root))
    whole = [path for path in leftovers(root, unfinished=True) if FINISHED not in path.parts]
    assert whole == [sgd / INTERRUPTED, sgd / DIVERGED]
    with held(sgd / INTERRUPTED):
        whole = [path for path in leftovers(root, unfinished=True) if FINISHED not in path.parts]
        assert whole == [sgd / DIVERGED]


def test_what_never_got_its_name_may_go_unless_it_is_being_made(root, sgd):
    made = sgd / ".unfinished-123-abcdef01"
    shutil.copytree(sgd / INTERRUPTED, made)
    assert made in leftovers(root)
    with held(made):
        assert made not in leftovers(root)
    expected = {path for name in (FINISHED, INTERRUPTED, DIVERGED) for path in litter(sgd / name)}
    assert expected <= set(leftovers(root))


def delete(paths):
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else os.unlink(path)


@settings(max_examples=25)
@given(
    running=st.sets(st.sampled_from([INTERRUPTED, DIVERGED])),
    littered=st.sets(st.sampled_from([FINISHED, INTERRUPTED, DIVERGED])),
    unfinished=st.booleans(),
)
def test_whatever_goes_no_result_and_no_running_run_is_touched(made, tmp_path_factory, running, littered, unfinished):
    root = shutil.copytree(made, tmp_path_factory.mktemp("pruned") / "runs")
    sgd = root / "sgd"
    for name in littered:
        litter(sgd / name)
    before = files(root)
    with contextlib.ExitStack() as stack:
        for name in running:
            stack.enter_context(held(sgd / name))
        delete(leftovers(root, unfinished))
        after = files(root)
        assert after.items() <= before.items(), "nothing is written"
        gone = before.keys() - after.keys()
        assert not any(f"sgd/{name}/" in path for name in running for path in gone)
        stays = {path for path in before if path.startswith(f"sgd/{FINISHED}/")}
        stays = {path for path in stays if "/step-" not in path and not path.endswith(".partial")}
        assert f"sgd/{FINISHED}/checkpoints/best.safetensors" in stays
        assert not gone & stays
        assert leftovers(root, unfinished) == []
        assert {run.path.name for run in found(root)} >= {FINISHED} | running
        assert unfinished or len(list(found(root))) == 3


def test_what_is_left_of_a_finished_run_evaluates_to_the_same(root, sgd):
    expected = json.loads((sgd / FINISHED / "evaluation.json").read_text())
    delete(leftovers(root, unfinished=True))
    assert os.listdir(sgd) == [FINISHED]
    assert atentdsl.evaluate(sgd / FINISHED, device="cpu") == expected


def test_what_is_left_of_an_interrupted_run_goes_on_to_the_same(root, sgd):
    litter(sgd / INTERRUPTED)
    delete(leftovers(root))
    run = atentdsl.resume(sgd / INTERRUPTED, quiet=True)
    assert run.evaluation == json.loads((sgd / FINISHED / "evaluation.json").read_text())
