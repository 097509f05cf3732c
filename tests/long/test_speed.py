"""How near the compiled step is to its network passes, and how far from the published schedule, on this machine."""

from __future__ import annotations

import pytest
import torch

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark import measured_step
from atentdsl.runtime import machine

pytestmark = pytest.mark.long

FLAGSHIP = ("mnist/atent_linf", ["sampler.attack.moves=10"])


def measured(precision):
    name, overrides = FLAGSHIP
    made = subject(name, [*overrides, f'compile.precision="{precision}"'], device="cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # another test runs on the other core
    try:
        return measured_step(made, rounds=9)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_compiled_step_takes_five_percent_more_than_its_network_passes_at_most(precision):
    """Batch 128, ten moves, in turns in one run."""
    found = measured(precision)
    assert found["precision"] == precision
    assert found["units_compiled"] == 2 * 10 + 5
    assert found["ratio_to_limit"] <= 1.05


def test_the_published_schedule_takes_more_than_twice_as_long():
    """6K + 1 units in contiguous float32, against 2K + 5: 2.3 times in float32, and 7 times where there is AMX."""
    assert measured("float32")["speedup_over_authors_schedule"] >= 2.3
    if "amx_bf16" in machine.processor_flags():
        assert measured("auto")["speedup_over_authors_schedule"] >= 7
