"""A folder of real runs, one for each way to end, as they are trained in a few steps."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import atentdsl
from atentdsl.runtime.errors import Diverged

OVERRIDES = ["model.name=mlp", "optimizer.epochs=1", "evaluate.attacks=['pgd-2']"]
WORDS = [word for override in OVERRIDES for word in ("--set", override)] + ["--max-steps", "3"]
FINISHED, INTERRUPTED, DIVERGED = "20260102-000001", "20260102-000002", "20260102-000003"


def make(folder: Path) -> Path:
    """Trains, and returns the folder with one run finished, one interrupted and one diverged."""
    options = {"max_steps": 3, "quiet": True, "out": folder / "made", "device": "cpu"}
    made = atentdsl.train("sgd", overrides=OVERRIDES, **options).path
    root = folder / "runs"
    for name in (FINISHED, INTERRUPTED):
        shutil.copytree(made, root / "sgd" / name)
    (root / "sgd" / INTERRUPTED / "evaluation.json").unlink()
    with contextlib.suppress(Diverged):
        atentdsl.train("sgd", overrides=[*OVERRIDES, "optimizer.lr=1e30"], **options)
    (diverged,) = (path.parent for path in (folder / "made/sgd").glob("*/diverged.safetensors"))
    diverged.rename(root / "sgd" / DIVERGED)
    return root


def litter(run: Path) -> list[Path]:
    """What processes that were killed, and damaged checkpoints, leave in a run's directory; where it lies."""
    left = [
        run / ".metrics.jsonl.123-abcdef01.partial",
        run / "checkpoints/.best.safetensors.123-abcdef01.partial",
        run / "checkpoints/step-00000002.safetensors.damaged",
    ]
    for path in left:
        path.write_bytes(b"half")
    return left


def files(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
