"""Zero start: the chain begins at its anchor, z^0 = x."""

from __future__ import annotations

from atentdsl.primitives.primitive import Kinded, Primitive


class Parameters(Kinded):
    """The table `[sampler.start]` with kind `zero`."""


PRIMITIVE = Primitive(Parameters)
