"""Peak memory: that of the work, and not growing with the number of moves."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from atentdsl.benchmark.memory import peak

PROBE = """
import torch

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark.step import peak_of_step
from atentdsl.plan.operations import Evaluate
from atentdsl.runtime import allocator


def measured(moves):
    settings = ["data.batch=32", f"sampler.attack.moves={moves}", "sampler.attack.averaging={kind='mean'}"]
    return subject("mnist/atent_linf", settings, "cpu")


def keeping_graphs(measured):
    kept, module = [], measured.module
    own, step = module.gradients, module.train_step

    def gradients(model, z, y, loss, *rest, **named):
        kept.append(loss(model(z.detach().requires_grad_()), y).sum())
        return own(model, z, y, loss, *rest, **named)

    def train_step(*arguments):
        kept.clear()
        return step(*arguments)

    module.gradients, module.train_step = gradients, train_step
    return measured


with allocator.given_back():
    peak_of_step(measured(1))  # what is loaded once
    few, many, kept = measured(5), measured(40), keeping_graphs(measured(5))
    for group in ([few, many, kept], [few, many]):
        for one in group:
            weighted = sum(isinstance(o, Evaluate) and o.asks_weights for o in one.compiled.plan.flat())
            print(weighted, int(one is kept), peak_of_step(one, 1))
"""


def peaks():
    """Bytes by the number of points that have a gradient in the weights, and by whether their graphs are kept.

    The least of what was found for each: whatever else goes on in a process only adds to it.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        points, kept, size = map(int, line.split())
        found.setdefault((points, bool(kept)), []).append(size)
    return {what: min(sizes) for what, sizes in found.items()}


def test_what_is_held_is_measured():
    for megabytes in (40, 160):
        found = peak(lambda size=megabytes: torch.ones(size, 250_000), torch.device("cpu"))
        assert found == pytest.approx(megabytes * 1e6, rel=0.03)


GIVEN_BACK = """
import torch
from atentdsl.benchmark.memory import peak


def work():
    for _ in range(5):
        torch.ones(80, 250_000)


print(peak(work, torch.device("cpu")))
"""


def test_what_was_given_back_counts_too_and_once():
    """In a process of its own: in one that keeps what it frees, a second block may lie beside the first."""
    done = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == pytest.approx(80e6, rel=0.03)


def test_the_step_s_memory_does_not_grow_with_the_points_it_averages():
    found = peaks()
    assert set(found) == {(5, False), (40, False), (5, True)}, "each move's point is evaluated for the weights"
    assert found[40, False] == pytest.approx(found[5, False], rel=0.05)
    assert found[5, True] > 1.5 * found[5, False], "a step that keeps its points' graphs is noticed"
