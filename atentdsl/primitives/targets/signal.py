"""The signal as the loss that weights move along: the batch's weighted objective over the points already handed on.

    L(w') = sum_k c_k mean over the batch of L_objective(z^k; w')

For samplers in the space of the weights. Points of samplers before it stay as they are; all later samplers are drawn
afresh at each evaluation, around those points. So `ascend` after an attack is adversarial weight perturbation (Wu et
al.), and `descend` before one is local entropy of adversarial training (Chaudhari et al.).
"""

from __future__ import annotations

from atentdsl.primitives.primitive import Part, Primitive


class Parameters(Part):
    """`loss = "signal"` in `[sampler.target]`; it has no parameters of its own."""


PRIMITIVE = Primitive(Parameters, cites=("wu2020awp", "chaudhari2017entropysgd"))
