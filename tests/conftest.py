"""Settings of every test."""

from __future__ import annotations

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes share two cores

import hypothesis
import pytest
import torch

torch.set_num_threads(1)

# Looked through every 50,000 objects instead of 700: drawing recipes makes many, and little of it is garbage.
gc.set_threshold(50_000, 20, 20)

# No deadline: a first call loads libraries, and CI's machines are shared. Examples are drawn from a fixed seed, so that
# a failure is everybody's; more of them by `TEST_EXAMPLES=400 make test`, for who has the time.
hypothesis.settings.register_profile(
    "project", deadline=None, derandomize=True, max_examples=int(os.environ.get("TEST_EXAMPLES", "60"))
)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def _same_random_state():
    """Each test begins from the same global random state."""
    torch.manual_seed(0)


def pytest_ignore_collect(collection_path):
    """Only test modules are collected: imported once more for doctests, the others would do their work twice."""
    return True if collection_path.suffix == ".py" and not collection_path.name.startswith("test_") else None
