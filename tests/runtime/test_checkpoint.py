import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from atentdsl.runtime import checkpoint
from atentdsl.runtime.errors import CheckpointBroken

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


class Holder(nn.Module):
    """A module whose state is the tensors it is given."""

    def __init__(self, tensors):
        super().__init__()
        for i, tensor in enumerate(tensors):
            self.register_buffer(f"tensor{i}", tensor)


@st.composite
def tensors(draw):
    """A tensor of any bits: infinities, NaNs with their payloads and negative zeros too; sometimes not contiguous."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    size = torch.Size(shape).numel() * dtype.itemsize
    data = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        data = bytearray(byte & 1 for byte in data)
    flat = torch.frombuffer(data, dtype=dtype) if size else torch.empty(0, dtype=dtype)
    tensor = flat.reshape(shape)
    return tensor.transpose(0, -1) if tensor.dim() > 1 and draw(st.booleans()) else tensor


def bits(tensor):
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().flatten().view(torch.uint8).tolist()


def state_bits(model):
    return {name: bits(tensor) for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@given(st.lists(tensors(), max_size=4), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_what_is_loaded_is_what_was_saved_bit_for_bit(folder, given_tensors, texts):
    path = folder / "round.safetensors"
    saved = Holder(given_tensors)
    checkpoint.save(saved, path, texts)
    blank = Holder([torch.zeros_like(tensor) for tensor in given_tensors])
    assert checkpoint.load(blank, path) == texts
    assert state_bits(blank) == state_bits(saved)
    assert checkpoint.metadata(path) == texts
    assert os.listdir(folder) == ["round.safetensors"]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("row", self.first.weight.detach()[1])


def test_shared_memory_is_saved_and_stays_shared(tmp_path):
    saved, other = Tied(), Tied()
    checkpoint.save(saved, tmp_path / "tied.safetensors")
    checkpoint.load(other, tmp_path / "tied.safetensors")
    assert state_bits(other) == state_bits(saved)
    assert other.first.weight is other.second.weight


def test_any_safetensors_reader_reads_it(tmp_path):
    model = nn.Linear(3, 2)
    checkpoint.save(model, tmp_path / "plain.safetensors")
    read = safetensors.torch.load_file(tmp_path / "plain.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in model.state_dict().items())


def test_a_safetensors_file_from_elsewhere_is_read(tmp_path):
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "foreign.safetensors")
    assert checkpoint.load(other, tmp_path / "foreign.safetensors") == {}
    assert state_bits(other) == state_bits(model)


def small_file(folder):
    path = folder / "whole.safetensors"
    model = nn.Linear(2, 1)
    checkpoint.save(model, path, {"epoch": "3"})
    return path, state_bits(model)


def test_every_truncation_is_found_and_leaves_the_model(tmp_path):
    path, _ = small_file(tmp_path)
    whole = path.read_bytes()
    model = nn.Linear(2, 1)
    before = state_bits(model)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointBroken, match=r"whole\.safetensors cannot be used"):
            checkpoint.load(model, path)
        assert state_bits(model) == before


def test_every_flipped_bit_is_found_or_changes_nothing_that_is_loaded(tmp_path):
    path, saved = small_file(tmp_path)
    whole = path.read_bytes()
    model = nn.Linear(2, 1)
    before = state_bits(model)
    unnoticed = []
    for i in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[i // 8] ^= 1 << i % 8
        path.write_bytes(damaged)
        try:
            texts = checkpoint.load(model, path)
        except CheckpointBroken:
            assert state_bits(model) == before
            continue
        assert state_bits(model) == saved
        assert texts.items() >= {"epoch": "3"}.items()
        unnoticed.append(i // 8)
        model = nn.Linear(2, 1)
        before = state_bits(model)
    # Only the name of the digest's own entry can be hit: then the file reads as one from elsewhere.
    name = whole.index(checkpoint.DIGEST.encode())
    assert set(unnoticed) <= set(range(name, name + len(checkpoint.DIGEST)))


def test_in_a_sealed_file_every_flipped_bit_is_found(tmp_path):
    """The seal's own name too: without it the file is none that a run has written."""
    path, saved = small_file(tmp_path)
    whole = path.read_bytes()
    model = nn.Linear(2, 1)
    before = state_bits(model)
    for i in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[i // 8] ^= 1 << i % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointBroken):
            checkpoint.load(model, path, sealed=True)
    assert state_bits(model) == before
    path.write_bytes(whole)
    assert checkpoint.load(model, path, sealed=True) == {"epoch": "3"}
    assert state_bits(model) == saved


def test_a_file_from_elsewhere_is_not_sealed(tmp_path):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file(nn.Linear(2, 1).state_dict(), path)
    with pytest.raises(CheckpointBroken, match="it has no sha256 of its content"):
        checkpoint.load(nn.Linear(2, 1), path, sealed=True)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_other_file_is_refused(folder, data):
    path = folder / "other.bin"
    path.write_bytes(data)
    try:
        with pytest.raises(CheckpointBroken):
            checkpoint.metadata(path)
    finally:
        path.unlink()


class Payload:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    ran = tmp_path / "ran"
    path = tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Payload(ran)))
    with pytest.raises(CheckpointBroken):
        checkpoint.load(nn.Linear(2, 1), path)
    assert not ran.exists()
    pickle.loads(path.read_bytes())
    assert ran.exists()  # it would have run


@pytest.mark.parametrize("missing", ["absent.safetensors", "."])
def test_a_missing_file_is_named(tmp_path, missing):
    with pytest.raises(CheckpointBroken, match="there is no such file") as caught:
        checkpoint.load(nn.Linear(2, 1), tmp_path / missing)
    assert caught.value.path == tmp_path / missing


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (nn.Linear(2, 1, bias=False), "the model has no 'bias'"),
        (nn.Linear(3, 1), r"'weight' is torch.float32 \(1, 2\), the model's is torch.float32 \(1, 3\)"),
        (nn.Linear(2, 1).double(), r"'weight' is torch.float32 \(1, 2\), the model's is torch.float64"),
        (nn.Sequential(nn.Linear(2, 1)), "the model's '0.weight' is not in it.*and 1 more"),
    ],
)
def test_a_model_that_does_not_fit_is_left_as_it_was(tmp_path, other, reason):
    path, _ = small_file(tmp_path)
    before = state_bits(other)
    with pytest.raises(CheckpointBroken, match=reason):
        checkpoint.load(other, path)
    assert state_bits(other) == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch, call):
    path, saved = small_file(tmp_path)

    def fail(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(nn.Linear(2, 1), path)
    monkeypatch.undo()
    model = nn.Linear(2, 1)
    assert checkpoint.load(model, path) == {"epoch": "3"}
    assert state_bits(model) == saved
    assert os.listdir(tmp_path) == [path.name]


class WithExtraState(nn.Linear):
    def get_extra_state(self):
        return {"a": 1}


def test_a_state_that_is_no_tensor_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'_extra_state' of the model's state is no tensor"):
        checkpoint.save(WithExtraState(2, 1), tmp_path / "extra.safetensors")
    with pytest.raises(ValueError, match="checkpoint's own"):
        checkpoint.save(nn.Linear(2, 1), tmp_path / "own.safetensors", {checkpoint.DIGEST: "0"})
    assert os.listdir(tmp_path) == []
