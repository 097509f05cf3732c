"""What of the machine this process may use: cores, by affinity and quota, and its resource limits."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

from atentdsl.runtime.health.finding import Finding

__all__ = ["cores", "limits", "quota", "threads"]

FEW_FILES = 256


def cores() -> float:
    """Return how many cores' worth of time this process may use; no whole number where a quota is none.

    >>> cores() > 0
    True
    """
    # macOS has no affinity.
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = quota()
    return number if allowed is None else min(number, allowed)


def quota(proc: Path = Path("/proc/self")) -> float | None:
    """Return the cores that the control groups of this process allow, the least of all above it; None for no limit.

    `proc` is this process's folder of the proc file system.

    >>> quota(Path("no-such-folder")) is None
    True
    """
    try:
        mounts = (proc / "mountinfo").read_text().splitlines()
        groups = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    except OSError:  # no Linux
        return None
    found = []
    for line in mounts:
        # proc(5): the mounted part is the 4th field, the place the 5th; type, source and options follow a dash.
        fields, _, (kind, _, options) = line.split(), None, line.split(" - ", 1)[-1].split(" ", 2)
        if kind == "cgroup2":
            own = [path for number, _, path in groups if number == "0"]
        elif kind == "cgroup" and "cpu" in options.split(","):
            own = [path for _, controllers, path in groups if "cpu" in controllers.split(",")]
        else:
            continue
        for path in own:
            # Inside a container the group may be named from outside, where its mount is the group itself.
            inside = Path(path.removeprefix(fields[3]) if fields[3] != "/" else path)
            place = Path(fields[4]) / str(inside).lstrip("/")
            above = [place, *(folder for folder in place.parents if folder.is_relative_to(fields[4]))]
            found += [allowed for folder in above if (allowed := _group_quota(folder)) is not None]
    return min(found, default=None)


def _group_quota(folder: Path) -> float | None:
    """The cores that one control group allows, by either version's files."""
    try:
        if (folder / "cpu.max").is_file():
            most, period = (folder / "cpu.max").read_text().split()
        else:
            most, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if most in {"max", "-1"} else int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def threads(taken: int | None, available: float) -> tuple[Finding, ...]:
    """Find more threads of torch (`taken`, None if unknown) than cores.

    >>> [finding.wrong for finding in threads(8, 1.5)]
    ['torch computes with 8 threads, and this process may use 1.5 cores']
    >>> threads(2, 1.5)
    ()
    """
    most = max(1, math.ceil(available))
    if taken is None or taken <= most:
        return ()
    wrong = f"torch computes with {taken} threads, and this process may use {available:g} core{'s' * (available != 1)}"
    return (Finding("threads", wrong, f"set OMP_NUM_THREADS={most}: threads that wait for a core slow the others"),)


def limits() -> tuple[Finding, ...]:
    """Find resource limits of this process that training or a checkpoint can run into.

    >>> all(finding.about == "limits" for finding in limits())
    True
    """
    found = []
    for name, what, flag in (
        (resource.RLIMIT_AS, "address space", "v"),
        (resource.RLIMIT_FSIZE, "a file's size", "f"),
    ):
        most, _ = resource.getrlimit(name)
        if most != resource.RLIM_INFINITY:
            wrong = f"{what} is limited to {most} bytes"
            found.append(Finding("limits", wrong, f"`ulimit -{flag} unlimited` before atentdsl, where it is allowed"))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < FEW_FILES:
        wrong = f"only {files} files may be open at once"
        found.append(Finding("limits", wrong, f"`ulimit -n {FEW_FILES}` or more before atentdsl, where it is allowed"))
    return tuple(found)
