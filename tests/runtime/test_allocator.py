"""Freed memory that is kept: the same tensors asked for again cost no new page, and what was set can be lifted."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from atentdsl.runtime import allocator

pytestmark = pytest.mark.skipif(not allocator.can_keep(), reason="the C library has no such setting, or it is made")

# Tensors of 12 and 40 MB, below and above what glibc ever keeps by itself, freed together and asked for again.
PROBE = """
import json, resource, sys
import torch
from atentdsl.runtime import allocator


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        held = [torch.ones(size, 250_000) for size in (12, 12, 12, 40)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()


torch.set_num_threads(1)
faults()
found = {"usual": faults()}
allocator.keep()
faults()
found["kept"] = faults()
before = resident()
with allocator.given_back():
    found["given back"] = before - resident()
    found["within"] = faults()
    found["grown"] = resident() - before
faults()
found["after"] = faults()
with allocator.usual():
    faults()
    found["usual again"] = faults()
faults()
found["kept again"] = faults()
json.dump(found, sys.stdout)
"""


def test_what_is_kept_costs_no_page_again_and_can_be_given_back_for_a_while():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["usual"] > 10_000, "or there is nothing to mend"
    assert found["kept"] < 100
    assert found["given back"] > 50e6
    assert found["within"] > 10_000
    assert found["grown"] < 1e6
    assert found["after"] < 100, "it is kept again"
    assert found["usual again"] > 10_000
    assert found["kept again"] < 100


@pytest.fixture
def put(monkeypatch):
    """What is put into the C library, which is left alone: it would stay so in the tests that follow."""
    found = []
    library = SimpleNamespace(mallopt=lambda *given: found.append(given), malloc_trim=lambda pad: None)
    monkeypatch.setattr(allocator, "_library", lambda: library)
    monkeypatch.setattr(allocator, "_kept", False)
    return found


KEPT = [(allocator.MMAP_THRESHOLD, allocator.KEPT), (allocator.TRIM_THRESHOLD, allocator.KEPT)]
AT_ONCE = [(allocator.MMAP_THRESHOLD, allocator.AT_ONCE)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072"),
    ],
)
def test_who_has_set_it_keeps_theirs(put, monkeypatch, name, value):
    allocator.keep()
    assert put == KEPT
    monkeypatch.setattr(allocator, "_kept", False)
    monkeypatch.setenv(name, value)
    assert not allocator.can_keep()
    allocator.keep()
    assert put == KEPT
    assert not allocator._kept


def test_a_block_that_fails_lifts_nothing(put):
    allocator.keep()
    with pytest.raises(KeyError), allocator.given_back():
        raise KeyError
    with pytest.raises(KeyError), allocator.usual():
        raise KeyError
    assert put[:5] == [*KEPT, *AT_ONCE, *KEPT]
    assert put[-2:] == KEPT


def test_what_is_to_be_kept_is_kept_after_the_block_and_the_blocks_around(put):
    with allocator.given_back():
        with allocator.given_back():
            allocator.keep()
        with allocator.usual():
            pass
        assert put == AT_ONCE * 2
    assert put == [*AT_ONCE * 2, *KEPT]


def test_without_the_setting_nothing_happens(monkeypatch):
    monkeypatch.setattr(allocator, "_library", lambda: None)
    monkeypatch.setattr(allocator, "_kept", False)
    assert not allocator.can_keep()
    allocator.keep()
    with allocator.given_back(), allocator.usual():
        pass
    assert not allocator._kept
