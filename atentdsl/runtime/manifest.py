"""What a run was: versions, hardware, seed, and the hashes of its data and its code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import torch

from atentdsl.runtime import devices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atentdsl.runtime.policy import Policy

__all__ = ["manifest", "resumed", "sha256_text", "versions"]


def manifest(
    *,
    seed: int,
    device: torch.device | str,
    policy: Policy,
    recipe_hash: str,
    module_hash: str,
    data_hashes: Mapping[str, str],
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Make the manifest of a run that starts now, ready for `RunDirectory.write_json`.

    `policy` is what was chosen for the device, `recipe_hash` and `module_hash` are the `sha256_text` of the files in
    the run directory, `data_hashes` the images' digests by their part ("training", "validation", "test"), `command` the
    command line, None where there was none.

    >>> from atentdsl.runtime.policy import AS_WRITTEN
    >>> made = manifest(seed=1, device="cpu", policy=AS_WRITTEN, recipe_hash="a", module_hash="b", data_hashes={})
    >>> list(made)[:6]
    ['started', 'command', 'seed', 'device', 'policy', 'versions']
    >>> list(made)[6:]
    ['hardware', 'recipe_sha256', 'module_sha256', 'data_sha256']
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": None if command is None else list(command),
        "seed": seed,
        "device": str(device),
        "policy": attrs.asdict(policy),
        "versions": versions(),
        "hardware": devices.describe(),
        "recipe_sha256": recipe_hash,
        "module_sha256": module_hash,
        "data_sha256": dict(data_hashes),
    }


def sha256_text(text: str) -> str:
    """Hash `text` in UTF-8 with sha256; the result is hexadecimal.

    >>> sha256_text("")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(text.encode()).hexdigest()


def resumed(
    step: int, device: torch.device | str, policy: Policy, command: Sequence[str] | None = None
) -> dict[str, Any]:
    """Make the entry of a run's manifest that says who went on with it, after how many outer steps.

    >>> from atentdsl.runtime.policy import AS_WRITTEN
    >>> list(resumed(3, "cpu", AS_WRITTEN))
    ['at', 'step', 'command', 'device', 'policy', 'versions', 'hardware']
    """
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "command": None if command is None else list(command),
        "device": str(device),
        "policy": attrs.asdict(policy),
        "versions": versions(),
        "hardware": devices.describe(),
    }


def versions() -> dict[str, str | None]:
    """Take torch's and its CUDA's from torch itself, the others from what is installed, which imports nothing."""
    return {
        "atentdsl": _installed("atentdsl"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": _installed("torchvision"),
        "numpy": _installed("numpy"),
        "cuda": torch.version.cuda,
    }


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
