"""The evaluation of a network: what `evaluation.json` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from atentdsl.evaluation.attacks import Attack
from atentdsl.runtime.accuracy import accuracy
from atentdsl.runtime.data import Images


def evaluation(model: nn.Module, images: Images, attacks: Sequence[Attack], split: str, seed: int) -> dict[str, Any]:
    """Clean and robust accuracy, as fractions, each attack with its whole setting."""
    measured = accuracy(model, images, [attack.withstands for attack in attacks], seed)
    return {
        "split": split,
        "n": measured.n,
        "seed": seed,
        "clean_accuracy": measured.clean,
        "attacks": {
            attack.name: {**attack.settings(), "robust_accuracy": robust}
            for attack, robust in zip(attacks, measured.robust, strict=True)
        },
    }
