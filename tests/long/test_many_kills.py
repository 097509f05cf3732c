"""Fifty runs killed at random moments of every phase: each goes on to the same bits."""

from __future__ import annotations

import pytest
from survival.killing import Killer, outcome, same
from survival.phases import PHASES

QUICK = [
    "--set", "optimizer.epochs=2", "--set", "evaluate.attacks=['pgd-2']", "--set", "data.batch=128",
    "--checkpoint-steps", "4",
]  # fmt: skip
# What each adds to what has to be kept: noise; displacements and repeated batches; fresh batches, weights and momentum
# in a chain; perturbed weights; two moments per weight; reduced precision with its order of the images.
RUNS = {
    "atent_linf": ["--set", "sampler.attack.moves=2"],
    "free_at": ["--max-steps", "30"],
    "entropy_sgd_atent": ["--set", "sampler.attack.moves=1", "--set", "sampler.weights.moves=2"],
    "awp_pgd_at": ["--set", "sampler.attack.moves=2"],
    "pgd_at_l2": [
        "--set", "sampler.attack.moves=1", "--set", "compile.precision='bfloat16'",
        "--set", "optimizer={kind='adamw', epochs=2, lr=1e-3}",
    ],
}  # fmt: skip
KILLS = 10


@pytest.mark.long
@pytest.mark.parametrize("recipe", RUNS)
def test_killed_runs_end_as_one_that_was_not(tmp_path, recipe):
    """Ten kills of each of five recipes. Every phase has to be met; one that was not yet is aimed at first."""
    killer = Killer(["run", recipe, *QUICK, *RUNS[recipe]], tmp_path, seed=sum(map(ord, recipe)))
    met = []
    for _ in range(KILLS):
        missing = [phase for phase in PHASES[:-1] if phase not in met]
        aimed = killer.draw.choice(missing or PHASES[:-1])
        phase, out = killer.kill_once(aimed)
        met.append(phase)
        print(f"aimed at: {aimed}; died: {phase}")
        same(killer.whole, outcome(killer.gone_on_with(out)))
    assert set(PHASES[:-1]) <= set(met), f"never met: {set(PHASES[:-1]) - set(met)}"
