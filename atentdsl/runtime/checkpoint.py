"""A model's weights in one safetensors file: written atomically, read without running any code.

The header carries, besides the caller's texts, a sha256 of everything in the file, so that damage is found when reading
and not in the numbers of a report. A safetensors file from elsewhere has no such entry. It is read without this check,
unless the caller asks for a sealed file, as everything does that reads what a run has written.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import safetensors
import safetensors.torch
import torch

from atentdsl.runtime.directory import write_atomically
from atentdsl.runtime.errors import CheckpointBroken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["load", "metadata", "read", "save", "tensors_of", "write"]

DIGEST = "atentdsl.sha256"


def save(model: torch.nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the state of `model` (parameters and buffers) to `path`, with `metadata` in the header.

    Tensors that share their memory are written once a name, so that each name of the state can be read on its own.

    Raises:
        ValueError: an entry of the state is no tensor.
        OSError: the file cannot be written; what was at `path` is as it was.

    >>> import tempfile
    >>> from pathlib import Path
    >>> model = torch.nn.Linear(2, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, Path(folder) / "last.safetensors", {"epoch": "3"})
    ...     load(torch.nn.Linear(2, 1), Path(folder) / "last.safetensors")
    {'epoch': '3'}
    """
    write(path, tensors_of(model), metadata or {})


def tensors_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the model's state on the CPU, ready for `write`.

    Raises:
        ValueError: an entry of the state is no tensor.
    """
    tensors = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name!r} of the model's state is no tensor, and a checkpoint holds tensors only")
        # A clone of its own: safetensors refuses tensors that share memory or lie in it with gaps.
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return tensors


def write(path: Path, tensors: Mapping[str, torch.Tensor], texts: Mapping[str, str]) -> None:
    """Write tensors and texts to one file, sealed with the sha256 of them all.

    Args:
        path: the file.
        tensors: on the CPU, each contiguous and with memory of its own.
        texts: go into the header.

    Raises:
        ValueError: a text has the seal's name.
        OSError: the file cannot be written; what was at `path` is as it was.
    """
    if DIGEST in texts:
        raise ValueError(f"the metadata key {DIGEST!r} is the checkpoint's own")
    header = {**texts, DIGEST: _digest(tensors, texts)}
    write_atomically(path, safetensors.torch.save(dict(tensors), metadata=header))


def load(model: torch.nn.Module, path: Path, sealed: bool = False) -> dict[str, str]:
    """Copy the weights at `path` into `model`, bit for bit, on its device, and return what `metadata` does.

    With `sealed` a file without the sha256 that `save` writes is refused.

    Raises:
        CheckpointBroken: the file is missing, damaged, or holds other names, shapes or dtypes than the model; the model
            is as it was.
    """
    tensors, texts = read(path, sealed)
    state = model.state_dict()
    reasons = [f"the model's {name!r} is not in it" for name in state if name not in tensors]
    reasons += [f"the model has no {name!r}" for name in tensors if name not in state]
    for name, tensor in tensors.items():
        own = state.get(name)
        if own is not None and (own.shape, own.dtype) != (tensor.shape, tensor.dtype):
            reasons.append(f"{name!r} is {_kind(tensor)}, the model's is {_kind(own)}")
    if reasons:
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise CheckpointBroken(path, "; ".join(reasons[:3]) + more)
    model.load_state_dict(tensors)
    return texts


def metadata(path: Path) -> dict[str, str]:
    """Return the texts that were saved with the weights at `path`; the whole file is checked.

    Raises:
        CheckpointBroken: the file is missing or damaged.
    """
    return read(path)[1]


def read(path: Path, sealed: bool = False) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors and the texts at `path`; the whole file is checked.

    With `sealed` a file without the sha256 that `write` adds is refused.

    Raises:
        CheckpointBroken: the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointBroken(path, "there is no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            texts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except Exception as error:
        # Damage can make any text of the header into any other; whatever that raises, the file cannot be read.
        raise CheckpointBroken(path, str(error)) from error
    expected = texts.pop(DIGEST, None)
    if expected is None and sealed:
        raise CheckpointBroken(path, "it has no sha256 of its content: it is damaged, or from elsewhere")
    if expected is not None and expected != _digest(tensors, texts):
        raise CheckpointBroken(path, "its content is not what was written (the sha256 differs)")
    return tensors, texts


def _digest(tensors: Mapping[str, torch.Tensor], texts: Mapping[str, str]) -> str:
    seen = hashlib.sha256(json.dumps(sorted(texts.items())).encode())
    for name, tensor in sorted(tensors.items()):
        seen.update(f"\n{name!r} {_kind(tensor)}\n".encode(errors="backslashreplace"))
        seen.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return seen.hexdigest()


def _kind(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
