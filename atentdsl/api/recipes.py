"""What needs no training: load and compile a recipe, draw its points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl import recipe as recipes
from atentdsl.codegen import Compiled, as_module, generate
from atentdsl.plan.program import Goal
from atentdsl.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

Source = str | Path | Mapping[str, Any] | Recipe


@attrs.frozen(eq=False)
class Drawn:
    """What a sampler handed on.

    Attributes:
        points: `(points, batch, *input)`.
        weights: c of each point.
    """

    points: Tensor
    weights: tuple[float, ...]


def load(recipe: Source, overrides: Sequence[str] = ()) -> Recipe:
    """The checked recipe.

    Args:
        recipe: a path, the name of a shipped recipe, a dict with the recipe's tables, or a recipe already loaded.
        overrides: `key=value` texts, as after `--set`.

    Raises:
        RecipeError: everything that is wrong with it, at once.
    """
    return recipes.load(recipe, overrides)


def compile(recipe: Source, overrides: Sequence[str] = (), goal: Goal = "train") -> Compiled:
    """The recipe's generated module, and its plan after each pass; loads no torch.

    Args:
        recipe, overrides: as for `load`.
        goal: `train` for a training step; `draw` for the points of its sampler alone.

    Raises:
        RecipeError: everything that is wrong with it, at once.
    """
    return generate(load(recipe, overrides), goal)


def draw(recipe: Source, model: nn.Module, x: Tensor, y: Tensor, seed: int = 0, overrides: Sequence[str] = ()) -> Drawn:
    """The points that the recipe's sampler draws around a batch, and their weights.

    Args:
        recipe, overrides: as for `load`.
        model: maps `(batch, *input)` in [0, 1] to logits `(batch, classes)`; its mode is left as it was.
        x: `(batch, *input)` in [0, 1].
        y: `(batch,)`.
        seed: of the draws.

    Raises:
        RecipeError: everything that is wrong with the recipe, at once.
    """
    import torch

    from atentdsl.runtime.modes import mode_kept
    from atentdsl.runtime.streams import Streams

    compiled = compile(recipe, overrides, "draw")
    with mode_kept(model):
        points = as_module(compiled.text, compiled.name).draw(model, x, y, Streams(seed, 1, x.device))
    return Drawn(torch.stack([z for z, _ in points]), tuple(weight for _, weight in points))
