"""MNIST: 60,000 training and 10,000 test images of handwritten digits, (1, 28, 28), 10 classes.

Read by torchvision from its own layout: the four unpacked IDX files in `MNIST/raw` below the data root.

Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", 1998.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from atentdsl.runtime import roots
from atentdsl.runtime.data import Arrays
from atentdsl.runtime.errors import DataMissing

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from atentdsl.runtime.roots import Root

__all__ = ["load"]

CLASSES = 10
SHAPE = (28, 28)
FOLDER = "MNIST/raw"
IMAGES, LABELS = 0x803, 0x801  # an IDX file's first number: of bytes, in three dimensions and in one
# Each split's images and labels, training first.
SPLITS = (
    (f"{FOLDER}/train-images-idx3-ubyte", f"{FOLDER}/train-labels-idx1-ubyte"),
    (f"{FOLDER}/t10k-images-idx3-ubyte", f"{FOLDER}/t10k-labels-idx1-ubyte"),
)
FILES = SPLITS[0] + SPLITS[1]
DOWNLOAD = roots.torchvision_command("MNIST")
INSTEAD = "`atentdsl run recipes/atent_linf.toml`, whose digits come with scikit-learn,"


def load(root: Path | None = None) -> Arrays:
    """Load MNIST from below `root`, or where `atentdsl.runtime.roots` looks for data; into the cache it is downloaded.

    Raises:
        DataMissing: files are not there, or are damaged; says which, and what to put where.
    """
    place = roots.data_root(root)
    if missing := _missing(place.path):
        reason = f"{missing[0]} is not there" if len(missing) == 1 else f"{len(missing)} of its files are not there"
        if place.is_cache:
            try:
                print(f"downloading MNIST into {place.path}", file=sys.stderr)
                roots.download(DOWNLOAD, FILES, place.path)
            except roots.NotDownloaded as error:
                raise _absent(place, f"{reason}, and could not be downloaded: {error}") from error
        else:
            raise _absent(place, reason)
    for names in SPLITS:
        for name, magic in zip(names, (IMAGES, LABELS), strict=True):
            if damage := _damage(place.path / name, magic):
                raise _damaged(place.path / name, damage)
    train_x, train_y = _split(place.path, training=True)
    test_x, test_y = _split(place.path, training=False)
    return Arrays(train_x, train_y, test_x, test_y, CLASSES)


def _missing(root: Path) -> list[str]:
    return [name for name in FILES if not (root / name).is_file()]


def _damage(path: Path, magic: int) -> str | None:
    """What is wrong with an IDX file, by its header and its length, None where nothing is.

    Of a file cut short torchvision says only that a shape does not fit, and not in which file.
    """
    dimensions = magic % 256
    try:
        with path.open("rb") as file:
            header = file.read(4 * (1 + dimensions))
        size = path.stat().st_size
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    numbers = [int.from_bytes(header[at : at + 4], "big") for at in range(0, len(header), 4)]
    if len(header) < 4 * (1 + dimensions) or numbers[0] != magic:
        return f"is no IDX file of bytes in {dimensions} dimension{'s' if dimensions > 1 else ''}"
    if not math.prod(numbers[1:]):
        return "holds nothing"
    expected = len(header) + math.prod(numbers[1:])
    return None if size == expected else f"holds {size} bytes, and its header announces {expected}"


def _split(root: Path, training: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """One split's images, (n, 1, 28, 28) uint8, and labels, (n,) int64."""
    import torch
    from torchvision.datasets import MNIST  # takes a second to import, and other data sets do not need it

    images, labels = (root / name for name in SPLITS[not training])
    try:
        read = MNIST(root, train=training, download=False)
    except Exception as error:  # torchvision raises what its parsing happens to raise
        raise _damaged(root / "MNIST", f"cannot be read by torchvision: {error}") from error
    x, y = read.data, read.targets
    if x.shape[1:] != SHAPE:
        raise _damaged(images, f"has images of {' x '.join(map(str, x.shape[1:]))}, not 28 x 28")
    if len(x) != len(y):
        raise _damaged(labels, f"has {len(y)} labels for {len(x)} images")
    if int(y.max()) >= CLASSES:
        raise _damaged(labels, f"has the label {int(y.max())}, and MNIST's are 0 to {CLASSES - 1}")
    return x.unsqueeze(1), y.to(torch.int64)


def _absent(place: Root, reason: str) -> DataMissing:
    put = f"its four files, unpacked, into {place.path / FOLDER}: {', '.join(name.split('/')[-1] for name in FILES)}"
    elsewhere = f"(or name the folder that has {FOLDER} in it by --data-root or {roots.VARIABLE})"
    return DataMissing(f"MNIST is not in {place.path} ({place.source}): {reason}", f"{put} {elsewhere}", INSTEAD)


def _damaged(path: Path, damage: str) -> DataMissing:
    return DataMissing(f"MNIST is damaged: {path} {damage}", "an undamaged copy in its place", INSTEAD)
