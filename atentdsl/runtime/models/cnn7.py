"""The seven-layer network of the l-infinity experiments on MNIST: four convolutions, three layers, dropout between.

The paper's appendix A.1, which takes it from TRADES as `SmallCNN`: convolutions without padding, dropout of one half
after the first layer. The weights begin as there: convolutions normal with variance 2 / fan-in and no bias, the last
layer zero, so that the first logits are all 0 and so is the first gradient in the input.
"""

from __future__ import annotations

from torch import nn

__all__ = ["build"]

DROPOUT = 0.5
SMALLEST = 16  # of height and width: the last pooling leaves one pixel


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build (batch, channels, height, width) to (batch, classes); height and width of at least 16.

    Train and eval mode differ by the dropout. On (1, 28, 28) the first layer takes 64 * 4 * 4 = 1024 numbers.

    Raises:
        ValueError: `shape` is no image's, or is too small for the convolutions and poolings.

    >>> sum(p.numel() for p in build((1, 28, 28), 10).parameters())
    312202
    """
    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        raise ValueError(
            f"cnn7 wants images of shape (channels, height, width), {SMALLEST} x {SMALLEST} or larger, not {shape}"
        )
    channels, height, width = shape
    network = nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * _left(height) * _left(width), 200),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(200, 200),
        nn.ReLU(),
    )
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None, "as built above"
            nn.init.zeros_(layer.bias)
    last = nn.Linear(200, classes)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return network.append(last)


def _left(side: int) -> int:
    """What two convolutions and a pooling, twice, leave of a side of the image."""
    for _ in range(2):
        side = (side - 4) // 2
    return side
