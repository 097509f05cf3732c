"""MNIST: 60,000 training and 10,000 test images of handwritten digits, (1, 28, 28), 10 classes.

Read from torchvision's layout: the four unpacked IDX files in `MNIST/raw` below the data root. Each is read once, and
its hash is compared before anything of it is used.

Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", 1998.
"""

from __future__ import annotations

import hashlib
import math
import sys
from typing import TYPE_CHECKING

from atentdsl.runtime import roots
from atentdsl.runtime.errors import DataMissing

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from atentdsl.runtime.data import Arrays
    from atentdsl.runtime.roots import Root

__all__ = ["FILES", "damages", "load", "missing"]

CLASSES = 10
SHAPE = (1, 28, 28)
TRAINING = 60_000
FOLDER = "MNIST/raw"
IMAGE_FILE, LABEL_FILE = 0x803, 0x801  # an IDX file's first number: of bytes, in three dimensions and in one
# Each split's images and labels, training first.
SPLITS = (
    (f"{FOLDER}/train-images-idx3-ubyte", f"{FOLDER}/train-labels-idx1-ubyte"),
    (f"{FOLDER}/t10k-images-idx3-ubyte", f"{FOLDER}/t10k-labels-idx1-ubyte"),
)
FILES = SPLITS[0] + SPLITS[1]
# Of the files as they were published: packed with the published archives' names and times, they have the archives' MD5.
SHA256 = dict(
    zip(
        FILES,
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        strict=True,
    )
)
DOWNLOAD = roots.torchvision_command("MNIST")
INSTEAD = "`atentdsl run recipes/atent_linf.toml`, whose digits come with scikit-learn,"


def load(root: Path | None = None) -> Arrays:
    """Load MNIST from below `root`, or where `atentdsl.runtime.roots` looks for data; into the cache it is downloaded.

    Raises:
        DataMissing: files are not there, or are damaged; says which, and what to put where.
    """
    from atentdsl.runtime.data import Arrays  # loads torch, which `missing` and `damages` do without

    place = roots.data_root(root)
    if absent := missing(place.path):
        reason = f"{absent[0]} is not there" if len(absent) == 1 else f"{len(absent)} of its files are not there"
        if place.is_cache:
            try:
                print(f"downloading MNIST into {place.path}", file=sys.stderr)
                roots.download(DOWNLOAD, FILES, place.path)
            except roots.NotDownloaded as error:
                raise _absent(place, f"{reason}, and could not be downloaded: {error}") from error
        else:
            raise _absent(place, reason)
    (train_x, train_y), (test_x, test_y) = ([_tensor(_content(place.path, name)) for name in part] for part in SPLITS)
    return Arrays(train_x.unsqueeze(1), train_y.long(), test_x.unsqueeze(1), test_y.long(), CLASSES)


def missing(root: Path) -> list[str]:
    """List those of the four files, named relative to `root`, that are not there; all four of a folder without MNIST.

    >>> from pathlib import Path
    >>> len(missing(Path("no-such-folder")))
    4
    """
    return [name for name in FILES if not (root / name).is_file()]


def damages(root: Path) -> list[DataMissing]:
    """List what `load` would refuse about the files that are there: damage, with the file's name; needs no torch.

    >>> from pathlib import Path
    >>> damages(Path("no-such-folder"))
    []
    """
    found = []
    for name in FILES:
        if (root / name).is_file():
            try:
                _content(root, name)
            except DataMissing as error:
                found.append(error)
    return found


def _content(root: Path, name: str) -> bytearray:
    """One file, whole and undamaged; what is used is what the hash was taken of."""
    try:
        content = bytearray((root / name).read_bytes())
    except OSError as error:
        raise _damaged(root / name, f"cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        damage = _damage(content, IMAGE_FILE if "images" in name else LABEL_FILE)
        seen = f"{damage}; it has" if damage else "has"
        raise _damaged(root / name, f"{seen} sha256 {found}, expected {SHA256[name]}")
    return content


def _damage(content: bytearray, magic: int) -> str | None:
    """What can be said of an IDX file with a wrong hash, None where it is whole and could be one of MNIST's."""
    dimensions = magic % 256
    header = 4 * (1 + dimensions)
    if len(content) < header or _number(content, 0) != magic:
        return f"is no IDX file of bytes in {dimensions} dimension{'s' if dimensions > 1 else ''}"
    sizes = _sizes(content)
    if not math.prod(sizes):
        return "holds nothing"
    if len(content) != header + math.prod(sizes):
        return f"holds {len(content)} bytes, and its header announces {header + math.prod(sizes)}"
    if magic == IMAGE_FILE and sizes[1:] != SHAPE[1:]:
        return f"has images of {' x '.join(map(str, sizes[1:]))}, not 28 x 28"
    if magic == LABEL_FILE and max(content[header:]) >= CLASSES:
        return f"has the label {max(content[header:])}, and MNIST's are 0 to {CLASSES - 1}"
    return None


def _tensor(content: bytearray) -> torch.Tensor:
    """An undamaged file's bytes in the shape that its header says."""
    import torch

    sizes = _sizes(content)
    return torch.frombuffer(content, dtype=torch.uint8, offset=4 * (1 + len(sizes))).view(sizes)


def _sizes(content: bytearray) -> tuple[int, ...]:
    return tuple(_number(content, place) for place in range(1, 1 + content[3]))


def _number(content: bytearray, place: int) -> int:
    return int.from_bytes(content[4 * place : 4 * (place + 1)], "big")


def _absent(place: Root, reason: str) -> DataMissing:
    put = f"its four files, unpacked, into {place.path / FOLDER}: {', '.join(name.split('/')[-1] for name in FILES)}"
    elsewhere = f"(or name the folder that has {FOLDER} in it by --data-root or {roots.VARIABLE})"
    return DataMissing(f"MNIST is not in {place.path} ({place.source}): {reason}", f"{put} {elsewhere}", INSTEAD)


def _damaged(path: Path, damage: str) -> DataMissing:
    return DataMissing(f"MNIST is damaged: {path} {damage}", "an undamaged copy in its place", INSTEAD)
