"""Projection onto the box of valid inputs: each coordinate clipped to [0, 1].

Euclidean. Shapes: z `(batch, *input)`. After an l-infinity ball around a point of the box the result is in both.

>>> import torch
>>> box(torch.tensor([[-0.1, 0.4, 1.2]]))
tensor([[0.0000, 0.4000, 1.0000]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Primitive

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The table `[[sampler.projection]]` with kind `box`."""

    when: Literal["every", "last"] = Field("every", description="after every move, or after the last alone")


def box(z: Tensor) -> Tensor:
    """The nearest valid input."""
    return z.clamp(0, 1)


def in_box(z: Tensor) -> Tensor:
    """Whether each example is a valid input, `(batch,)`."""
    return ((z >= 0) & (z <= 1)).flatten(1).all(dim=1)


PRIMITIVE = Primitive(Parameters, box, inside=in_box, cites=("madry2018pgd",))
