"""Gradient proposal: one step of gradient ascent on the target's energy.

    z' = z + step_size * D(grad E(z))                               (Jagatap et al., Alg. 4 line 7; Madry et al.)

Shapes: z, drift `(batch, *input)`. Units: step_size in units of inputs in [0, 1] where the drift is normalised.
With drift `sign` and an l-infinity ball this is projected gradient descent on the negative loss, PGD. It equals
`langevin` with noise 0 and samples no density: without projection it climbs.

>>> import torch
>>> gradient_step(torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]), step_size=0.1)
tensor([[ 0.1000, -0.1000]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atentdsl.primitives.kernel import Kernel
from atentdsl.primitives.lazy import torch
from atentdsl.primitives.primitive import Primitive

if TYPE_CHECKING:
    from torch import Tensor


class Parameters(Kernel):
    """The table `[sampler.kernel]` with kind `gradient`."""


def gradient_step(z: Tensor, drift: Tensor, step_size: float) -> Tensor:
    """z moved along the drift."""
    return torch.add(z, drift, alpha=step_size)


PRIMITIVE = Primitive(Parameters, gradient_step, cites=("madry2018pgd",))
