"""Nested values as JSON and tensors: what a checkpoint holds besides weights, without pickled code.

A tensor becomes a name, under which it is stored; dicts, lists, tuples, numbers, texts, booleans and None become JSON
that tells them apart. A dense tensor comes back with its strides: a convolution rounds by its input's layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["mapped", "pack", "unpack"]


def pack(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """The value as a JSON document and its tensors, copied to the CPU, by names that say where they stand.

    Raises:
        TypeError: something in it is none of these; says where.

    >>> document, tensors = pack({"step": 3, "sums": [torch.ones(2)]})
    >>> tensors
    {'sums/0': tensor([1., 1.])}
    >>> unpack(document, tensors)
    {'step': 3, 'sums': [tensor([1., 1.])]}
    """
    tensors: dict[str, Tensor] = {}
    return _packed(value, "", tensors), tensors


def unpack(document: Any, tensors: dict[str, Tensor]) -> Any:
    """The value that `pack` was given, with its tensors on the CPU.

    Raises:
        KeyError, ValueError, TypeError, RuntimeError: the document is none that `pack` makes, or a tensor is not there.
    """
    if not isinstance(document, dict):
        return document
    ((kind, content),) = document.items()
    match kind:
        case "dict":
            return {key: unpack(value, tensors) for key, value in content}
        case "list":
            return [unpack(value, tensors) for value in content]
        case "tuple":
            return tuple(unpack(value, tensors) for value in content)
        case "tensor":
            return tensors[content]
        case "strided":
            name, strides = content
            stored = tensors[name]
            return torch.empty_strided(stored.shape, strides, dtype=stored.dtype).copy_(stored)
    raise ValueError(f"unknown kind {kind!r}")


def mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Nested dicts, lists and tuples with every tensor changed, in order; whatever else stands there stays.

    >>> mapped({"step": 3, "sums": [torch.ones(2)]}, lambda tensor: tuple(tensor.shape))
    {'step': 3, 'sums': [(2,)]}
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: mapped(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(mapped(item, change) for item in value)
    return value


def _packed(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        name = place or "value"
        while name in tensors:  # a key may hold a slash
            name += "'"
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        if value.stride() == tensors[name].stride() or not _dense(value):
            return {"tensor": name}
        return {"strided": [name, list(value.stride())]}
    inside = f"{place}/" if place else ""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str | int):
                raise TypeError(f"{place or 'the value'} has the key {key!r}, which is neither a text nor an integer")
        return {"dict": [[key, _packed(item, f"{inside}{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_packed(item, f"{inside}{i}", tensors) for i, item in enumerate(value)]}
    raise TypeError(f"{place or 'the value'} is a {type(value).__name__}, which a checkpoint cannot hold")


def _dense(tensor: Tensor) -> bool:
    """Whether the tensor's elements fill its memory without gaps or overlaps, in whatever order."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True
