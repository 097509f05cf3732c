"""Run in a process of its own: trains three steps from each generated file, with the compiler out of reach.

Every module of the project but `atentdsl` and `atentdsl.runtime` and below is refused.
"""

from __future__ import annotations

import itertools
import json
import runpy
import sys
from types import SimpleNamespace


class OnlyTheRuntime:
    """Refuses the rest of the project, before any other finder is asked."""

    def find_spec(self, name, path=None, target=None):
        if name.startswith("atentdsl.") and not f"{name}.".startswith("atentdsl.runtime."):
            raise ImportError(f"{name} is out of reach")


def train(file):
    import torch

    from atentdsl.runtime import Batch, Streams

    module = SimpleNamespace(**runpy.run_path(file))
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 20), torch.nn.Tanh(), torch.nn.Linear(20, 10))
    placed = module.placed(network)
    x, y = torch.rand(16, 1, 8, 8), torch.randint(10, (16,))
    batch = Batch((x, y), torch.arange(16), of=16)
    signals, state = [], {}
    for step in (1, 2, 3):
        for group in placed.optimizer.param_groups:
            group.update(module.settings(1, step))
        rng = Streams(0, step, x.device)
        signals.append(float(placed.step(itertools.repeat(batch), rng, state)))
    return signals


def main(files):
    sys.meta_path.insert(0, OnlyTheRuntime())
    signals = {file: train(file) for file in files}
    loaded = [name for name in sys.modules if name.startswith("atentdsl.") and not name.startswith("atentdsl.runtime")]
    print(json.dumps({"signals": signals, "loaded": loaded}))


if __name__ == "__main__":
    main(sys.argv[1:])
