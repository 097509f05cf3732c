"""Shipped modules with one edit of their source: what a check must catch if it checks anything."""

from __future__ import annotations

import inspect
from types import ModuleType


def edited(module: ModuleType, old: str, new: str) -> ModuleType:
    """A second copy of the module, with one edit; the module itself stays as it is.

    >>> from atentdsl.primitives.averaging import exponential
    >>> mutant = edited(exponential, "(moves - k)", "(moves - k + 1)")
    >>> mutant.coefficients(1, alpha=0.5), exponential.coefficients(1, alpha=0.5)
    ([Fraction(0, 1), Fraction(1, 4)], [Fraction(0, 1), Fraction(1, 2)])

    Raises:
        ValueError: the text to replace does not stand there exactly once, or is replaced by itself.
    """
    source = inspect.getsource(module)
    if source.count(old) != 1 or old == new:
        raise ValueError(f"{old!r} stands {source.count(old)} times in {module.__name__}")
    mutant = ModuleType(module.__name__)
    mutant.__package__, mutant.__file__ = module.__package__, module.__file__
    exec(compile(source.replace(old, new), f"<mutant of {module.__name__}>", "exec"), mutant.__dict__)
    return mutant
