"""Snapshots: damage anywhere is found and the good one before it named, and what does not belong here is refused."""

from __future__ import annotations

import json
import random
import re
import shutil

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from atentdsl.runtime import checkpoint, snapshot
from atentdsl.runtime.errors import CannotResume, CheckpointBroken, StorageFailed
from atentdsl.runtime.snapshot import DAMAGED, KEPT, Saving

IDENTITY = {"recipe_sha256": "a" * 64, "module_sha256": "b" * 64, "torch": "2.9.0", "atentdsl": "0.1.0"}
FLIPS, TRUNCATIONS = 1000, 200


def content(step):
    """What a run of a small network is after so many steps: weights, momentum, best weights, lines."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(step):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.rand(4, 1, 4, 4)), torch.arange(4) % 2).backward()
        optimizer.step()
    return {
        "step": step,
        "model": {**dict(model.named_parameters()), **dict(model.named_buffers())},
        "optimizer": optimizer.state_dict(),
        "state": {"carried": torch.rand(4, 2, 3, 3).to(memory_format=torch.channels_last)},
        "loss_sum": torch.tensor(1.5),
        "best": {"epoch": 1, "score": 0.75, "weights": checkpoint.tensors_of(model)},
        "lines": [{"epoch": epoch, "loss": 0.1 * epoch, "validation": {"n": 12}} for epoch in range(1, 3)],
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for step in (3, 6):
        snapshot.write(folder, step, content(step), IDENTITY)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of a folder with two snapshots."""
    return shutil.copytree(made, tmp_path / "checkpoints")


@pytest.fixture
def both(folder):
    """The newer and the older of the two."""
    return snapshot.listed(folder)


def named(folder, newer, older):
    """The newer one is named as damaged, the older one offered, and taken where that is asked for."""
    with pytest.raises(CheckpointBroken) as caught:
        snapshot.newest(folder)
    assert (caught.value.path, caught.value.previous) == (newer, older)
    return caught.value


def test_each_of_a_thousand_flipped_bits_is_found_and_the_good_one_before_it_offered(folder, both):
    newer, older = both
    whole = newer.read_bytes()
    draw = random.Random(0)
    found = set()
    for _ in range(FLIPS):
        place = draw.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        newer.write_bytes(damaged)
        found.add(named(folder, newer, older).reason.split("(")[-1])
        assert newer.read_bytes() == damaged, "looking changes nothing"
    assert "the sha256 differs)" in found
    newer.write_bytes(whole)
    assert snapshot.newest(folder) == newer


def test_each_truncation_is_found_and_the_good_one_before_it_offered(folder, both):
    newer, older = both
    whole = newer.read_bytes()
    draw = random.Random(1)
    for length in [0, 7, 8, 9, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(TRUNCATIONS))]:
        newer.write_bytes(whole[:length])
        named(folder, newer, older)
        assert snapshot.newest(folder, skip_damaged=True) == older


def test_a_tail_or_a_block_of_zeros_is_found(folder, both):
    """What a file system may leave of a file after a loss of power."""
    newer, older = both
    whole = newer.read_bytes()
    for damaged in (whole + b"\0", whole[:512] + bytes(512) + whole[1024:], bytes(len(whole)), older.read_bytes()[:-1]):
        newer.write_bytes(damaged)
        named(folder, newer, older)


def test_where_both_are_damaged_none_is_offered(folder, both):
    for path in both:
        path.write_bytes(path.read_bytes()[:-1])
    said = str(named(folder, both[0], None))
    assert "--skip-damaged" not in said
    with pytest.raises(CheckpointBroken) as caught:
        snapshot.newest(folder, skip_damaged=True)
    assert caught.value.path == both[0]


def test_a_damaged_older_one_does_not_matter(folder, both):
    both[1].write_bytes(b"")
    assert snapshot.newest(folder) == both[0]


def test_an_empty_folder_has_none(tmp_path):
    assert snapshot.newest(tmp_path) is None
    assert snapshot.newest(tmp_path / "absent") is None


def test_what_is_set_aside_is_not_listed_again(folder, both):
    newer, older = both
    newer.write_bytes(b"damaged")
    assert snapshot.set_aside(folder, 3) == [newer.with_name(newer.name + DAMAGED)]
    assert snapshot.listed(folder) == [older]
    assert snapshot.newest(folder) == older
    assert newer.with_name(newer.name + DAMAGED).read_bytes() == b"damaged"
    assert snapshot.set_aside(folder, 3) == []
    newer.write_bytes(b"again")
    assert len(snapshot.set_aside(folder, 3)) == 1, "a second one of that step takes its place"


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=6, unique=True).map(sorted),
    st.sets(st.integers(0, 5), max_size=3),
)
@settings(max_examples=40)
def test_two_are_kept_and_those_that_are_asked_for(tmp_path_factory, steps, places):
    folder = tmp_path_factory.mktemp("kept")
    keep = {steps[place] for place in places if place < len(steps)}
    for step in steps:
        written = snapshot.write(folder, step, {"step": step}, IDENTITY, keep)
        assert snapshot.newest(folder) == written
        assert snapshot.read(written, IDENTITY) == {"step": step}
    expected = {*steps[-KEPT:], *keep}
    assert [snapshot.step_of(path) for path in snapshot.listed(folder)] == sorted(expected, reverse=True)
    assert len(list(folder.iterdir())) == len(expected)
    snapshot.remove_later(folder, steps[0])
    assert {snapshot.step_of(path) for path in snapshot.listed(folder)} == expected & {steps[0]}


def test_of_a_finished_run_the_last_is_enough(folder, both):
    snapshot.remove_all_but_newest(folder)
    assert snapshot.listed(folder) == both[:1]


def test_the_older_one_goes_only_when_the_next_is_safe(folder, both):
    (folder / "step-00000009.safetensors").mkdir()  # in the way
    with pytest.raises(StorageFailed):
        snapshot.write(folder, 9, content(9), IDENTITY)
    assert snapshot.listed(folder)[1:] == both
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("what", ["recipe_sha256", "module_sha256"])
@pytest.mark.parametrize("other_version", [False, True])
def test_another_recipe_is_never_accepted(both, what, other_version):
    with pytest.raises(CannotResume) as caught:
        snapshot.read(both[0], {**IDENTITY, what: "c" * 64}, other_version)
    said = str(caught.value)
    assert f"of another {what.removesuffix('_sha256')}" in said
    assert "c" * 64 in said
    assert IDENTITY[what] in said


@pytest.mark.parametrize("package", ["torch", "atentdsl"])
def test_another_version_is_accepted_only_on_demand(both, package):
    other = {**IDENTITY, package: "9.9.9"}
    with pytest.raises(
        CannotResume, match=rf"written with {package} {re.escape(IDENTITY[package])}, and this is 9.9.9"
    ):
        snapshot.read(both[0], other)
    assert snapshot.read(both[0], other, other_version=True)["step"] == 6
    with pytest.raises(CannotResume, match="another recipe"):
        snapshot.read(both[0], {**other, "recipe_sha256": "c" * 64}, other_version=True)


def test_another_format_is_refused_whatever_is_asked_for(folder, both, monkeypatch):
    monkeypatch.setattr(snapshot, "FORMAT", snapshot.FORMAT + 1)
    for identity in (None, IDENTITY):
        with pytest.raises(CannotResume, match=f"it has format {snapshot.FORMAT - 1}"):
            snapshot.read(both[0], identity, other_version=True)
    with pytest.raises(CannotResume):
        snapshot.newest(folder, skip_damaged=True)


def test_a_file_from_elsewhere_is_refused(folder, both):
    """Its tensors and texts are all there; the seal is not."""
    newer, older = both
    tensors, texts = checkpoint.read(newer)
    safetensors.torch.save_file(tensors, newer, metadata=texts)
    assert "no sha256" in named(folder, newer, older).reason
    safetensors.torch.save_file(tensors, newer)
    assert "no sha256" in named(folder, newer, older).reason
    checkpoint.write(newer, tensors, {})
    assert "no snapshot of a run" in named(folder, newer, older).reason
    torch.save(content(6), newer)
    named(folder, newer, older)


def test_a_snapshot_is_safetensors_and_json_and_nothing_else(both):
    """Every byte of the file belongs to the header, which is JSON, or to a tensor."""
    data = both[0].read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    texts = header.pop("__metadata__")
    spans = sorted(entry["data_offsets"] for entry in header.values())
    assert [begin for begin, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert 8 + length + spans[-1][1] == len(data)
    assert set(texts) == {"content", "identity", checkpoint.DIGEST}
    assert json.loads(texts["identity"]) == {**IDENTITY, "format": str(snapshot.FORMAT)}
    kinds = {kind for node in nodes(json.loads(texts["content"])) if isinstance(node, dict) for kind in node}
    assert kinds <= {"dict", "list", "tuple", "tensor", "strided"}


def nodes(document):
    yield document
    for inner in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from nodes(inner)


@given(st.integers(1, 50), st.integers(0, 500))
def test_every_so_many_steps_means_exactly_those(every, step):
    assert Saving(steps=every, minutes=0).due(step) == (step % every == 0)


def test_by_the_clock_a_slow_disk_makes_snapshots_rarer():
    saving = Saving(minutes=0)
    assert saving.due(1)
    saving.wrote(seconds=0.0)
    assert saving.due(2)
    saving.wrote(seconds=3600.0)
    assert not saving.due(3)
