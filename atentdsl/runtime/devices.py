"""The device a run computes on, and the machine's description for its manifest."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch

from atentdsl.runtime import machine
from atentdsl.runtime.errors import DeviceUnavailable

__all__ = ["choose", "describe"]

NAMES = ("auto", "cpu", "cuda")


def choose(name: str) -> torch.device:
    """Return the device called "cpu" or "cuda"; "auto" takes the GPU where there is one.

    Raises:
        DeviceUnavailable: "cuda" was asked for and this machine has none, or the name is none of the three.

    >>> choose("cpu")
    device(type='cpu')
    """
    if name not in NAMES:
        raise DeviceUnavailable(f"unknown device {name!r}; choose one of {', '.join(NAMES)}")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = "torch was installed without CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        raise DeviceUnavailable(f"device cuda was asked for, but {built}; choose auto or cpu")
    # With its index, so that it compares equal to the device of the tensors that are put there.
    return torch.device("cuda", torch.cuda.current_device())


def describe() -> dict[str, Any]:
    """Describe the machine as JSON: processor, cores, threads, memory in bytes, torch's threads, GPUs; None if unknown.

    >>> sorted(describe())
    ['cores', 'cpu', 'gpus', 'memory', 'system', 'threads', 'torch_threads']
    """
    model, cores = machine.processor()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": model,
        "cores": cores,
        "threads": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory": machine.memory(),
        "gpus": _gpus(),
    }


def _gpus() -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [
        {"name": gpu.name, "memory": gpu.total_memory, "capability": f"{gpu.major}.{gpu.minor}"} for gpu in properties
    ]
