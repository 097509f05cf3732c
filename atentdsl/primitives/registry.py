"""Finds the primitives: the families are the folders beside this file, the kinds are the files in them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from atentdsl.primitives.primitive import Primitive

_HERE = Path(__file__).parent


@cache
def families() -> tuple[str, ...]:
    """The families, in alphabetical order.

    >>> families()[:3]
    ('averaging', 'couplings', 'drifts')
    """
    return tuple(sorted(p.name for p in _HERE.iterdir() if (p / "__init__.py").is_file()))


@cache
def kinds(family: str) -> tuple[str, ...]:
    """The kinds of one family, in alphabetical order; reads no file.

    >>> kinds("drifts")
    ('l1', 'l2', 'layer', 'raw', 'sign', 'sparse')
    """
    return tuple(sorted(p.stem for p in (_HERE / family).glob("*.py") if p.stem != "__init__"))


@cache
def primitive(family: str, kind: str) -> Primitive:
    """The primitive of that family and kind.

    Raises:
        KeyError: no file of that name stands in the family's folder.
    """
    if kind not in kinds(family):
        raise KeyError(f"no {kind!r} in {family}: {', '.join(kinds(family))}")
    found: Primitive = import_module(f"atentdsl.primitives.{family}.{kind}").PRIMITIVE
    return found


@cache
def family(name: str) -> Mapping[str, Primitive]:
    """All primitives of one family by kind."""
    return MappingProxyType({kind: primitive(name, kind) for kind in kinds(name)})
