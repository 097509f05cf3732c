"""Images as PNG inside a page: `data:` URIs, the same bytes for the same image."""

from __future__ import annotations

import base64
import io

import torch
from torch import Tensor

__all__ = ["difference", "picture", "shown"]

CHANNELS = {1: "L", 3: "RGB"}
GREY = 128


def shown(shape: tuple[int, ...]) -> bool:
    """Whether an image of that shape can be shown: (height, width), or (channels, height, width) in grey or colours.

    >>> shown((1, 8, 8)), shown((3, 32, 32)), shown((8, 8)), shown((64,)), shown((2, 8, 8))
    (True, True, True, False, False)
    """
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in CHANNELS)


def picture(image: Tensor) -> str:
    """An image, `(channels, height, width)` or `(height, width)` in [0, 1], as a `data:` URI.

    >>> picture(torch.zeros(1, 2, 2))[:22]
    'data:image/png;base64,'
    """
    return _png((255 * image.clamp(0, 1)).round().to(torch.uint8))


def difference(x: Tensor, z: Tensor, scale: float) -> str:
    """A perturbation z - x as a `data:` URI: grey 128 is zero, 1 and 255 are -scale and scale, in each channel alone.

    Args:
        x: the image, as for `picture`.
        z: the image that was made of it.
        scale: the largest difference that is told apart; with 0 all is grey.
    """
    share = (z - x) / scale if scale else torch.zeros_like(x)
    return _png((GREY + (127 * share.clamp(-1, 1)).round()).to(torch.uint8))


def _png(pixels: Tensor) -> str:
    """Of uint8 pixels."""
    import PIL.Image

    pixels = pixels.unsqueeze(0) if pixels.dim() == 2 else pixels
    mode = CHANNELS[len(pixels)]
    array = pixels[0] if mode == "L" else pixels.permute(1, 2, 0)
    content = io.BytesIO()
    PIL.Image.fromarray(array.contiguous().numpy(), mode).save(content, format="png")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
