"""Two attacks on the same images: whether one breaks more of them than chance explains."""

from __future__ import annotations

import attrs
from torch import Tensor

LEVEL = 0.01
"""How probably a comparison finds a difference where there is none."""


def chance(more: int, fewer: int) -> float:
    """How probably so many or more of the images that two equal attacks disagree on fall to the first (McNemar's exact
    test, one-sided).

        P(X >= more),  X ~ Binomial(more + fewer, 1/2)

    Images that fall to both or to none say nothing about which attack is the stronger, so they are left out.

    Args:
        more: images that fall to the first attack alone.
        fewer: images that fall to the second alone.

    Reference: McNemar, Psychometrika 12(2), 1947.

    >>> chance(7, 0), chance(0, 3), chance(2, 1)
    (0.0078125, 1.0, 0.5)
    """
    from scipy.special import betainc  # takes a while to load, and a command that measures nothing needs none

    return 1.0 if more == 0 else float(betainc(more, fewer + 1, 0.5))


@attrs.frozen
class Comparison:
    """How a first and a second attack differ on the same images.

    Attributes:
        first_only: images that fall to the first attack alone.
        second_only: images that fall to the second alone.
    """

    first_only: int
    second_only: int

    @classmethod
    def of(cls, first: Tensor, second: Tensor) -> Comparison:
        """From which images withstand either attack, booleans `(images,)`.

        >>> import torch
        >>> Comparison.of(torch.tensor([False, False, True]), torch.tensor([True, False, True]))
        Comparison(first_only=1, second_only=0)
        """
        return cls(int((~first & second).sum()), int((first & ~second).sum()))

    @property
    def p(self) -> float:
        """How probably chance alone has the first attack break that many more."""
        return chance(self.first_only, self.second_only)

    def stronger(self, comparisons: int = 1) -> bool:
        """Whether the first attack is the stronger beyond chance, at 1 % shared by so many comparisons (Bonferroni).

        >>> Comparison(7, 0).stronger(), Comparison(7, 0).stronger(comparisons=2), Comparison(6, 0).stronger()
        (True, False, False)
        """
        return self.p < LEVEL / comparisons

    def report(self) -> dict[str, float]:
        """Its figures."""
        return {"first_only": self.first_only, "second_only": self.second_only, "p": self.p}
