"""What is trained and evaluated: the recipe's network and images, or the caller's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from atentdsl.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from atentdsl.runtime.data import Images

GIVEN = "given by the caller"


def images(
    recipe: Recipe, data: Dataset[Any] | None, test: Dataset[Any] | None, root: str | Path | None
) -> tuple[Images, Images, Images | None]:
    """Training, validation and test images; the caller's own where they are given."""
    from atentdsl.runtime import datasets
    from atentdsl.runtime.data import from_dataset, hold_out

    if data is None:
        arrays = datasets.load(recipe.data.name, None if root is None else Path(root))
        whole, held = arrays.training(), arrays.test()
    else:
        whole = from_dataset(data)
        held = None if test is None else from_dataset(test, whole.classes)  # type: ignore[assignment]
    training, validation = hold_out(whole, recipe.data.validation)
    return training, validation, held


def network(recipe: Recipe, training: Images) -> nn.Module:
    """The recipe's architecture with fresh weights, normalising by the training images' mean and deviation."""
    from atentdsl.runtime import models
    from atentdsl.runtime.normalise import statistics

    mean, std = statistics(training.x)
    return models.build(recipe.model.name, training.shape, training.classes, mean, std, recipe.header.seed)
