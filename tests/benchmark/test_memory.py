"""Peak memory: that of the work, and not growing with the number of moves."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest
import torch

from atentdsl.benchmark.memory import peak

PROBE = """
import copy
import itertools

import torch
from torch.profiler import ProfilerActivity, profile

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark.step import _compiled, peak_of_step
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


# The most bytes of tensors that the first two steps hold, counted from every block that torch takes and gives back.
def tensors(measured):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step = _compiled(measured, copy.deepcopy(measured.network))
        step()
        step()
    events = profiled.profiler.kineto_results.events()
    blocks = sorted(((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"), key=lambda block: block[0])
    return max(itertools.accumulate(size for _, size in blocks))


with allocator.given_back():
    peak_of_step(measured(1))  # what is loaded once
    subjects = [(5, measured(5)), (20, measured(20)), (-5, keeping_graphs(measured(5)))]
    resident = [peak_of_step(one, 1) for _, one in subjects]
for (moves, one), size in zip(subjects, resident, strict=True):
    points = sum(isinstance(o, Evaluate) and o.asks_weights for o in one.compiled.plan.flat())
    print(points, int(moves < 0), size, tensors(one))
"""


@cache
def peaks():
    """Bytes, resident and of tensors, by how many points have a gradient in the weights and whether graphs stay."""
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
        points, kept, resident, held = map(int, line.split())
        found[points, bool(kept)] = resident, held
    assert set(found) == {(5, False), (20, False), (5, True)}, "each move's point is evaluated for the weights"
    return found


def test_what_is_held_is_measured():
    torch.ones(1, 250_000)  # the code that runs is mapped at its first use, and counts as resident
    for megabytes in (40, 160):
        found = peak(lambda size=megabytes: torch.ones(size, 250_000), torch.device("cpu"))
        assert found == pytest.approx(megabytes * 1e6, rel=0.03)


GIVEN_BACK = """
import torch
from atentdsl.benchmark.memory import peak


def work():
    for _ in range(5):
        torch.ones(80, 250_000)


torch.ones(1, 250_000)  # the code that runs is mapped at its first use, and counts as resident
print(peak(work, torch.device("cpu")))
"""


def test_what_was_given_back_counts_too_and_once():
    """In a process of its own: in one that keeps what it frees, a second block may lie beside the first."""
    done = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == pytest.approx(80e6, rel=0.03)


def test_the_step_s_tensors_do_not_grow_with_the_points_it_averages():
    """To the byte: what is resident differs by a tenth from run to run, by where small blocks happen to lie."""
    few, many, kept = (peaks()[of][1] for of in ((5, False), (20, False), (5, True)))
    assert many == few
    assert kept > 1.5 * few, "a step that keeps its points' graphs is noticed"


def test_the_step_s_resident_memory_does_not_grow_with_the_points_it_averages():
    few, many, kept = (peaks()[of][0] for of in ((5, False), (20, False), (5, True)))
    assert many < 1.25 * few
    assert kept > 1.5 * few, "a step that keeps its points' graphs is noticed"
