"""What this machine offers, and what is wrong with it: facts, and findings with how to mend them.

Nothing is left behind: what is tried in a folder is tried in a temporary one of its own. torch is loaded only by a
process of its own, so that a broken one is a finding and no crash.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.runtime import machine
from atentdsl.runtime.health import allowance, data, folders, libraries
from atentdsl.runtime.health.finding import Finding

if TYPE_CHECKING:
    from atentdsl.runtime.health.data import Data
    from atentdsl.runtime.health.folders import Folder
    from atentdsl.runtime.health.libraries import Device

__all__ = ["Facts", "Finding", "Health", "Precision", "Processor", "Versions", "examine"]

# Instructions that multiply bfloat16 numbers; without them torch computes in float32 and rounds, which is slower.
BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
BFLOAT16_CAPABILITY = (8, 0)


@attrs.frozen
class Versions:
    """What is installed, whether it works or not; None for what is not.

    `cuda` is the version that torch was built for.
    """

    atentdsl: str | None
    python: str
    torch: str | None
    torchvision: str | None
    cuda: str | None


@attrs.frozen
class Processor:
    """The processor, what of it this process may use, and what torch takes; None for what is not known.

    `cores` are physical, `threads` what the system shows as processors, `available` is less where an affinity or a
    quota says so, and then need not be whole; `memory` is in bytes.
    """

    name: str | None
    cores: int | None
    threads: int | None
    available: float
    memory: int | None
    torch_threads: int | None
    omp_num_threads: str | None
    omp_wait_policy: str | None


@attrs.frozen
class Precision:
    """On what each number format computes; `bfloat16` names the hardware for it by device, None where there is none."""

    float32: bool
    bfloat16: dict[str, str | None]


@attrs.frozen
class Facts:
    """What the machine offers; `no_cuda` says why torch finds no CUDA device, None where it finds one."""

    versions: Versions
    processor: Processor
    devices: tuple[Device, ...]
    no_cuda: str | None
    precision: Precision
    data: Data
    out: Folder


@attrs.frozen
class Health:
    """Facts and findings; nothing is wrong where there is no finding."""

    facts: Facts
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON, `{"facts": ..., "findings": [...]}`."""
        return attrs.asdict(self)


def examine(data_root: Path | None = None, out: Path = Path("runs")) -> Health:
    """Examine this machine for runs that write below `out` and read data where `data_root` and the environment say.

    >>> health = examine()
    >>> health.facts.precision.float32
    True
    >>> sorted(health.to_json())
    ['facts', 'findings']
    """
    found = libraries.libraries()
    name, cores = machine.processor()
    processor = Processor(
        name=name,
        cores=cores,
        threads=os.cpu_count(),
        available=allowance.cores(),
        memory=machine.memory(),
        torch_threads=found.threads,
        omp_num_threads=os.environ.get("OMP_NUM_THREADS"),
        omp_wait_policy=os.environ.get("OMP_WAIT_POLICY"),
    )
    data_facts, data_findings = data.data(data_root, found.digits)
    out_facts, out_findings = folders.out(out)
    facts = Facts(
        Versions(_installed("atentdsl"), python_version(), found.torch, found.torchvision, found.cuda),
        processor,
        found.devices,
        found.no_cuda,
        Precision(True, bfloat16(machine.processor_flags(), found.devices)),
        data_facts,
        out_facts,
    )
    findings = (
        *found.findings,
        *allowance.threads(found.threads, processor.available),
        *allowance.limits(),
        *data_findings,
        *out_findings,
    )
    return Health(facts, findings)


def bfloat16(flags: frozenset[str], devices: tuple[Device, ...]) -> dict[str, str | None]:
    """Name, for the processor and each device, the hardware for bfloat16; None where there is none.

    >>> bfloat16(frozenset({"avx2", "avx512_bf16"}), ())
    {'cpu': 'avx512_bf16'}
    """
    named: dict[str, str | None] = {"cpu": ", ".join(flag for flag in BFLOAT16_FLAGS if flag in flags) or None}
    for device in devices:
        able = tuple(map(int, device.capability.split("."))) >= BFLOAT16_CAPABILITY
        named[device.name] = f"capability {device.capability}" if able else None
    return named


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
