"""Subnormal numbers are zero within the block, in every thread that computes, and what they were after it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from atentdsl.runtime.subnormals import are_flushed, flushed

pytestmark = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="the processor cannot flush subnormals")

# In a process of its own, whose threads are its own: the shares of an operation's numbers that are not flushed.
THREADS = """
import torch
from atentdsl.runtime.subnormals import flushed

torch.set_num_threads(2)

def kept():
    product = torch.full((1 << 20,), 1e-40) * torch.ones(())
    halves = product.view(torch.int32).ne(0).view(2, -1)
    return [half.float().mean().item() for half in halves]

if BEFORE:
    print(kept())
with flushed():
    print(kept())
print(kept())
with flushed():
    print(kept())
print(kept())
"""


def subnormal():
    return int((torch.tensor([1e-40, 1e-40]) * 1).view(torch.int32)[0]) != 0


@pytest.fixture
def setting():
    """Sets what a test begins with, and puts it back."""
    before = are_flushed()
    yield torch.set_flush_denormal
    torch.set_flush_denormal(before)


@pytest.mark.parametrize("before", [False, True])
def test_flushed_within_and_as_before_afterwards(setting, before):
    setting(before)
    assert are_flushed() is before
    assert subnormal() is not before
    with flushed():
        assert not subnormal()
        with flushed():
            assert not subnormal()
        assert not subnormal(), "the inner block leaves the outer one's setting"
    assert are_flushed() is before
    assert subnormal() is not before


@pytest.mark.parametrize("before", [False, True])
def test_as_before_after_an_exception_too(setting, before):
    setting(before)
    with pytest.raises(ZeroDivisionError), flushed():
        raise ZeroDivisionError
    assert subnormal() is not before


@pytest.mark.parametrize("before", [False, True])
def test_where_it_is_not_wanted_nothing_is_set(setting, before):
    setting(before)
    with flushed(False):
        assert subnormal() is not before
    assert subnormal() is not before


@pytest.mark.parametrize("begun", [False, True])
def test_in_the_worker_threads_too_wherever_they_were_begun(begun):
    """A worker that is begun within the block would inherit the setting and keep it."""
    text = THREADS.replace("BEFORE", str(begun))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    lines = done.stdout.split("\n")[:-1]
    assert lines == ["[1.0, 1.0]"] * begun + ["[0.0, 0.0]", "[1.0, 1.0]"] * 2
