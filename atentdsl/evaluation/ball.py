"""The ball and box that a perturbation has to stay in, checked before it counts."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

# How far float32 may carry a perturbation beyond its radius: one rounding near 1, or thousands of them summed. The
# first is absolute; the second, of sums, grows with what is summed.
ROUNDING = {"linf": 1e-5, "l2": 1e-4, "l1": 1e-3}
ORDER = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}


@attrs.frozen
class Ball:
    """Perturbations of an image of at most `radius` in `norm`, so that the image stays in [0, 1].

    Attributes:
        norm: `linf`, `l2` or `l1`, of an image's differences, all its channels and pixels together.
        radius: in units of inputs in [0, 1].

    >>> x = torch.full((1, 1, 2, 2), 0.5)
    >>> Ball("l1", 1.0).lengths(x, x + 0.25)
    tensor([1.])
    """

    norm: str
    radius: float

    def lengths(self, x: Tensor, z: Tensor) -> Tensor:
        """||z - x|| of each image, `(batch,)`."""
        lengths: Tensor = (z - x).flatten(1).norm(p=ORDER[self.norm], dim=1)
        return lengths

    def holds(self, x: Tensor, z: Tensor) -> Tensor:
        """Which images are inside ball and box, up to rounding in the radius, a boolean each; none that holds a NaN.

        >>> x = torch.tensor([[0.5], [0.5], [1.0]])
        >>> Ball("linf", 0.1).holds(x, x + torch.tensor([[0.1], [0.2], [0.1]]))
        tensor([ True, False, False])
        """
        boxed = ((z >= 0) & (z <= 1)).flatten(1).all(dim=1)
        return (self.lengths(x, z) <= self.radius + ROUNDING[self.norm]) & boxed

    def require(self, name: str, x: Tensor, z: Tensor) -> None:
        """Ask for every image to be inside.

        Raises:
            ValueError: one is not, which no attack named `name` may do.
        """
        inside = self.holds(x, z)
        if not bool(inside.all()):
            wrong = int(torch.nonzero(~inside)[0])
            raise ValueError(f"{name}: image {wrong} of the batch has left the ball or holds no numbers")
