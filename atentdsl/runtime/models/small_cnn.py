"""A small convolutional network, of the kind the MNIST experiments use: four convolutions, two poolings, two layers.

Without dropout and batch norm, so that train and eval mode compute the same. A second an epoch on 8 x 8 digits.
"""

from __future__ import annotations

from torch import nn

__all__ = ["build"]


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build (batch, channels, height, width) to (batch, classes); height and width of at least 4.

    Raises:
        ValueError: `shape` is no image's, or is too small for two poolings.

    >>> sum(p.numel() for p in build((1, 8, 8), 10).parameters())
    118402
    """
    if len(shape) != 3 or min(shape[1:]) < 4:
        raise ValueError(f"small_cnn wants images of shape (channels, height, width), 4 x 4 or larger, not {shape}")
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 200),
        nn.ReLU(),
        nn.Linear(200, classes),
    )
