"""Images in memory: what is trained on, and what is held out.

Images are kept as they come (uint8 where possible) and turned into floats in [0, 1] batch by batch, so every radius of
a recipe is in units of [0, 1] inputs. All randomness is drawn on the CPU from private generators, keyed by text: the
same seed gives the same batches on every device, and the global generators are never touched.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import PIL.Image
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.utils.data import Dataset

__all__ = [
    "Arrays",
    "Images",
    "from_dataset",
    "generator",
    "hold_out",
    "tensors_sha256",
    "unit",
]


def tensors_sha256(named: Mapping[str, torch.Tensor]) -> str:
    """Hash (sha256) names, dtypes, shapes and bytes of tensors in this order, wherever they are stored.

    >>> tensors_sha256({})[:8]
    'e3b0c442'
    """
    seen = hashlib.sha256()
    for name, tensor in named.items():
        seen.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        seen.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return seen.hexdigest()


@attrs.frozen(eq=False)
class Images:
    """Labelled images on one device: `x` (n, *input), uint8 or floats in [0, 1]; `y` (n,) int64 in [0, classes).

    `name` is what a figure measured on them has to be said to be of, None where that is their data set's name.
    `eq` is left out: comparing tensors has no one truth value. Compare `digest()`.

    Raises:
        ValueError: shapes, dtypes or values that are none of the above.

    >>> images = Images(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), torch.tensor([1]), classes=2)
    >>> len(images), images.shape
    (1, (1, 1, 2))
    >>> images.take(slice(None))
    (tensor([[[[0., 1.]]]]), tensor([1]))
    """

    x: torch.Tensor
    y: torch.Tensor
    classes: int
    name: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.x.dtype != torch.uint8 and not self.x.is_floating_point():
            raise ValueError(f"images must be uint8 or floats in [0, 1], not {self.x.dtype}")
        if self.y.dtype != torch.int64 or self.y.dim() != 1:
            raise ValueError(f"labels must be int64 of shape (n,), not {self.y.dtype} of shape {tuple(self.y.shape)}")
        if self.x.dim() < 2 or len(self.x) != len(self.y):
            raise ValueError(f"{tuple(self.x.shape)} images do not fit {tuple(self.y.shape)} labels")
        if self.x.device != self.y.device:
            raise ValueError(f"images on {self.x.device}, labels on {self.y.device}")
        if len(self.y) and not bool(((self.y >= 0) & (self.y < self.classes)).all()):
            raise ValueError(f"labels must lie in [0, {self.classes})")
        # The comparison is written so that it fails for a NaN too.
        if self.x.is_floating_point() and not bool(((self.x >= 0) & (self.x <= 1)).all()):
            raise ValueError("float images must be finite and lie in [0, 1]")

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, (channels, height, width) as a rule."""
        return tuple(self.x.shape[1:])

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.x.device

    def to(self, device: torch.device | str) -> Images:
        """Return the same images on `device`."""
        return attrs.evolve(self, x=self.x.to(device), y=self.y.to(device))

    def take(
        self, index: torch.Tensor | slice, dtype: torch.dtype = torch.float32
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Copy the images at `index` as floats in [0, 1], (batch, *input), and their labels, (batch,)."""
        return unit(self.x[index], dtype), self.y[index].clone()

    def digest(self) -> str:
        """Hash (sha256) shapes, dtypes and bytes of images and labels, wherever they are stored."""
        return tensors_sha256({"x": self.x, "y": self.y})


@attrs.frozen(eq=False)
class Arrays:
    """A data set as it is published: `train_x`, `test_x` (n, c, h, w) uint8, `train_y`, `test_y` (n,) int64.

    `name` is as for `Images`: of a data set that is not as it was published.
    """

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    classes: int
    name: str | None = None

    def training(self) -> Images:
        """Return the training images, from which `hold_out` takes the validation images."""
        return Images(self.train_x, self.train_y, self.classes, self.name)

    def test(self) -> Images:
        """Return the test images: for reports, never for selecting a model."""
        return Images(self.test_x, self.test_y, self.classes, self.name)


def from_dataset(dataset: Dataset[Any], classes: int | None = None) -> Images:
    """Read every item of a map-style torch data set once, into memory: leave random augmentation out of it.

    An item is a pair of an image and a label. The image is a tensor (channels, height, width) or (height, width), a
    PIL image, or a numpy array (height, width, channels) or (height, width); uint8, or floats in [0, 1], which become
    float32. The label is an integer. `classes` is one more than the largest label where it is not given.

    Raises:
        ValueError: an item is none of these, or differs in shape or kind from the first; the message names its index.

    >>> items = [(torch.full((1, 2, 2), 0.5), 0), (torch.ones(1, 2, 2), 1)]
    >>> images = from_dataset(items)
    >>> len(images), images.shape, images.classes
    (2, (1, 2, 2), 2)
    """
    if not hasattr(dataset, "__len__") or len(dataset) == 0:
        raise ValueError("a data set with a length and at least one item is wanted")
    n = len(dataset)
    y = torch.empty(n, dtype=torch.int64)
    x = torch.empty(0)
    for i in range(n):
        try:
            item = dataset[i]
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise ValueError(f"a pair of image and label is wanted, not {type(item).__name__}")
            image, label = _image(item[0]), _label(item[1], classes)
            if i == 0:
                x = torch.empty((n, *image.shape), dtype=image.dtype)
            if (image.shape, image.dtype) != (x.shape[1:], x.dtype):
                raise ValueError(
                    f"{image.dtype} of shape {tuple(image.shape)}, the first is {x.dtype} of shape {tuple(x.shape[1:])}"
                )
        except ValueError as error:
            raise ValueError(f"item {i} of the data set: {error}") from error
        x[i], y[i] = image, label
    return Images(x, y, int(y.max()) + 1 if classes is None else classes)


def _image(image: Any) -> torch.Tensor:
    """Turn a tensor, PIL image or numpy array into (channels, height, width), uint8 or float32 in [0, 1]."""
    if isinstance(image, torch.Tensor):
        tensor = image.detach().cpu()
    elif isinstance(image, (np.ndarray, PIL.Image.Image)):
        tensor = torch.from_numpy(_pixels(image))
        if tensor.dim() == 3:
            if tensor.shape[-1] > 4:
                raise ValueError(f"an array (height, width, channels) is wanted, not {tuple(tensor.shape)}")
            tensor = tensor.permute(2, 0, 1)
    else:
        raise ValueError(f"the image is a {type(image).__name__}, not a tensor, a PIL image or a numpy array")
    if tensor.dim() == 2:
        tensor = tensor.unsqueeze(0)
    if tensor.dim() != 3:
        raise ValueError(f"an image (channels, height, width) is wanted, not {tuple(tensor.shape)}")
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point():
        raise ValueError(f"the image is {tensor.dtype}, not uint8 or floats in [0, 1]")
    if not bool(((tensor >= 0) & (tensor <= 1)).all()):
        raise ValueError(f"its values are not all in [0, 1]: {float(tensor.min()):g} to {float(tensor.max()):g}")
    return tensor.float()


def _pixels(image: Any) -> np.ndarray[Any, Any]:
    """Copy a numpy array, or a PIL image whose pixels are bytes (palettes and bitmaps are expanded)."""
    if isinstance(image, np.ndarray):
        if image.dtype.kind not in "uif" or image.dtype.itemsize > 8:
            raise ValueError(f"the array is {image.dtype}, not uint8 or floats in [0, 1]")
        return np.array(image, dtype=image.dtype.newbyteorder("="))
    if image.mode in ("1", "P"):
        image = image.convert({"1": "L", "P": "RGB"}[image.mode])
    if image.mode not in ("L", "RGB", "RGBA"):
        raise ValueError(f"the PIL image has mode {image.mode}; convert it to L or RGB")
    return np.array(image)


def _label(label: Any, classes: int | None) -> int:
    """Turn an integer, of Python, numpy or a tensor of no dimension, into a class that exists."""
    if isinstance(label, torch.Tensor) and label.dim() == 0:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, (int, np.integer)):
        raise ValueError(f"its label is {label!r}, not an integer")
    if label < 0 or (classes is not None and label >= classes):
        raise ValueError(f"its label {label} is not in [0, {'classes' if classes is None else classes})")
    return int(label)


def hold_out(images: Images, fraction: float, seed: int = 0) -> tuple[Images, Images]:
    """Split into training and validation images, class by class, the same way for the same `seed`.

    The two parts are disjoint, together the whole, and keep the order of `images`. Of a class with n images
    `fraction * n` are held out, rounded down or up so that the total is right to within one; every class keeps at least
    one image to train on.

    Raises:
        ValueError: `fraction` is not in (0, 1), or no image can be held out.

    >>> images = Images(torch.zeros(20, 1, 2, 2, dtype=torch.uint8), torch.arange(20) % 2, classes=2)
    >>> training, validation = hold_out(images, 0.1)
    >>> len(training), sorted(validation.y.tolist())
    (18, [0, 1])
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction to hold out must lie between 0 and 1, not {fraction}")
    labels = images.y.cpu()
    members = [torch.nonzero(labels == label).flatten() for label in range(images.classes)]
    counts = _held_out_counts([len(of_class) for of_class in members], Fraction(str(fraction)))
    if sum(counts) == 0:
        raise ValueError(
            f"no validation image can be held out of {len(images)} images: no class has two; give more images"
        )
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label, (of_class, count) in enumerate(zip(members, counts, strict=True)):
        order = torch.randperm(len(of_class), generator=generator(f"{seed}/hold_out/{label}"))
        held[of_class[order[:count]]] = True
    kept, taken = (torch.nonzero(part).flatten().to(images.device) for part in (~held, held))
    return (
        attrs.evolve(images, x=images.x[kept], y=images.y[kept]),
        attrs.evolve(images, x=images.x[taken], y=images.y[taken]),
    )


def _held_out_counts(sizes: Sequence[int], fraction: Fraction) -> list[int]:
    """How many of each class: the largest remainders are rounded up until the total is right, and at least one."""
    exact = [fraction * size for size in sizes]
    counts = [int(share) for share in exact]
    wanted = max(1, round(fraction * sum(sizes)))
    for label in sorted(range(len(sizes)), key=lambda label: counts[label] - exact[label]):
        if sum(counts) < wanted and counts[label] < exact[label] and counts[label] + 1 < sizes[label]:
            counts[label] += 1
    return counts


def unit(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Copy `x` as floats in [0, 1]: uint8 is divided by 255 with one rounding, on every device alike."""
    if x.dtype != torch.uint8:
        return x.to(dtype, copy=True)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    # A Python number would be turned into a multiplication by its reciprocal on a GPU, which is off by one bit.
    return (x.to(wide) / torch.full((), 255, dtype=wide, device=x.device)).to(dtype)


def generator(key: str) -> torch.Generator:
    """Make a private CPU generator from a text, by 63 bits of its hash."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
