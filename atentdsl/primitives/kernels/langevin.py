"""Langevin proposal: one Euler step of the Langevin diffusion towards the target's Gibbs density.

    z' = z + step_size * D(grad E(z)) + sqrt(2 * step_size) * noise * xi       (Jagatap et al., Eq. 8, 9; Alg. 1 line 8)

Shapes: z, drift, xi `(batch, *input)`. Units: inputs in [0, 1]. With drift `raw`, no projection and a fixed per-example
loss the chain's law is p^(1/noise^2) to first order in step_size; with `sign` or `l2` it samples no density that can be
named, which is what the published systems run. Not SGLD's decreasing step sizes (Welling and Teh).

>>> import torch
>>> langevin_step(torch.zeros(1), torch.ones(1), torch.ones(1), step_size=0.5, noise=0.25)
tensor([0.7500])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from atentdsl.primitives.kernel import Kernel
from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.slots import NonNegativeOrSchedule
from atentdsl.primitives.tensors import langevin_step


class Parameters(Kernel):
    """The table `[sampler.kernel]` with kind `langevin`."""

    noise: NonNegativeOrSchedule = Field(
        0.0, description="ε, scale of the injected noise; its square is the temperature"
    )


def reduces(parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Without noise it is the gradient kernel, and draws nothing."""
    if parameters["noise"] != 0:
        return None
    return "gradient", {name: value for name, value in parameters.items() if name != "noise"}


PRIMITIVE = Primitive(
    Parameters, langevin_step, draws=("normal",), reduces=reduces, cites=("jagatap2021atent", "welling2011sgld")
)
