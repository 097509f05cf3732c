"""The 1,797 real handwritten digits that come with scikit-learn: (1, 8, 8), 10 classes, no download.

The test images are each class's third, eighth, thirteenth, ... in the published order: a fifth of every class, the same
on every machine and in every version, whatever the seed of a run.

E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch

from atentdsl.runtime.data import Arrays
from atentdsl.runtime.errors import DataMissing

__all__ = ["load"]

CLASSES = 10
SHAPE = (1, 8, 8)
TRAINING = 1438
LEVELS = 16  # a pixel is a count of 0 to 16 inked dots
EVERY = 5
# Of the pixels and then the labels as scikit-learn reads them, whose file may be packed anew in another version of it.
SHA256 = "f6d9e39f37dc45d327f6db33428ee58970ccceabb2535a5c179de35886b70443"


def load(root: Path | None = None) -> Arrays:
    """Load the digits, with pixels scaled from 0..16 to 0..255 and rounded; `root` is not looked at.

    Raises:
        DataMissing: scikit-learn's file of them is not there, or is damaged.

    >>> arrays = load()
    >>> len(arrays.train_y), len(arrays.test_y)
    (1438, 359)
    """
    try:
        rows = np.loadtxt(_file(), delimiter=",")
        images, target = rows[:, :-1].reshape(-1, *SHAPE[1:]), rows[:, -1]
    except Exception as error:  # unpacking and parsing raise what they happen to raise
        raise _damaged(f"cannot be read: {type(error).__name__}: {error}") from error
    # In one byte order and type, so that the hash is every machine's.
    seen = hashlib.sha256(images.astype("<f8").tobytes())
    seen.update(target.astype("<i8").tobytes())
    if seen.hexdigest() != SHA256:
        raise _damaged(f"has digits of sha256 {seen.hexdigest()}, expected {SHA256}")
    pixels = torch.from_numpy(np.rint(images * 255 / LEVELS).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(target.astype(np.int64))
    test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(CLASSES):
        members = torch.nonzero(labels == label).flatten()
        # Starting at EVERY // 2 makes the count n / EVERY rounded to the nearest.
        test[members[EVERY // 2 :: EVERY]] = True
    return Arrays(pixels[~test], labels[~test], pixels[test], labels[test], CLASSES)


def _file() -> Path:
    """Where scikit-learn has them. The package is looked for and not imported: that takes longer than a short run."""
    found = importlib.util.find_spec("sklearn")
    folders = found.submodule_search_locations if found else None
    if not folders:
        raise FileNotFoundError("scikit-learn is not installed")
    return Path(folders[0]) / "datasets" / "data" / "digits.csv.gz"


def _damaged(damage: str) -> DataMissing:
    path = _file()
    put = "an undamaged copy in its place, by installing scikit-learn anew"
    return DataMissing(f"scikit-learn's digits are damaged: {path} {damage}", put, "`atentdsl run mnist/sgd`")
