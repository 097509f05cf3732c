"""Nested values survive the way into a snapshot and back, bit for bit, and nothing else gets in."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atentdsl.runtime import checkpoint, snapshot
from atentdsl.runtime.errors import CheckpointBroken
from atentdsl.runtime.tree import pack, unpack

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
    torch.bool, torch.complex64,
]  # fmt: skip
LAYOUTS = ["contiguous", "transposed", "channels_last", "expanded", "sliced"]


@st.composite
def tensors(draw):
    """A tensor of any bits, NaNs with their payloads too, 0-dim and empty ones too, laid out in any way."""
    dtype = draw(st.sampled_from(DTYPES))
    layout = draw(st.sampled_from(LAYOUTS))
    sizes = st.integers(0, 3)
    shape = draw(st.lists(sizes, min_size=4, max_size=4) if layout == "channels_last" else st.lists(sizes, max_size=4))
    size = math.prod(shape) * dtype.itemsize
    data = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        data = bytearray(byte & 1 for byte in data)
    tensor = (torch.frombuffer(data, dtype=dtype) if size else torch.empty(0, dtype=dtype)).reshape(shape)
    match layout:
        case "transposed" if tensor.dim() > 1:
            return tensor.permute(draw(st.permutations(range(tensor.dim()))))
        case "channels_last":
            return tensor.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        case "expanded":
            return tensor.unsqueeze(0).expand(draw(st.integers(0, 3)), *tensor.shape)
        case "sliced" if tensor.dim():
            return tensor[..., 1:] if draw(st.booleans()) else tensor[..., ::2]
    return tensor


numbers = st.integers(-(2**200), 2**200) | st.floats() | st.booleans() | st.none()
keys = st.text(max_size=6) | st.integers()
values = st.recursive(
    tensors() | numbers | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


def elements(tensor):
    """What a tensor is but for where it lies: its dtype, shape, and bytes in order."""
    flat = tensor.clone(memory_format=torch.contiguous_format).flatten()
    return tensor.dtype, tuple(tensor.shape), flat.view(torch.uint8).tolist()


def fills_its_memory(tensor):
    """Each place between its first element and its last holds exactly one of its elements."""
    places = [0]
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = [place + i * stride for place in places for i in range(size)]
    return sorted(places) == list(range(len(places))) and len(places) > 0


def alike(one, other):
    """Types, keys and their order, bits; strides too where the elements fill their memory."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert elements(one) == elements(other)
        if fills_its_memory(one):
            assert one.stride() == other.stride()
    elif isinstance(one, dict):
        assert [(type(key), key) for key in one] == [(type(key), key) for key in other]
        for key, value in one.items():
            alike(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            alike(mine, theirs)
    elif isinstance(one, float):
        assert math.isnan(one) == math.isnan(other)
        assert math.isnan(one) or struct.pack("d", one) == struct.pack("d", other)
    else:
        assert one == other


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [found for item in value for found in tensors_in(item)] if isinstance(value, list | tuple) else []


@settings(max_examples=150)
@given(values)
def test_what_is_packed_is_unpacked_bit_for_bit(value):
    document, stored = pack(value)
    alike(value, unpack(json.loads(json.dumps(document)), stored))


@settings(max_examples=50)
@given(values)
def test_each_tensor_has_a_name_and_memory_of_its_own(value):
    _, stored = pack(value)
    assert len(stored) == len(tensors_in(value))
    assert all(tensor.is_contiguous() for tensor in stored.values())
    given_places = {tensor.untyped_storage().data_ptr() for tensor in tensors_in(value) if tensor.numel()}
    places = [tensor.untyped_storage().data_ptr() for tensor in stored.values() if tensor.numel()]
    assert len(set(places) - given_places) == len(places)


@settings(max_examples=30)
@given(values)
def test_a_snapshot_gives_back_what_it_was_given(tmp_path_factory, value):
    path = snapshot.write(tmp_path_factory.mktemp("snapshots"), 3, {"value": value}, {})
    alike({"value": value}, snapshot.read(path))


@settings(max_examples=50)
@given(tensors())
def test_a_later_change_in_place_does_not_reach_what_was_packed(tensor):
    tensor = tensor.clone(memory_format=torch.contiguous_format)  # what lies on itself cannot be changed in place
    document, stored = pack({"state": [tensor]})
    before = elements(tensor)
    tensor.flatten().view(torch.uint8).bitwise_xor_(1)
    assert elements(tensor) != before or not tensor.numel()
    (unpacked,) = unpack(document, stored)["state"]
    assert elements(unpacked) == before


def test_names_say_where_a_tensor_stands_and_are_unique():
    one, two, three, four = (torch.full((2,), float(i)) for i in range(4))
    value = {"a/0": one, "a": [two], "1": three, 1: four}
    document, stored = pack(value)
    assert list(stored) == ["a/0", "a/0'", "1", "1'"]
    alike(value, unpack(document, stored))


def test_a_single_channel_keeps_its_layout():
    """Torch calls it contiguous in both layouts, and a convolution still picks its algorithm by the strides."""
    image = torch.rand(2, 1, 4, 4).to(memory_format=torch.channels_last)
    packed = unpack(*pack(torch.empty_strided((2, 1, 4, 4), (16, 1, 4, 1)).copy_(image)))
    assert packed.stride() == (16, 1, 4, 1)


def test_a_parameter_is_a_tensor_afterwards():
    parameter = torch.nn.Parameter(torch.ones(2))
    unpacked = unpack(*pack([parameter]))[0]
    assert type(unpacked) is torch.Tensor
    assert not unpacked.requires_grad


@attrs.frozen
class Point:
    x: int = 0


@pytest.mark.parametrize(
    ("value", "place", "said"),
    [
        ({"state": [0, {"best": object()}]}, "state/1/best", "is a object"),
        ({"state": ({1, 2},)}, "state/0", "is a set"),
        ({"state": {3: Point()}}, "state/3", "is a Point"),
        ({"state": Path("x")}, "state", "is a "),
        ({"state": b"bytes"}, "state", "is a bytes"),
        ({"state": torch.float32}, "state", "is a dtype"),
        ({"state": 1j}, "state", "is a complex"),
        ({"state": {"inner": {0.5: 1}}}, "state/inner", "has the key 0.5"),
        ({"state": {None: 1}}, "state", "has the key None"),
        (object(), "the value", "is a object"),
        ({(1, 2): 3}, "the value", r"has the key (1, 2)"),
    ],
)
def test_what_cannot_be_packed_is_refused_by_its_place(value, place, said):
    with pytest.raises(TypeError) as caught:
        pack(value)
    assert str(caught.value).startswith(f"{place} {said}")


@pytest.mark.parametrize(
    "document",
    [
        {"object": 1}, {}, {"dict": [], "list": []}, {"tensor": "absent"}, {"strided": ["a"]}, {"dict": [[1]]},
        {"list": None}, {"dict": [[[], 1]]}, {"strided": ["a", [1]]}, {"strided": ["a", [-1, 1]]},
    ],
)  # fmt: skip
def test_a_document_that_pack_does_not_make_is_no_snapshot(tmp_path, document):
    path = tmp_path / "step-00000001.safetensors"
    texts = {"content": json.dumps(document), "identity": json.dumps({"format": str(snapshot.FORMAT)})}
    checkpoint.write(path, {"a": torch.ones(2, 3)}, texts)
    with pytest.raises(CheckpointBroken, match="it is no snapshot of a run"):
        snapshot.read(path)
