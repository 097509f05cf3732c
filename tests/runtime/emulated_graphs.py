"""CUDA graphs on the processor, for what drives them: operations are recorded, undone, and made again at a replay.

As with the device's own, capturing computes nothing; a replay reads and writes the tensors that were there, keeps every
Python number as it was, and draws from generators as they stand; asking a tensor for its number is refused.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recording(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls, self.before = [], {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for argument, value in zip(func._schema.arguments, args, strict=False):
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written or argument.name.startswith("running_"):  # batch norm's schema does not say that it writes
                for tensor in tensors(value):
                    storage = tensor.untyped_storage()
                    self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        out = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, out))
        return out

    def undo(self):
        for storage, old in self.before.values():
            storage.copy_(old)


class Graph:
    def __init__(self):
        self.calls, self.registered, self.replays = [], [], 0

    def register_generator_state(self, generator):
        self.registered.append(generator)

    def replay(self):
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, out in self.calls:
                if kwargs.get("generator") is not None:  # another Python object for the same generator
                    seeds = [known.initial_seed() for known in self.registered]
                    assert kwargs["generator"].initial_seed() in seeds, "it is not registered"
                for old, new in zip(tensors(out), tensors(func(*args, **kwargs)), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)

    def reset(self):
        self.calls = []


def refused(tensor):
    raise RuntimeError("operation not permitted when stream is capturing")


def tensors(value):
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def emulate(monkeypatch):
    """Puts the emulation in the place of torch.cuda's graphs and streams; the graphs that are captured, in order."""
    captured = []

    @contextmanager
    def capturing(graph, stream):
        recording, state = Recording(), torch.get_rng_state()
        with monkeypatch.context() as within:
            within.setattr(torch.Tensor, "item", refused)
            try:
                with recording:
                    yield
            finally:
                recording.undo()
                torch.set_rng_state(state)
        graph.calls = recording.calls
        captured.append(graph)

    def stream(device=None):
        return SimpleNamespace(wait_stream=lambda other: None)

    for name, own in {
        "CUDAGraph": Graph,
        "graph": capturing,
        "Stream": stream,
        "current_stream": stream,
        "stream": lambda own: nullcontext(),
        "synchronize": lambda device=None: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, own)
    return captured
