"""The processor and the memory of this machine, as the system tells; loads no torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["memory", "processor", "processor_flags"]

CPUINFO = Path("/proc/cpuinfo")


def processor() -> tuple[str | None, int | None]:
    """Read the processor's name and the number of physical cores; None for what the system does not tell.

    >>> name, cores = processor()
    >>> cores is None or cores > 0
    True
    """
    name: str | None = platform.processor() or None
    cores: set[tuple[str, str]] = set()
    for facts in _cpuinfo():
        name = facts.get("model name", name)
        if "core id" in facts:
            cores.add((facts.get("physical id", "0"), facts["core id"]))
    return name, len(cores) or None


def processor_flags() -> frozenset[str]:
    """Read the names of the processor's instruction sets, such as `avx2`; empty where the system does not tell.

    >>> "no_such_instructions" in processor_flags()
    False
    """
    # x86 calls them flags, ARM features.
    lines = [facts.get(key, "") for facts in _cpuinfo() for key in ("flags", "Features")]
    return frozenset(" ".join(lines).split())


def memory() -> int | None:
    """Read how many bytes of memory the machine has; None where the system does not tell.

    >>> memory() is None or memory() > 0
    True
    """
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _cpuinfo() -> list[dict[str, str]]:
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        return []
    blocks = ([line.split(":", 1) for line in block.splitlines() if ":" in line] for block in text.split("\n\n"))
    return [{key.strip(): value.strip() for key, value in block} for block in blocks]
