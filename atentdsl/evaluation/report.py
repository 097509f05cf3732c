"""The evaluation of a network: what `evaluation.json` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from atentdsl.evaluation.attacks import Attack
from atentdsl.runtime.accuracy import accuracy
from atentdsl.runtime.data import Images


def evaluation(
    model: nn.Module,
    images: Images,
    attacks: Sequence[Attack],
    split: str,
    seed: int,
    batch: int = 512,
    between: Callable[[], None] = lambda: None,
    trained: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Clean and robust accuracy, as fractions, each attack with its whole setting.

    `batch` and `between` are as for `accuracy`; `trained` says how the network was trained: the precision of the
    passes, and the compiler's tolerance; None where it is not known. Images with a name of their own bring it in as
    `data`. The accuracies are measured in the network's own
    number format.
    """
    measured = accuracy(model, images, [attack.withstands for attack in attacks], seed, batch, between)
    return {
        **({} if images.name is None else {"data": images.name}),
        "split": split,
        "n": measured.n,
        "seed": seed,
        "batch": batch,
        **({} if trained is None else {"trained": dict(trained)}),
        "clean_accuracy": measured.clean,
        "attacks": {
            attack.name: {**attack.settings(), "robust_accuracy": robust}
            for attack, robust in zip(attacks, measured.robust, strict=True)
        },
    }
