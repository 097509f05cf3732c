"""The library: load, compile, draw, train, evaluate, certify, report, sweep, compare, export and bench.

Each but `report`, `export` and `compare` takes a recipe as a path, the name of a shipped recipe, or, but for `sweep`, a
dict; `train`, `draw`, `evaluate` and `certify` also take the caller's own network and data. The command line is a thin
caller of these.

>>> import atentdsl
>>> recipe = atentdsl.load("atent_linf", ["sampler.attack.moves=3"])
>>> recipe.samplers[0].moves
3
>>> print(atentdsl.compile(recipe).text.splitlines()[0])
\"\"\"atent_linf: one training step, as its recipe says.

The points that its sampler draws around a batch, with their weights, for a network of one's own:

>>> import torch
>>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
>>> drawn = atentdsl.draw(recipe, network, torch.full((2, 1, 8, 8), 0.5), torch.tensor([3, 7]), seed=0)
>>> drawn.points.shape, [round(weight, 3) for weight in drawn.weights]
(torch.Size([3, 2, 1, 8, 8]), [0.009, 0.09, 0.9])
>>> bool((drawn.points[-1] - 0.5).abs().max() <= 0.18 + 1e-6)
True

Training it, and what came of it:

>>> import tempfile
>>> run = atentdsl.train(recipe, model=network, out=tempfile.mkdtemp(), max_steps=3, quiet=True)
>>> sorted(run.evaluation["attacks"]["pgd-20"])
['attacked', 'loss', 'norm', 'radius', 'restarts', 'robust_accuracy', 'robust_interval', 'start', 'step_size', 'steps']
>>> atentdsl.evaluate(run.path) == run.evaluation
Traceback (most recent call last):
    ...
atentdsl.runtime.errors.NotGiven: the run trained a network of the caller's own: pass it as `model`
>>> atentdsl.evaluate(run.path, model=network) == run.evaluation
True
"""

from __future__ import annotations

from atentdsl.api.benchmarking import bench, bench_attack, bench_epoch
from atentdsl.api.certifying import certify
from atentdsl.api.comparing import compare
from atentdsl.api.evaluating import awaits_evaluation, evaluate
from atentdsl.api.exporting import export
from atentdsl.api.proving import certify_intervals
from atentdsl.api.recipes import Drawn, Source, compile, draw, load
from atentdsl.api.reporting import Report, report
from atentdsl.api.sweeping import Sweep, sweep
from atentdsl.api.training import interrupted, resume, train
from atentdsl.api.work import Run

__all__ = [
    "Drawn",
    "Report",
    "Run",
    "Source",
    "Sweep",
    "awaits_evaluation",
    "bench",
    "bench_attack",
    "bench_epoch",
    "certify",
    "certify_intervals",
    "compare",
    "compile",
    "draw",
    "evaluate",
    "export",
    "interrupted",
    "load",
    "report",
    "resume",
    "sweep",
    "train",
]
