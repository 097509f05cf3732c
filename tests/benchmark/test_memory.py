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


def measured(moves):
    settings = ["data.batch=64", f"sampler.attack.moves={moves}", "sampler.attack.averaging.alpha=1.0"]
    return subject("mnist/atent_linf", settings, "cpu")


def keeping_graphs(measured):
    kept, module, step = [], measured.module, measured.module.train_step

    def input_gradient(model, z, y, loss, *rest, **named):
        point = z.detach().requires_grad_()
        kept.append(loss(model(point), y).sum())
        return torch.autograd.grad(kept[-1], point, retain_graph=True)[0]

    def train_step(*arguments):
        kept.clear()
        return step(*arguments)

    module.input_gradient, module.train_step = input_gradient, train_step
    return measured


peak_of_step(measured(1))  # what is loaded once
for one in (measured(5), measured(80), keeping_graphs(measured(5))):
    print(peak_of_step(one))
"""


def peaks():
    """In bytes, with 5 moves and with 80; then with 5 of a step that keeps its points' graphs."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.splitlines()]


def test_what_is_held_is_measured():
    for megabytes in (40, 160):
        found = peak(lambda size=megabytes: torch.ones(size, 250_000), torch.device("cpu"))
        assert found == pytest.approx(megabytes * 1e6, rel=0.03)


def test_what_was_given_back_counts_too():
    def work():
        for _ in range(5):
            torch.ones(80, 250_000)

    assert peak(work, torch.device("cpu")) == pytest.approx(80e6, rel=0.03)


def test_the_step_s_memory_does_not_grow_with_the_moves():
    few, many, kept = peaks()
    assert many == pytest.approx(few, rel=0.05)
    assert kept > 1.5 * few, "a step that keeps its points' graphs is noticed"
