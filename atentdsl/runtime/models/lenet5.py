"""The network of the l2 experiments on MNIST: two convolutions of 5 x 5, two poolings, two layers.

The paper's appendix A.1, which takes it from AdverTorch and calls it LeNet5; the published code imports the one that
AdverTorch names LeNet5Madry, and only that one has the paper's layers 3136 x 1024 and 1024 x 10. The appendix leaves
out the size of the convolutions: 5 x 5 with a padding of 2 there.
"""

from __future__ import annotations

from torch import nn

__all__ = ["build"]


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build (batch, channels, height, width) to (batch, classes); height and width of at least 4.

    Without dropout and batch norm, so that train and eval mode compute the same.

    Raises:
        ValueError: `shape` is no image's, or is too small for two poolings.

    >>> sum(p.numel() for p in build((1, 28, 28), 10).parameters())
    3274634
    """
    if len(shape) != 3 or min(shape[1:]) < 4:
        raise ValueError(f"lenet5 wants images of shape (channels, height, width), 4 x 4 or larger, not {shape}")
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 1024),
        nn.ReLU(),
        nn.Linear(1024, classes),
    )
