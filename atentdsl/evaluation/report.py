"""The evaluation of a network: what `evaluation.json` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from atentdsl.evaluation.attacks import Attack
from atentdsl.evaluation.intervals import CONFIDENCE, interval
from atentdsl.runtime.accuracy import Withstands, answers
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
    *,
    independent: bool = False,
    precision: str = "float32",
    remember: Callable[[Withstands], Withstands] = lambda attack: attack,
) -> dict[str, Any]:
    """Clean and robust accuracy, as fractions, with exact 95 % intervals, each attack with its whole setting.

    An image that one attack has broken is not attacked by later ones in the same ball, so an attack's accuracy is that
    under it and under those that its `after` names. `worst` is the least of each image over all attacks in a ball.

    Args:
        model, images, attacks, seed, batch, between, remember: as for `answers`.
        split: which part of the data the images are.
        trained: how the network was trained: the precision of the passes, and the compiler's tolerance; None where it
            is not known.
        independent: each attack is made on every image that is classified right as it is.
        precision: of the network's passes: `float32`, which leaves the network its own, or `bfloat16`, by autocast.

    Images with a name of their own bring it in as `data`.
    """
    after: list[list[int]] = []
    for i, attack in enumerate(attacks):
        after.append([] if independent else [j for j in range(i) if attacks[j].ball == attack.ball])
    asked = InBfloat16(model) if precision == "bfloat16" else model
    found = answers(asked, images, [attack.withstands for attack in attacks], seed, batch, between, after, remember)
    n = len(images)
    said: dict[str, Any] = {}
    for attack, held, count, earlier in zip(attacks, found.held, found.attacked, after, strict=True):
        order = {"after": [attacks[j].name for j in earlier]} if earlier else {}
        said[attack.name] = {**attack.settings(), **order, "attacked": count, **_share(held, "robust")}
    return {
        **({} if images.name is None else {"data": images.name}),
        "split": split,
        "n": n,
        "seed": seed,
        "batch": batch,
        "precision": precision if precision == "bfloat16" else _precision(model),
        "confidence": CONFIDENCE,
        **({} if trained is None else {"trained": dict(trained)}),
        **_share(found.right, "clean"),
        "attacks": said,
        "worst": _worst(attacks, found.held),
    }


class InBfloat16(nn.Module):
    """A network whose passes run in bfloat16 where autocast has them so; its logits are float32.

    >>> InBfloat16(nn.Linear(2, 2))(torch.zeros(1, 2)).dtype
    torch.float32
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """The logits, `(batch, classes)`."""
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            logits: Tensor = self.model(x)
        return logits.float()


def _share(yes: Tensor, what: str) -> dict[str, Any]:
    count, n = int(yes.sum()), len(yes)
    return {f"{what}_accuracy": count / n, f"{what}_interval": list(interval(count, n))}


def _worst(attacks: Sequence[Attack], held: Sequence[Tensor]) -> list[dict[str, Any]]:
    """For each ball: which attacks were made in it, and the share of images that withstand all of them."""
    balls = list(dict.fromkeys(attack.ball for attack in attacks))
    worst = []
    for ball in balls:
        own = [i for i, attack in enumerate(attacks) if attack.ball == ball]
        every = torch.stack([held[i] for i in own]).all(dim=0)
        made = {"norm": ball.norm, "radius": ball.radius, "attacks": [attacks[i].name for i in own]}
        worst.append({**made, **_share(every, "robust")})
    return worst


def _precision(model: nn.Module) -> str:
    """The number format of the network's weights."""
    first = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return str(first).removeprefix("torch.")
