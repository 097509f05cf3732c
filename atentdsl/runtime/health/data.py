"""Where data are looked for, and what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from atentdsl.runtime import roots
from atentdsl.runtime.datasets import cifar10, mnist
from atentdsl.runtime.health import folders
from atentdsl.runtime.health.finding import Finding

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from atentdsl.runtime.errors import DataMissing
    from atentdsl.runtime.roots import Root

__all__ = ["Data", "data"]


@attrs.frozen
class Data:
    """The folder in force.

    Attributes:
        root: where data are looked for.
        source: what it was taken from: `the folder given`, `ATENTDSL_DATA` or `the cache`.
        exists: whether it is there.
        free: bytes free on its file system, None where that is not known.
        sets: what there is of each data set, in words.
    """

    root: str
    source: str
    exists: bool
    free: int | None
    sets: dict[str, str]


def data(given: Path | None, digits: DataMissing | bool | None) -> tuple[Data, tuple[Finding, ...]]:
    """Describe the root in force where the caller named `given`, and find what is wrong with it and the data.

    `digits` is how loading the digits went: True, what was wrong, or None where it was not tried.

    >>> from pathlib import Path
    >>> facts, findings = data(Path("no-such-folder"), True)
    >>> facts.source, facts.exists, facts.sets["mnist"]
    ('the folder given', False, 'not there')
    >>> findings[0].wrong
    'the data root no-such-folder (the folder given) does not exist'
    """
    place = roots.data_root(given)
    found: list[Finding] = []
    if not place.is_cache and not place.path.is_dir():
        what = "is no folder" if place.path.exists() else "does not exist"
        mend = f"make it, or name another by --data-root or {roots.VARIABLE}, or neither: then the user's cache is used"
        found.append(Finding("data", f"the data root {place.path} ({place.source}) {what}", mend))
    sets = {"digits": "not tried" if digits is None else "undamaged" if digits is True else "damaged"}
    for name, module, called in (("cifar10", cifar10, "CIFAR-10"), ("mnist", mnist, "MNIST")):
        sets[name], wrong = _files(place, name, module, called)
        found += wrong
    if isinstance(digits, Exception):
        found.append(Finding("data", digits.missing, f"put {digits.put}"))
    number = folders.free(folders.standing(place.path))
    if place.is_cache and mnist.missing(place.path):
        found += folders.little("data", place.path, number, f"name another folder by --data-root or {roots.VARIABLE}")
    return Data(str(place.path), place.source, place.path.is_dir(), number, sets), tuple(found)


def _files(place: Root, name: str, module: ModuleType, called: str) -> tuple[str, list[Finding]]:
    """What there is of a data set on disk, in words, and what is wrong with it."""
    missing, damages, files = module.missing(place.path), module.damages(place.path), len(module.FILES)
    found = [Finding("data", error.missing, f"put {error.put}") for error in damages]
    if len(missing) == files:
        if module is cifar10 and cifar10.has_copies(place.path):
            return f"JPEG copies, {'damaged' if damages else 'all there'}", found
        return "not there; the first run that needs it downloads it" if place.is_cache else "not there", found
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        wrong = f"{called} in {place.path} is not whole: {', '.join(missing)} {verb} not there"
        mend = f"`atentdsl run {name}/sgd` downloads it" if place.is_cache else "put there what is missing"
        found.append(Finding("data", wrong, mend))
    counts = ((len(missing), "not there"), (len(damages), "damaged"))
    return ", ".join(f"{number} of {files} files {what}" for number, what in counts if number) or "undamaged", found
