"""No coupling: the target density does not depend on the distance to the anchor."""

from __future__ import annotations

from atentdsl.primitives.primitive import Kinded, Primitive


class Parameters(Kinded):
    """The inline table `coupling` with kind `none`."""


PRIMITIVE = Primitive(Parameters)
