"""Which images a network classifies right, as they are and under attacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor, nn

from atentdsl.runtime import memory
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import MemoryExhausted, NotFinite, placed_among
from atentdsl.runtime.modes import mode_kept
from atentdsl.runtime.random_state import random_state_kept
from atentdsl.runtime.streams import key

# Which images withstand an attack: model, x, y and a seed to a boolean for each image.
Withstands = Callable[[nn.Module, Tensor, Tensor, int], Tensor]


@attrs.frozen(eq=False)
class Answers:
    """What was found of each image, booleans `(images,)`.

    Attributes:
        right: classified right as it is.
        held: for each attack, classified right as it is, under it, and under those that it comes after.
        attacked: for each attack, on how many images it was made.
    """

    right: Tensor
    held: tuple[Tensor, ...]
    attacked: tuple[int, ...]


@attrs.frozen
class Accuracy:
    """Shares of images, as fractions.

    Attributes:
        n: how many images.
        clean: classified right as they are.
        robust: for each attack, classified right as they are and under it.
    """

    n: int
    clean: float
    robust: tuple[float, ...]


def accuracy(
    model: nn.Module,
    images: Images,
    attacks: Sequence[Withstands],
    seed: int,
    batch: int = 512,
    between: Callable[[], None] = lambda: None,
) -> Accuracy:
    """The network's accuracy under attacks each of which is made by itself; as for `answers`."""
    found = answers(model, images, attacks, seed, batch, between)
    n = len(images)
    return Accuracy(n, int(found.right.sum()) / n, tuple(int(held.sum()) / n for held in found.held))


def answers(
    model: nn.Module,
    images: Images,
    attacks: Sequence[Withstands],
    seed: int,
    batch: int = 512,
    between: Callable[[], None] = lambda: None,
    after: Sequence[Sequence[int]] | None = None,
    remember: Callable[[Withstands], Withstands] = lambda attack: attack,
) -> Answers:
    """What the network answers in eval mode, on the images' device.

    An image that is classified wrong as it is counts as broken by every attack, and is not attacked; nor by an attack
    that comes after one which broke it. What is left is attacked in full batches. The network's mode and the global
    random generators are left as they were found.

    Args:
        model: maps `(batch, *input)` in [0, 1] to logits `(batch, classes)`.
        images: what it is asked about.
        attacks: each says which images withstand it.
        seed: of the attacks' draws.
        batch: images at a time; the attacks' draws depend on it.
        between: called before each batch, and before each attack on one; may raise, to stop it there.
        after: for each attack, the earlier ones it comes after, by their places; none where not given.
        remember: makes of an attack one that may know answers of before; not of one that only tries a batch's size.

    Raises:
        NotFinite: a logit is no finite number; names the image.
        MemoryExhausted: names a batch that fits.
    """
    after = after or [()] * len(attacks)
    try:
        return _measured(model, images, [remember(attack) for attack in attacks], seed, batch, between, after)
    except (MemoryError, RuntimeError) as error:
        if not memory.is_exhausted(error):
            raise

    def trial(size: int) -> None:
        """Every attack on a full batch, as it meets one of what others left: all of it has the labels it is given."""
        x, _ = images.take(torch.arange(size, device=images.device))
        with mode_kept(model), random_state_kept(), placed_among(range(size), "those evaluated"):
            model.eval()
            with torch.no_grad():
                y = model(x).argmax(dim=1)
            correct(model, x, y)
            for attack in attacks:
                between()
                attack(model, x, y, seed)

    # Looked into here, where the error's frames no longer hold what they had.
    fits = memory.fitting(trial, min(batch, len(images)))
    raise MemoryExhausted("measuring accuracies", min(batch, len(images)), fits, "evaluate.batch")


def _measured(
    model: nn.Module,
    images: Images,
    attacks: Sequence[Withstands],
    seed: int,
    batch: int,
    between: Callable[[], None],
    after: Sequence[Sequence[int]],
) -> Answers:
    everything = torch.arange(len(images), device=images.device)

    def asked(places: Tensor, question: Callable[[Tensor, Tensor, int], Tensor]) -> Tensor:
        """Which of the images at these places answer yes."""
        yes = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        for number, first in enumerate(range(0, len(places), batch)):
            between()
            part = places[first : first + batch]
            with placed_among(part, "those evaluated"):
                yes[part] = question(*images.take(part), number)
        return yes

    def under(i: int) -> Callable[[Tensor, Tensor, int], Tensor]:
        """The question whether images withstand an attack; its draws are the batch's own."""
        return lambda x, y, number: attacks[i](model, x, y, key(seed, "attack", i, number))

    with mode_kept(model), random_state_kept():
        right = asked(everything, lambda x, y, _: correct(model, x, y))
        held: list[Tensor] = []
        attacked = []
        for i in range(len(attacks)):
            standing = right.clone()
            for earlier in after[i]:
                standing &= held[earlier]
            left = everything[standing]
            attacked.append(len(left))
            held.append(asked(left, under(i)))
    return Answers(right, tuple(held), tuple(attacked))


def classes_of(model: nn.Module, images: Images) -> int:
    """How many classes the network tells apart, in eval mode; the data may lack some of them.

    >>> import torch
    >>> classes_of(nn.Linear(2, 5), Images(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), 3))
    5
    """
    with mode_kept(model), random_state_kept(), torch.no_grad():
        model.eval()
        return int(model(images.take(slice(1))[0]).shape[1])


def correct(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which images the network classifies right in eval mode, a boolean each.

    Raises:
        NotFinite: a logit is no finite number; the first such image is named by its place in x.
    """
    model.eval()
    with torch.no_grad():
        logits = model(x)
        finite = logits.isfinite().all(dim=1)
        if not bool(finite.all()):
            raise NotFinite(int(torch.nonzero(~finite)[0]))
        right: Tensor = logits.argmax(dim=1) == y
    return right
