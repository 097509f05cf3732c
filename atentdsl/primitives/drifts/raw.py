"""Raw drift: the gradient as it is, D(g) = g.

The one drift under which a Langevin chain has a law that can be named. A raw gradient of a trained network is small:
a batch-mean gradient moves a pixel by at most moves * step_size * |grad L| / batch.
"""

from __future__ import annotations

from atentdsl.primitives.primitive import Part, Primitive


class Parameters(Part):
    """A drift has no parameters."""


PRIMITIVE = Primitive(Parameters)
