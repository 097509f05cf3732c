"""Which images a network classifies right all over a ball, proven by interval bounds (Gowal et al., 2018).

An image counts where no wrong class's upper bound reaches the label's logit anywhere in the l-infinity ball around it,
cut by [0, 1]: then no attack in that ball changes its class, whatever it is. One that does not count may still
withstand every attack: the bounds are wider than what the network does. They are computed in float64; its rounding, and
that of the float32 network they are about, is not bounded in turn.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from atentdsl.evaluation.intervals import interval
from atentdsl.runtime.accuracy import answers
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import BoundsUnknown
from atentdsl.runtime.interval_bounds import bounds, require_bounds, worst_logits

__all__ = ["proofs"]


def proofs(
    model: nn.Module,
    images: Images,
    radii: Sequence[float],
    batch: int = 512,
    between: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Clean accuracy, and for each radius the share of images classified right all over the ball, with 95 % intervals.

    Args:
        model: maps `(batch, *input)` in [0, 1] to logits `(batch, classes)`; measured in eval mode.
        images: on the network's device.
        radii: l-infinity, in units of inputs in [0, 1].
        batch: images at a time; changes no result.
        between: called before each batch; may raise, to stop it there.

    Raises:
        BoundsUnknown: interval bounds cannot go through the network.
        NotFinite, MemoryExhausted: as for `answers`.

    >>> images = Images(torch.tensor([[0.25, 0.75], [0.5, 0.25]]), torch.tensor([1, 0]), classes=2)
    >>> [one["certified"] for one in proofs(nn.Identity(), images, radii=[0.0, 0.2, 0.25])["certified"]]
    [2, 1, 0]
    """
    require_bounds(model)
    exact = copy.deepcopy(model).double()

    def proven(radius: float) -> Callable[[nn.Module, Tensor, Tensor, int], Tensor]:
        """Which images are, of those that are classified right."""

        def withstands(_: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
            with torch.no_grad():
                _compare(exact, x.double())
                lead = worst_logits(exact, x.double(), y, radius)
            return (lead.scatter(1, y[:, None], -torch.inf) < 0).all(dim=1)

        return withstands

    found = answers(model, images, [proven(radius) for radius in radii], seed=0, batch=batch, between=between)
    n = len(images)
    clean = int(found.right.sum())
    rows = [(radius, int(held.sum())) for radius, held in zip(radii, found.held, strict=True)]
    certified = [{"radius": radius, "certified": k, **_share(k, n)} for radius, k in rows]
    return {"images": n, "correct": clean, "clean": _share(clean, n), "certified": certified}


def _compare(model: nn.Module, x: Tensor) -> None:
    """Holds bounds of no radius against the network itself: its forward may do what cannot be seen when it is followed.

    Raises:
        BoundsUnknown: they are not its logits.
    """
    logits = model.eval()(x)
    low, high = bounds(model, x, x)
    room = 1e-6 * (1 + logits.abs().amax())
    if not bool(((low - logits).abs() <= room).all() and ((high - logits).abs() <= room).all()):
        raise BoundsUnknown(
            f"the network ({type(model).__name__})", "it computes something else than what is seen of it"
        )


def _share(k: int, n: int) -> dict[str, float]:
    low, high = interval(k, n)
    return {"accuracy": k / n, "low": low, "high": high}
