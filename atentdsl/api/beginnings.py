"""Training that begins from another recipe's network: that recipe's run with the same seed, made first if need be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atentdsl.api.recipes import load
from atentdsl.recipe import Recipe
from atentdsl.source import RecipeError

if TYPE_CHECKING:
    from atentdsl.runtime.runs import Summary

RECIPE = "recipe:"
"""What `[model] init` begins with where a recipe's name or path follows."""


def named(recipe: Recipe) -> str | None:
    """The recipe that this one begins from, as `[model] init` names it; None where it names none.

    >>> named(load("sgd")) is None, named(load("sgd", ["model.init='recipe:trades_linf'"]))
    (True, 'trades_linf')
    """
    init = recipe.model.init
    return init.removeprefix(RECIPE).strip() if init.startswith(RECIPE) else None


def laid_over(recipe: Recipe) -> list[str]:
    """What the first recipe takes over from the second: seed, network, images and the split of them.

    >>> laid_over(load("sgd", ["recipe.seed=3", "model.name=mlp"]))
    ['recipe.seed=3', "model.name='mlp'", "data.name='digits'", 'data.validation=0.1']
    """
    return [
        f"recipe.seed={recipe.header.seed}",
        f"model.name='{recipe.model.name}'",
        f"data.name='{recipe.data.name}'",
        f"data.validation={recipe.data.validation!r}",
    ]


def first_of(recipe: Recipe) -> Recipe | None:
    """The recipe that this one begins from, with its seed, network and images; None where it names none.

    Raises:
        WeightsRefused: that recipe cannot be used, or begins from this one.
    """
    from atentdsl.runtime.errors import WeightsRefused

    source = named(recipe)
    if source is None:
        return None
    seen, first, current = [recipe.name], None, recipe
    while (source := named(current)) is not None:
        try:
            current = load(source, laid_over(recipe))
        except RecipeError as error:
            message = error.diagnostics[0].message
            why = f"`init` names the recipe `{source}`: {message}; `atentdsl check {source}` says more"
            raise WeightsRefused(None, why) from error
        if current.name in seen:
            circle = ", then ".join(f"`{name}`" for name in [*seen, current.name])
            raise WeightsRefused(None, f"recipes begin from one another: {circle}; let one `init` name a run")
        seen.append(current.name)
        first = first or current
    return first


def origin(first: Recipe) -> dict[str, Any]:
    """What a manifest says of the recipe that a run's weights come from: its name, and its values whatever the seed."""
    values = first.values()
    del values["recipe"]["seed"]
    return {
        "recipe": first.name,
        "values_sha256": hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest(),
    }


def run_of(
    first: Recipe, out: Path, max_steps: int | None, train: Callable[[], Path], resume: Callable[[Path], Path]
) -> Path:
    """The directory of a finished run of the recipe.

    The newest finished one below `out` is taken; an interrupted one is gone on with; else it is trained.

    Args:
        first: the recipe, as `first_of` gives it.
        out: where run directories are.
        max_steps: how many steps the run was to make at most.
        train, resume: finish a run from its beginning, or from where it stands.
    """
    matching = list(_runs(first, out, max_steps))
    finished = [run.path for run in matching if run.status == "finished"]
    if finished:
        return finished[-1]
    interrupted = [run.path for run in matching if run.status == "interrupted"]
    return resume(interrupted[-1]) if interrupted else train()


def _runs(first: Recipe, out: Path, max_steps: int | None) -> Iterator[Summary]:
    from atentdsl.api.subjects import GIVEN
    from atentdsl.runtime import runs
    from atentdsl.runtime.directory import RECIPE as FILE

    for run in runs.found(out, first.name):
        told = run.manifest
        if GIVEN in (told["model"], told["data"]) or told.get("max_steps") != max_steps:
            continue
        try:
            same = load(run.path / FILE).digest() == first.digest()
        except (RecipeError, OSError):
            continue  # what another version wrote
        if same:
            yield run
