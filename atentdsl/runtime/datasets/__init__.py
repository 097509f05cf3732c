"""The data sets that a recipe can name: one file each, whose name is the data set's.

A data set's file offers `load(root: Path | None) -> Arrays`; `root` is the folder its files are looked for in.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pathlib import Path

    from atentdsl.runtime.data import Arrays

__all__ = ["load", "names"]


def names() -> tuple[str, ...]:
    """List the data sets' names in alphabetical order; none of their files is imported.

    >>> "digits" in names()
    True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def load(name: str, root: Path | None = None) -> Arrays:
    """Load the data set called `name`, on the CPU, from its files under `root`.

    Raises:
        ValueError: there is no data set of that name.
        DataMissing: its files are not there.

    >>> load("digits").train_x.shape[1:]
    torch.Size([1, 8, 8])
    """
    if name not in names():
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(names())}")
    return cast("Arrays", importlib.import_module(f"{__name__}.{name}").load(root))
