"""Memory that is exhausted for real is told from every other error, and a batch that fits is found."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atentdsl.runtime.memory import SAID, fitting, is_exhausted

# The address space ends a little above what is used already; then more than that is asked for.
CHILD = """
import resource, sys
from pathlib import Path
import numpy, torch
from atentdsl.runtime.memory import fitting, is_exhausted
torch.set_num_threads(1)
torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3))
ways = {
    "torch.empty": lambda n: torch.empty(n, dtype=torch.uint8),
    "torch.ones + 1": lambda n: torch.ones(n // 4) + 1,
    "numpy.empty": lambda n: numpy.empty(n, dtype=numpy.uint8),
    "bytearray": lambda n: bytearray(n),
    "convolution": lambda n: torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8).expand(n // 2304, 1, 8, 8),
                                                       torch.ones(16, 1, 3, 3)),
}
for name, way in ways.items():
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 64 * 2**20, resource.RLIM_INFINITY))
    try:
        way(2**30)
        print(f"{name}|none")
    except Exception as error:
        print(f"{name}|{is_exhausted(error)}|{type(error).__name__}: {error}".splitlines()[0])
    print(f"{name} fits|{fitting(way, 2**30)}")
try:
    torch.ones(2) + torch.ones(3)
except RuntimeError as error:
    print(f"shapes|{is_exhausted(error)}")
"""


@pytest.fixture(scope="module")
def met():
    """What each way of asking for too much memory met."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux says in /proc how much is used, and heeds RLIMIT_AS")
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(line.split("|", 1) for line in done.stdout.splitlines() if "|" in line)


@pytest.mark.parametrize("way", ["torch.empty", "torch.ones + 1", "numpy.empty", "bytearray", "convolution"])
def test_an_exhausted_allocation_is_seen_and_one_that_fits_is_found(met, way):
    assert met[way].startswith("True|"), met[way]
    fits = int(met[f"{way} fits"])
    assert 2**20 <= fits <= 64 * 2**20, "64 MiB are left, and not all in one piece"


def test_other_errors_are_others(met):
    assert met["shapes"] == "False"
    for error in (ValueError("out of memory"), OSError(12, "Cannot allocate memory"), KeyboardInterrupt()):
        assert not is_exhausted(error)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), *map(RuntimeError, SAID)]
)
def test_what_the_allocators_say_is_known(error):
    assert is_exhausted(error)


@pytest.fixture(scope="module")
def _little_to_collect():
    """Each trial collects garbage first, and need not look through all that this process has loaded."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_little_to_collect")
@settings(max_examples=25)
@given(st.integers(1, 600), st.integers(0, 300))
def test_the_largest_of_the_halves_that_fits_is_found(batch, most):
    tried = []

    def trial(size):
        tried.append(size)
        if size > most:
            raise MemoryError

    halves = [batch >> i for i in range(1, batch.bit_length())]
    assert fitting(trial, batch) == next((half for half in halves if half <= most), None)
    assert tried == halves[: sum(half > most for half in halves) + 1], "downwards, and no further than need be"


@pytest.mark.usefixtures("_little_to_collect")
@settings(max_examples=10)
@given(st.integers(2, 600))
def test_another_error_of_the_trial_is_not_hidden(batch):
    def trial(size):
        raise RuntimeError(f"shapes differ at {size}")

    with pytest.raises(RuntimeError, match=f"shapes differ at {batch // 2}$"):
        fitting(trial, batch)
