"""Real file systems for real faults: a small one that fills up, and a read-only one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


class Small:
    """A tmpfs whose size can be changed; its files lie in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, size: int) -> None:
        mount("-o", f"remount,size={size}", str(self.path))

    def read_only(self, on: bool) -> None:
        mount("-o", f"remount,{'ro' if on else 'rw'}", str(self.path))

    @property
    def used(self) -> int:
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this process may not mount a file system: {done.stderr.strip()}")


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path))
    yield Small(path)
    subprocess.run(["umount", "-l", str(path)], check=False)
