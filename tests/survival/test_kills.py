"""SIGKILL at five random moments: each run goes on to the same bits."""

from __future__ import annotations

import pytest
from survival.killing import Killer, outcome, same

WORDS = [
    "run", "atent_linf", "--set", "optimizer.epochs=2", "--set", "sampler.attack.moves=2",
    "--set", "evaluate.attacks=['pgd-2']", "--checkpoint-steps", "7",
]  # fmt: skip


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    return Killer(WORDS, tmp_path_factory.mktemp("killed"), seed=0)


@pytest.mark.parametrize(
    "phase",
    ["before the first step", "in a step", "in validation", "between sync and rename", "in evaluation"],
)
def test_a_killed_run_ends_as_one_that_was_not(killer, phase):
    met, out = killer.kill_once(phase)
    print(f"aimed at: {phase}; died: {met}")
    same(killer.whole, outcome(killer.gone_on_with(out)))
