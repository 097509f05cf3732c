"""Carried start: where the previous outer step's chain ended, from this step's anchor: z^0 = x + (z^K - x) of before.

The first step, and a batch of another shape, start from the anchor. What Free-AT keeps from replay to replay and from
batch to batch (Shafahi et al., Alg. 1): with `data.repeat` the anchor is the same image again. Shapes: anchor, carried
`(batch, *input)`. The displacement is of the step's last chain, after its projections, and persists in checkpoints.

>>> import torch
>>> carried_on(torch.zeros(1, 2), torch.tensor([[0.25, -0.5]]))
tensor([[ 0.2500, -0.5000]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from atentdsl.primitives.primitive import Kinded, Primitive

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kinded):
    """The table `[sampler.start]` with kind `carry`."""

    projected: bool = Field(False, description="bring the start into the projections' sets first")


def carried_on(anchor: Tensor, carried: Tensor) -> Tensor:
    """The anchor with the displacement of before."""
    return anchor + carried


PRIMITIVE = Primitive(Parameters, carried_on, cites=("shafahi2019free",))
