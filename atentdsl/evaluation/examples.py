"""A few images as a network answers them, and the same images under an attack: to be looked at, not to be counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs
import torch
from torch import Tensor, nn

from atentdsl.evaluation.sampling import SamplerAttack
from atentdsl.runtime.accuracy import correct
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import NotFinite
from atentdsl.runtime.modes import mode_kept
from atentdsl.runtime.random_state import random_state_kept
from atentdsl.runtime.streams import key

__all__ = ["Answer", "Examples", "examples", "spread"]


@attrs.frozen
class Answer:
    """What a network says of an image: the likeliest class, and its probability."""

    predicted: int
    confidence: float


@attrs.frozen(eq=False)
class Examples:
    """Images with their labels, as they are and attacked.

    Attributes:
        places: of each, its place among the images that it comes from.
        x: as they are, `(n, *input)` in [0, 1], on the CPU.
        z: attacked; x itself where there is no attack.
        labels: of each.
        clean, attacked: what the network says of them.
        attack: what was made on them, None for nothing.
    """

    places: tuple[int, ...]
    x: Tensor = attrs.field(repr=False)
    z: Tensor = attrs.field(repr=False)
    labels: tuple[int, ...]
    clean: tuple[Answer, ...]
    attacked: tuple[Answer, ...]
    attack: SamplerAttack | None


def spread(labels: Sequence[int], number: int) -> list[int]:
    """The places of the first image of each class, then of the second of each, up to that many.

    Some data sets are sorted by class: their first images are all of one.

    >>> spread([0, 0, 0, 2, 1, 2], 5)
    [0, 4, 3, 1, 5]
    """
    seen: Counter[int] = Counter()
    ranked = []
    for place, label in enumerate(labels):
        ranked.append((seen[label], label, place))
        seen[label] += 1
    return [place for _, _, place in sorted(ranked)[:number]]


def examples(model: nn.Module, images: Images, attack: SamplerAttack | None, seed: int, number: int = 10) -> Examples:
    """The images that `spread` chooses, as the network answers them in eval mode, and under the attack.

    Each is attacked, also where it is classified wrong as it is. An image that a restart breaks is not attacked again,
    as in an evaluation; the draws are of these images alone, so an image may fall here that stands there.

    Args:
        model: maps `(batch, *input)` in [0, 1] to logits; its mode is left as it was.
        images: on the network's device.
        attack: None leaves the images as they are.
        seed: of the attack's draws.
        number: how many images at most.

    Raises:
        NotFinite: a logit is no finite number.
        UnsuitedAttack: the attack's loss needs more classes than the network has.

    >>> images = Images(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]), 2)
    >>> found = examples(nn.Identity(), images, None, 0)
    >>> found.labels, [answer.predicted for answer in found.clean]
    ((1, 1), [1, 0])
    """
    places = spread(images.y.tolist(), number)
    x, y = images.take(torch.tensor(places, dtype=torch.int64, device=images.device))
    with mode_kept(model), random_state_kept():
        clean = _answers(model, x)
        z = x if attack is None or not len(x) else _attacked(model, attack, x, y, seed)
        attacked = _answers(model, z)
    labels = tuple(int(label) for label in y.tolist())
    return Examples(tuple(places), x.cpu(), z.detach().cpu(), labels, clean, attacked, attack)


def _attacked(model: nn.Module, attack: SamplerAttack, x: Tensor, y: Tensor, seed: int) -> Tensor:
    attack.require_classes(model, x)
    z, standing = x.clone(), torch.arange(len(x), device=x.device)
    for restart in range(attack.restarts):
        z[standing] = attack.perturbed(model, x[standing], y[standing], key(seed, attack.name), restart)
        standing = standing[correct(model, z[standing], y[standing])]
        if not len(standing):
            break
    return z


def _answers(model: nn.Module, x: Tensor) -> tuple[Answer, ...]:
    model.eval()
    with torch.no_grad():
        logits = model(x).double()
    finite = logits.isfinite().all(dim=1)
    if not bool(finite.all()):
        raise NotFinite(int(torch.nonzero(~finite)[0]), "those shown")
    confidences, predicted = logits.softmax(dim=1).max(dim=1)
    return tuple(Answer(int(k), float(p)) for k, p in zip(predicted, confidences, strict=True))
