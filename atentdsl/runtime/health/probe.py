"""What torch, torchvision and scikit-learn say on this machine; run as a process of its own, which they may end.

A line of JSON for each, as soon as it is known: `{"torch": {...}}` or, where it failed, `{"torch": {"error": ...}}`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]


def main() -> None:
    """Print what is found, stage after stage; the first that fails is the last.

    >>> main.__module__.endswith("probe")
    True
    """
    for name, stage in (("torch", _torch), ("torchvision", _torchvision), ("digits", _digits)):
        print(json.dumps({name: _tried(stage)}), flush=True)


def _tried(stage: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return stage()
    except Exception as error:  # a library that is broken raises whatever it happens to raise
        return {"error": f"{type(error).__name__}: {error}"}


def _torch() -> dict[str, Any]:
    import torch

    torch.ones(2, 2) @ torch.ones(2, 2)  # instructions that the processor lacks end the process here
    found = {"version": str(torch.__version__), "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
    return {**found, **_cuda()}


def _cuda() -> dict[str, Any]:
    import torch

    if torch.version.cuda is None:
        return {"devices": [], "no_cuda": "torch was installed without CUDA"}
    try:
        torch.empty(0, device="cuda")
        number = torch.cuda.device_count()
    except Exception as error:  # driver missing or too old, or all devices hidden
        return {"devices": [], "no_cuda": str(error).split(". ")[0]}
    return {"devices": [_device(place) for place in range(number)], "no_cuda": None}


def _device(place: int) -> dict[str, Any]:
    import torch

    found = torch.cuda.get_device_properties(place)

    def used() -> dict[str, Any]:
        # A device that torch was not compiled for, or that is broken or full, shows itself only when it computes.
        return {"two": (torch.ones(1, device=f"cuda:{place}") + 1).item()}

    return {
        "name": f"cuda:{place}",
        "model": found.name,
        "memory": found.total_memory,
        "capability": f"{found.major}.{found.minor}",
        "error": _tried(used).get("error"),
    }


def _torchvision() -> dict[str, Any]:
    import torch
    import torchvision

    # An operator of its own, which is not there where it was built for another torch.
    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    return {"version": str(torchvision.__version__)}


def _digits() -> dict[str, Any]:
    from atentdsl.runtime import datasets
    from atentdsl.runtime.errors import DataMissing

    try:
        datasets.load("digits")
    except DataMissing as error:
        return {"missing": error.missing, "put": error.put, "instead": error.instead}
    return {}


if __name__ == "__main__":
    # Started by its path, without the folder that it lies in: the project is found as it was by who started it.
    sys.path.append(str(Path(__file__).parents[3]))
    main()
