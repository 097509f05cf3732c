"""What the vocabulary says of itself: the documentation of families and kinds, read from their files."""

from __future__ import annotations

import sys
from importlib import import_module

from atentdsl.primitives import registry

__all__ = ["documentation", "first_line", "summary"]


def summary(family: str) -> str:
    """What a family's primitives answer, in one line.

    >>> summary("averaging")
    'Which weights the points of a chain carry.'
    """
    return (import_module(f"atentdsl.primitives.{family}").__doc__ or "").splitlines()[0]


def documentation(family: str, kind: str) -> str:
    """A kind's documentation, without its example."""
    registry.primitive(family, kind)
    return (sys.modules[f"atentdsl.primitives.{family}.{kind}"].__doc__ or "").split("\n>>>")[0].strip()


def first_line(family: str, kind: str) -> str:
    """What a kind is, in one line.

    >>> first_line("projections", "box")
    'Projection onto the box of valid inputs: each coordinate clipped to [0, 1].'
    """
    return documentation(family, kind).splitlines()[0]
