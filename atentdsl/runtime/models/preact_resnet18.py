"""The pre-activation ResNet-18 for images of 32 x 32: what robust training on CIFAR-10 is usually compared on.

Eight blocks of two 3 x 3 convolutions, two blocks each of 64, 128, 256 and 512 channels, behind one 3 x 3 convolution
without pooling. Batch norm and ReLU come before each convolution, so that what a block adds to is never cut off. Where
a block changes size or width, its 1 x 1 shortcut takes the activated input too: so do Rice, Wong and Kolter (2020).

K. He, X. Zhang, S. Ren, J. Sun, "Identity Mappings in Deep Residual Networks", 2016.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["build"]

WIDTHS = (64, 128, 256, 512)
BLOCKS = 2  # of each width
SMALLEST = 8  # of height and width: three halvings leave one pixel


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build (batch, channels, height, width) to (batch, classes); height and width of at least 8.

    In train mode its batch norm couples the examples of a batch, and every forward updates its running statistics.

    Raises:
        ValueError: `shape` is no image's, or is too small to be halved three times.

    >>> sum(p.numel() for p in build((3, 32, 32), 10).parameters())
    11172170
    """
    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        raise ValueError(
            f"preact_resnet18 wants images of shape (channels, height, width), {SMALLEST} x {SMALLEST} or larger, "
            f"not {shape}"
        )
    network = nn.Sequential(_convolution(shape[0], WIDTHS[0]))
    inputs = WIDTHS[0]
    for width in WIDTHS:
        for block in range(BLOCKS):
            halves = block == 0 and width != WIDTHS[0]
            network.append(Block(inputs, width, 2 if halves else 1))
            inputs = width
    return network.extend(
        [nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
    )


class Block(nn.Module):
    """Two convolutions, each behind batch norm and ReLU, added to a shortcut.

    (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up. The shortcut is the
    input itself, or a 1 x 1 convolution of the activated input where stride or width change.

    >>> Block(4, 8, stride=2)(torch.zeros(2, 4, 6, 6)).shape
    torch.Size([2, 8, 3, 3])
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = _convolution(inputs, outputs, stride=stride)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else _convolution(inputs, outputs, side=1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what the convolutions make of `x` to `x` or its shortcut."""
        activated = torch.relu(self.norm1(x))
        kept = x if self.shortcut is None else self.shortcut(activated)
        added: torch.Tensor = self.conv2(torch.relu(self.norm2(self.conv1(activated))))
        return added + kept


def _convolution(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
    """Without bias: the batch norm that follows would take it away, and the block adds without one."""
    return nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)
