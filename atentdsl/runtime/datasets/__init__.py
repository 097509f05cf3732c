"""The data sets that a recipe can name: one file each, whose name is the data set's.

A data set's file offers `load(root: Path | None) -> Arrays`; `root` is the folder its files are looked for in. What can
be said without its files stands in constants: `SHAPE` of an image, `CLASSES`, `TRAINING`, the training images, and
`LABELS`, what the classes are called, where they are more than numbers.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    from atentdsl.runtime.data import Arrays

__all__ = ["Description", "description", "load", "names"]


@attrs.frozen
class Description:
    """What is known of a data set without its files.

    Attributes:
        shape: of one image, `(channels, height, width)`.
        classes: how many there are.
        training: how many training images, those included that are held out of them.
        labels: what its classes are called, by their numbers; the numbers themselves where they have no names.
    """

    shape: tuple[int, ...]
    classes: int
    training: int
    labels: tuple[str, ...]


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


def description(name: str) -> Description:
    """What the data set called `name` looks like; its files need not be there.

    Raises:
        ValueError: there is no data set of that name.

    >>> description("mnist").shape
    (1, 28, 28)
    """
    if name not in names():
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(names())}")
    found = importlib.import_module(f"{__name__}.{name}")
    labels = getattr(found, "LABELS", tuple(map(str, range(found.CLASSES))))
    return Description(found.SHAPE, found.CLASSES, found.TRAINING, labels)
