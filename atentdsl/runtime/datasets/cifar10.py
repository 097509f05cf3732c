"""CIFAR-10: 50,000 training and 10,000 test photographs, (3, 32, 32), 10 classes.

Read from torchvision's layout: the six batches in `cifar-10-batches-py` below the data root. Each is read once, and its
hash is compared before anything of it is used. Where none of them is there, copies as JPEG files are taken from
`cifar10-jpeg/{train,test}/CLASS/*.jpg`. Those are other images, since JPEG loses detail: a run on them says in its
manifest and evaluation that its data are, for example, `CIFAR-10 (JPEG q75)`.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from typing import TYPE_CHECKING, Any

from atentdsl.runtime import roots
from atentdsl.runtime.errors import DataMissing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from atentdsl.runtime.data import Arrays
    from atentdsl.runtime.roots import Root

__all__ = ["FILES", "damages", "has_copies", "load", "missing"]

CLASSES = 10
SHAPE = (3, 32, 32)
TRAINING = 50_000
# In the order of the published labels 0 to 9.
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-py"
TEST = f"{FOLDER}/test_batch"
# As published with the archive: torchvision compares the same.
MD5 = {
    f"{FOLDER}/data_batch_1": "c99cafc152244af753f735de768cd75f",
    f"{FOLDER}/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    f"{FOLDER}/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    f"{FOLDER}/data_batch_4": "634d18415352ddfa80567beed471001a",
    f"{FOLDER}/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    TEST: "40351d587109b95175f43aff81a1287e",
}
FILES = tuple(MD5)
COPIES = "cifar10-jpeg"
COUNTS = {"train": 5_000, "test": 1_000}  # JPEG files of each class
DOWNLOAD = roots.torchvision_command("CIFAR10")
LIMIT = 600.0  # seconds for 170 MB
INSTEAD = "`atentdsl run recipes/atent_linf.toml`, whose digits come with scikit-learn,"


def load(root: Path | None = None) -> Arrays:
    """Load CIFAR-10 from below `root`, or where `roots` looks for data; into the cache it is downloaded.

    The published batches keep their order; copies are ordered by class, then by the file's name, which takes some
    seconds to read. One published batch is enough for copies to be left alone.

    Raises:
        DataMissing: files are not there, or are damaged; says which, and what to put where.
    """
    place = roots.data_root(root)
    absent = missing(place.path)
    if len(absent) == len(FILES) and has_copies(place.path):
        return _copies(place.path / COPIES)
    if absent:
        reason = f"{absent[0]} is not there" if len(absent) == 1 else f"{len(absent)} of its files are not there"
        if not place.is_cache:
            raise _absent(place, reason)
        try:
            print(f"downloading CIFAR-10 into {place.path}", file=sys.stderr)
            roots.download(DOWNLOAD, FILES, place.path, LIMIT)
        except roots.NotDownloaded as error:
            raise _absent(place, f"{reason}, and could not be downloaded: {error}") from error
    return _published(place.path)


def missing(root: Path) -> list[str]:
    """List those of the six published batches, named relative to `root`, that are not there.

    >>> from pathlib import Path
    >>> len(missing(Path("no-such-folder")))
    6
    """
    return [name for name in FILES if not (root / name).is_file()]


def has_copies(root: Path) -> bool:
    """Whether there is a folder for JPEG copies below `root`; what is in it may be damaged.

    >>> from pathlib import Path
    >>> has_copies(Path("no-such-folder"))
    False
    """
    return (root / COPIES).is_dir()


def damages(root: Path) -> list[DataMissing]:
    """List what `load` would refuse about what is there, with the file's name; needs no torch.

    Published batches are read whole. Copies are counted, and only `load` opens them.

    >>> from pathlib import Path
    >>> damages(Path("no-such-folder"))
    []
    """
    absent, found = missing(root), []
    for name in FILES:
        if name not in absent:
            try:
                _content(root, name)
            except DataMissing as error:
                found.append(error)
    if len(absent) == len(FILES) and has_copies(root):
        try:
            _listed(root / COPIES)
        except DataMissing as error:
            found.append(error)
    return found


def _published(root: Path) -> Arrays:
    import torch

    from atentdsl.runtime.data import Arrays  # loads torch, which `missing` and `damages` do without

    # By their hashes these are the published files, so nothing that was slipped in is unpickled. Python 2 wrote them.
    batches = {name: pickle.loads(_content(root, name), encoding="latin1") for name in FILES}

    def part(names: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = torch.cat([torch.from_numpy(batches[name]["data"]) for name in names])
        labels = [label for name in names for label in batches[name]["labels"]]
        return pixels.reshape(-1, *SHAPE), torch.tensor(labels, dtype=torch.int64)

    return Arrays(*part(FILES[:-1]), *part([TEST]), CLASSES)


def _content(root: Path, name: str) -> bytes:
    """One batch, whole and undamaged; what is used is what the hash was taken of."""
    try:
        content = (root / name).read_bytes()
    except OSError as error:
        raise _damaged(root / name, f"cannot be read: {error.strerror}") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MD5[name]:
        # Every pickle ends in a full stop.
        seen = "has" if content.endswith(b".") else f"ends in the middle, after {len(content)} bytes; it has"
        raise _damaged(root / name, f"{seen} md5 {found}, expected {MD5[name]}")
    return content


def _copies(folder: Path) -> Arrays:
    import numpy as np
    import torch

    from atentdsl.runtime.data import Arrays

    parts: list[torch.Tensor] = []
    tables = set()
    for files in _listed(folder).values():
        pixels = np.empty((len(files), *SHAPE[1:], SHAPE[0]), dtype=np.uint8)
        for i, path in enumerate(files):
            image = _image(path)
            pixels[i] = np.asarray(image)
            tables.add(_tables(image))
        labels = torch.tensor([LABELS.index(path.parent.name) for path in files])
        parts += [torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels]
    quality = _qualities().get(tables.pop()) if len(tables) == 1 else None
    train_x, train_y, test_x, test_y = parts
    name = f"CIFAR-10 (JPEG q{quality})" if quality else "CIFAR-10 (JPEG)"
    return Arrays(train_x, train_y, test_x, test_y, CLASSES, name)


def _listed(folder: Path) -> dict[str, list[Path]]:
    """The copies of each split, by class and then by name, as many as there have to be."""
    found: dict[str, list[Path]] = {}
    for split, count in COUNTS.items():
        try:
            others = {path.name for path in (folder / split).iterdir() if path.is_dir()}.difference(LABELS)
            if strange := sorted(name for name in others if not name.startswith(".")):
                known = ", ".join(LABELS)
                raise _damaged(folder / split / strange[0], f"is no class of CIFAR-10; its classes are {known}", MEND)
            found[split] = []
            for label in LABELS:
                files = [path for path in (folder / split / label).iterdir() if path.suffix == ".jpg"]
                if len(files) != count:
                    raise _damaged(folder / split / label, f"holds {len(files)} .jpg files, not {count}", MEND)
                found[split] += sorted(files, key=lambda path: path.name)
        except OSError as error:
            raise _damaged(error.filename, f"cannot be read: {error.strerror}", MEND) from error
    return found


def _image(path: Path) -> Any:
    """One copy, decoded: a PIL image of 32 x 32 pixels with three channels."""
    import PIL.Image

    try:
        image = PIL.Image.open(io.BytesIO(path.read_bytes()), formats=["JPEG"])
        size = image.size
        image.load()
    except PIL.UnidentifiedImageError as error:
        raise _damaged(path, "is no JPEG file", MEND) from error
    except Exception as error:  # decoding raises what it happens to raise
        raise _damaged(path, f"cannot be read: {getattr(error, 'strerror', None) or error}", MEND) from error
    if size != SHAPE[:0:-1] or image.mode != "RGB":
        seen = f"{size[0]} x {size[1]} pixels in {image.mode}"
        raise _damaged(path, f"has {seen}, not {SHAPE[2]} x {SHAPE[1]} in RGB", MEND)
    return image


def _qualities() -> dict[Any, int]:
    """The quality, 1 to 100, that writes with these tables; the usual ones, by the library that reads the copies."""
    import PIL.Image

    known: dict[Any, int] = {}
    for quality in range(1, 101):
        file = io.BytesIO()
        PIL.Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        known.setdefault(_tables(PIL.Image.open(file)), quality)
    return known


def _tables(image: Any) -> tuple[tuple[int, ...], ...]:
    """By what a JPEG's frequencies were divided before they were rounded."""
    return tuple(tuple(table) for _, table in sorted(image.quantization.items()))


def _absent(place: Root, reason: str) -> DataMissing:
    names = ", ".join(name.split("/")[-1] for name in FILES)
    put = (
        f"the six files of its Python version, unpacked, into {place.path / FOLDER}: {names}; or copies as "
        f"{place.path / COPIES}/train/airplane/0000.jpg and so on"
    )
    elsewhere = f"(or name the folder that has {FOLDER} or {COPIES} in it by --data-root or {roots.VARIABLE})"
    return DataMissing(f"CIFAR-10 is not in {place.path} ({place.source}): {reason}", f"{put} {elsewhere}", INSTEAD)


MEND = (
    f"undamaged copies in their place: {COUNTS['train']:,} files of 32 x 32 pixels in each {COPIES}/train/CLASS, and "
    f"{COUNTS['test']:,} in each {COPIES}/test/CLASS"
)


def _damaged(path: Path | str, damage: str, put: str = "an undamaged copy in its place") -> DataMissing:
    return DataMissing(f"CIFAR-10 is damaged: {path} {damage}", put, INSTEAD)
