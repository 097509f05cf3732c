"""Whether torch and torchvision work, and which devices torch finds; asked of a process of their own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.runtime.errors import DataMissing
from atentdsl.runtime.health.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Device", "Libraries", "libraries", "no_device"]

PROBE = Path(__file__).with_name("probe.py")
LIMIT = 180.0  # seconds; a first import from a slow disk can take a minute
VISIBLE = "CUDA_VISIBLE_DEVICES"
AGAIN = "install both anew, together: `python -m pip install --force-reinstall torch torchvision`"


@attrs.frozen
class Device:
    """A CUDA device: `name` as torch calls it, `model`, `memory` in bytes, `capability` such as "9.0".

    `error` is what came of computing on it, None where it works.
    """

    name: str
    model: str
    memory: int
    capability: str
    error: str | None


@attrs.frozen
class Libraries:
    """What was found.

    Attributes:
        torch, torchvision: the installed versions, whether they work or not; None where there is none.
        cuda: the CUDA version that torch was built for; None also where torch does not work.
        threads: what torch computes with; None where torch does not work.
        devices: the CUDA devices that torch finds.
        no_cuda: why it finds none, None where it finds some or does not work.
        digits: True where they are as published, what is wrong with them, or None where that is not known.
        findings: what is wrong.
    """

    torch: str | None
    torchvision: str | None
    cuda: str | None
    threads: int | None
    devices: tuple[Device, ...]
    no_cuda: str | None
    digits: DataMissing | bool | None
    findings: tuple[Finding, ...]


def libraries() -> Libraries:
    """Ask torch, torchvision and scikit-learn, in a process of their own, which takes some seconds.

    Raises nothing for what they lack or do: that is in `findings`, for the first of them that does not work.
    """
    said, ended = _asked()
    torch = said.get("torch", {})
    # What works knows best what it is; of what does not, the installation tells.
    versions = {name: said.get(name, {}).get("version") or _installed(name) for name in ("torch", "torchvision")}
    devices = tuple(Device(**device) for device in torch.get("devices", ()))
    findings = [*_broken(said, ended, versions)]
    for device in devices:
        if device.error:
            wrong = f"{device.name} ({device.model}) does not compute: {device.error}"
            findings.append(Finding("device", wrong, "install a torch that is built for it, or use --device cpu"))
    findings += no_device(torch.get("cuda"), torch.get("no_cuda"))
    digits: DataMissing | bool | None = None
    if "digits" in said and "error" not in said["digits"]:
        digits = DataMissing(**said["digits"]) if said["digits"] else True
    return Libraries(
        torch=versions["torch"],
        torchvision=versions["torchvision"],
        cuda=torch.get("cuda"),
        threads=torch.get("threads"),
        devices=devices,
        no_cuda=torch.get("no_cuda"),
        digits=digits,
        findings=tuple(findings),
    )


def no_device(cuda: str | None, why: str | None, root: Path = Path("/")) -> tuple[Finding, ...]:
    """Find that torch, built for `cuda`, sees no device (`why`) where there is a sign of one; `root` has sys and proc.

    A machine without a card, or with all of them hidden on purpose, is fine as it is.

    >>> no_device(None, "torch was installed without CUDA")
    ()
    """
    signs = [*_signs(root)]
    if cuda is None or why is None or os.environ.get(VISIBLE) in {"", "-1"} or not signs:
        return ()
    wrong = f"torch is built for CUDA {cuda} and finds no device, though {' and '.join(signs)}: {why}"
    mend = f"install the driver or a newer one, let the container have the device, correct or unset {VISIBLE}"
    return (Finding("device", wrong, f"{mend}; or use --device cpu"),)


def _signs(root: Path) -> Iterator[str]:
    """What speaks for a CUDA device on this machine."""
    for vendor in sorted((root / "sys/bus/pci/devices").glob("*/vendor")):
        try:
            # 0x10de is NVIDIA; a class of 0x03.... is a display or a 3D controller, and not its sound.
            card = vendor.read_text().strip() == "0x10de" and vendor.with_name("class").read_text().startswith("0x03")
        except OSError:
            continue
        if card:
            yield "there is an NVIDIA card"
            break
    if (root / "proc/driver/nvidia/version").is_file():
        yield "NVIDIA's driver is loaded"
    if os.environ.get(VISIBLE):
        yield f"{VISIBLE} is {os.environ[VISIBLE]}"


def _asked() -> tuple[dict[str, Any], str | None]:
    """What the probe said of each, and why it ended before it said all, None where it did not."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(PROBE)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    try:
        out, error = process.communicate(timeout=LIMIT)
        ended = None if process.returncode == 0 else _status(process.returncode, error)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        ended = f"no answer in {LIMIT:g} s"
    said: dict[str, Any] = {}
    for line in out.splitlines():
        with suppress(ValueError, TypeError):  # a library may print lines of its own
            said |= json.loads(line)
    return said, ended


def _status(code: int, error: str) -> str:
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}"
    last = [line.strip() for line in error.splitlines() if line.strip()]
    return last[-1] if last else f"the process ended with status {code}"


def _broken(said: dict[str, Any], ended: str | None, versions: dict[str, str | None]) -> Iterator[Finding]:
    """The first library that does not work: the others build on it, and would say the same in other words."""
    for name in ("torch", "torchvision", "digits"):
        if name not in said:
            why = ended or "nothing was said of it"
        elif "error" in said[name]:
            why = said[name]["error"].splitlines()[0]
        else:
            continue
        if name == "digits":
            mend = "install it anew: `python -m pip install --force-reinstall scikit-learn`"
            yield Finding("data", f"scikit-learn does not work: {why}", mend)
        elif versions[name] is None:
            yield Finding(name, f"{name} is not installed: {why}", AGAIN)
        elif name == "torch":
            yield Finding(name, f"torch {versions[name]} does not work: {why}", AGAIN)
        else:
            wrong = f"torchvision {versions[name]} does not fit torch {versions['torch']}: {why}"
            yield Finding(name, wrong, AGAIN)
        return


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
