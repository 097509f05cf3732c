"""What is measured: a compiled recipe, its network, and images of its data set's shape.

Timings do not depend on pixels, so the images are drawn and no data set has to be there.
"""

from __future__ import annotations

import copy
from typing import Any

import attrs
import torch
from torch import nn

from atentdsl.codegen import Compiled
from atentdsl.plan.operations import Take
from atentdsl.recipe import Recipe
from atentdsl.runtime import datasets
from atentdsl.runtime.data import Images, generator
from atentdsl.runtime.examples import Batch
from atentdsl.runtime.policy import Policy

__all__ = ["Subject", "drawn_images"]


def drawn_images(name: str) -> Images:
    """As many images and labels as the data set of that name has to train on, of its shape and classes, drawn evenly.

    The same ones each time, on the CPU.

    >>> images = drawn_images("digits")
    >>> len(images), images.shape, images.classes
    (1438, (1, 8, 8), 10)
    """
    known, source = datasets.description(name), generator(f"benchmark/{name}")
    x = torch.randint(256, (known.training, *known.shape), dtype=torch.uint8, generator=source)
    return Images(x, torch.randint(known.classes, (known.training,), generator=source), known.classes)


@attrs.frozen(eq=False)
class Subject:
    """A recipe ready to be measured.

    Attributes:
        recipe: it.
        compiled: what it compiles to.
        module: the generated module, loaded.
        network: with the weights it begins with, on the images' device; it is copied and not changed.
        images: to train on.
    """

    recipe: Recipe
    compiled: Compiled
    module: Any
    network: nn.Module
    images: Images

    @property
    def device(self) -> torch.device:
        """Where everything is."""
        return self.images.device

    @property
    def seed(self) -> int:
        """The recipe's."""
        return self.recipe.header.seed

    @property
    def precision(self) -> str:
        """That of the compiled step on this device."""
        policy: Policy = self.module.placed(copy.deepcopy(self.network)).policy
        return policy.precision

    def batch(self) -> Batch:
        """The batch that every step is timed on: x `(batch, *input)`, y `(batch,)`."""
        x, y = self.images.take(slice(self.module.BATCH))
        return Batch((x, y), torch.arange(len(y), device=self.device), len(self.images))

    def batches_taken(self) -> int:
        """How many batches one step takes."""
        return sum(isinstance(operation, Take) for operation in self.compiled.plan.flat())
