"""What is trained and evaluated: the recipe's network and images, or the caller's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atentdsl.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from atentdsl.runtime.data import Images

GIVEN = "given by the caller"
OWN_NETWORK = "the run trained a network of the caller's own: pass it as `model`"
RANDOM = "random"


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


def network(
    recipe: Recipe,
    training: Images,
    *,
    user_code: bool = True,
    trust: bool = False,
    fresh: bool = False,
    begun: Path | None = None,
) -> nn.Module:
    """The recipe's architecture with the weights that it begins with.

    An installed architecture normalises by the training images' mean and deviation; code of the user's own takes the
    images as they are.

    Args:
        recipe: names the architecture and says where its weights come from.
        training: the images.
        user_code: whether code that the recipe names may run.
        trust: whether weights may be read by what can run code that they hold.
        fresh: leaves the weights random whatever the recipe says: others are going to take their place.
        begun: where a run of the recipe is that `[model] init` names, if it names one.

    Raises:
        ArchitectureUnfit: an installed architecture cannot take the images.
        UserCodeRefused: the code that the recipe names must not run, or is no such network.
        WeightsRefused, NotARunDirectory, CheckpointBroken: as for `foreign_weights.read` and `fill`.
    """
    from atentdsl.runtime import models
    from atentdsl.runtime import user_code as code
    from atentdsl.runtime.errors import ArchitectureUnfit, UserCodeRefused
    from atentdsl.runtime.normalise import statistics

    name, seed = recipe.model.name, recipe.header.seed
    if code.is_code(name):
        if not user_code:
            raise UserCodeRefused(name, "its code is not run with --no-user-code")
        made = code.build(name, training.shape, training.classes, seed)
    else:
        mean, std = statistics(training.x)
        try:
            made = models.build(name, training.shape, training.classes, mean, std, seed)
        except ValueError as error:
            raise ArchitectureUnfit(name, str(error)) from error
    if recipe.model.init != RANDOM and not fresh:
        from atentdsl.runtime import foreign_weights

        path = begun or weights_path(recipe)
        foreign_weights.fill(made, foreign_weights.read(path, trust), path)
    return made


def weights_path(recipe: Recipe) -> Path:
    """Where the weights are that a recipe begins with, where they are not random.

    Raises:
        WeightsRefused: the recipe names another recipe, of which there is no run here.
    """
    from atentdsl.api import beginnings
    from atentdsl.runtime.errors import WeightsRefused

    first = beginnings.named(recipe)
    if first is not None:
        why = f"they are those of a run of the recipe `{first}`: name one by `--set model.init=RUN`"
        raise WeightsRefused(None, why)
    return Path(recipe.model.init)


def origin(recipe: Recipe, begun: Path | None = None) -> dict[str, Any]:
    """What the manifest says of weights that are not random: the path as the recipe has it, and the file's sha256.

    Where the recipe names another one, `begun` is that one's run, and which recipe it was is said too.
    """
    import hashlib

    from atentdsl.api import beginnings
    from atentdsl.runtime import foreign_weights

    if recipe.model.init == RANDOM:
        return {}
    path = begun or weights_path(recipe)
    first = beginnings.first_of(recipe)
    with foreign_weights.weights_file(path).open("rb") as file:
        told = {"path": str(begun or recipe.model.init), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    return {"init": told | ({} if first is None else beginnings.origin(first))}


def trained(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """How a run trained its network, as its evaluation says it: the compiler's tolerance, and the passes' precision.

    And the weights, where they are `averaged`. Empty for a run of a version that wrote none of it.
    """
    known = {"tolerance": manifest.get("tolerance"), "precision": manifest.get("policy", {}).get("precision")}
    if manifest.get("kept", {}).get("weights") == "averaged":
        known["weights"] = "averaged"
    return {name: value for name, value in known.items() if value is not None}


def require_given(manifest: Mapping[str, Any], model: object, data: object) -> None:
    """Asks for the caller's own network and data where a run was given them.

    Raises:
        NotGiven: it is not passed.
    """
    from atentdsl.runtime.errors import NotGiven

    if manifest["data"] == GIVEN and data is None:
        raise NotGiven("the run trained on data of the caller's own: pass them as `data` to `atentdsl.resume`")
    if manifest["model"] == GIVEN and model is None:
        raise NotGiven(OWN_NETWORK)


def require_origin(recipe: Recipe, manifest: Mapping[str, Any], path: Path) -> Path | None:
    """Asks for the very weights that a run began with, where it has no snapshot of its own yet.

    Returns:
        Where a run of the recipe is that `[model] init` names; None where it names none.

    Raises:
        CannotResume: the file holds others now.
    """
    from atentdsl.api import beginnings
    from atentdsl.runtime.errors import CannotResume

    expected = manifest.get("init")
    begun = Path(expected["path"]) if expected and beginnings.named(recipe) is not None else None
    if expected != origin(recipe, begun).get("init"):
        where = begun or recipe.model.init
        raise CannotResume(path, f"the weights at {where} are not those it began with; begin a new run")
    return begun
