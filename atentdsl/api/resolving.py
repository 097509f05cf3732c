"""What `evaluate` is given, as a recipe with what is laid over it: a run, a file of weights, code, or a recipe."""

from __future__ import annotations

import json
import os.path
from collections.abc import Sequence
from pathlib import Path

import attrs

from atentdsl.api.recipes import Source
from atentdsl.api.subjects import RANDOM
from atentdsl.api.work import Run
from atentdsl.recipe import shipped
from atentdsl.source import suggest

RECIPE_NEEDED = "its data and attacks come from a recipe: say --recipe RECIPE, a path or one of `atentdsl list recipes`"


@attrs.frozen
class Subject:
    """What is evaluated.

    Attributes:
        source: a run's directory, or the recipe whose images and attacks are taken.
        overrides: `key=value` texts to lay over that recipe; they name the network and its weights.
        whole: the network that the recipe names then has weights worth evaluating as the code makes it.
    """

    source: Source
    overrides: tuple[str, ...]
    whole: bool = False


def resolve(
    subject: str | Path | Run | Source,
    architecture: str | None,
    recipe: Source | None,
    overrides: Sequence[str],
    own_network: bool = False,
) -> Subject:
    """What the subject is: its kind is told by what lies there, and else by how it is written.

    Args:
        subject: a run or its directory; a file of weights; `module:attribute`; or a recipe, whose file's name then ends
            in `.toml`.
        architecture: what a file's weights are filled into.
        recipe: where the images and attacks of a file or of code come from.
        overrides: what the caller lays over the recipe; the subject is laid over that.
        own_network: whether the caller brings the network.

    Raises:
        SubjectRefused: there is no such thing, or something has to be said with it; says what.

    >>> resolve("nets:small", None, "sgd", ["evaluate.restarts=2"]).overrides
    ('model.init="random"', 'evaluate.restarts=2', 'model.name="nets:small"')
    >>> resolve("nets:small", None, None, [])
    Traceback (most recent call last):
        ...
    atentdsl.runtime.errors.SubjectRefused: nets:small cannot be evaluated: its data and attacks come from a recipe: \
say --recipe RECIPE, a path or one of `atentdsl list recipes`
    """
    from atentdsl.runtime import user_code
    from atentdsl.runtime.errors import SubjectRefused

    place = subject.path if isinstance(subject, Run) else subject
    name = str(place) if isinstance(place, str | Path) else "the recipe"
    path = Path(place) if isinstance(place, str | Path) else None
    # Not Path's own questions: they raise where a name is too long to be a file's.
    is_file = path is not None and os.path.isfile(path) and not _is_recipe(path, architecture, recipe, own_network)
    is_code = isinstance(place, str) and not os.path.exists(place) and user_code.is_code(place)
    if not is_file and not is_code:
        _refuse_stranger(path, name)
        if architecture is not None or recipe is not None:
            kind = "a run" if path is not None and os.path.isdir(path) else "a recipe"
            raise SubjectRefused(
                name, f"it is {kind} and names network, data and attacks itself: leave out --architecture and --recipe"
            )
        return Subject(place, tuple(overrides))
    if own_network:
        raise SubjectRefused(name, "it is a network or its weights, and another is given as `model`: leave one out")
    if is_code:
        if architecture is not None:
            raise SubjectRefused(name, "it is the network itself: leave out --architecture")
        if recipe is None:
            raise SubjectRefused(name, RECIPE_NEEDED)
        # The weights that the recipe begins with are those of its own network; others may be laid over it.
        laid = (_set("model.init", RANDOM), *overrides, _set("model.name", name))
        return Subject(recipe, laid, whole=True)
    assert path is not None, "a file has a path"
    if architecture is None:
        raise SubjectRefused(name, _asked(path))
    _refuse_unknown(name, architecture)
    if recipe is None:
        raise SubjectRefused(name, RECIPE_NEEDED)
    file = f"./{name}" if name == RANDOM else name  # a recipe's word for no weights at all
    return Subject(recipe, (*overrides, _set("model.name", architecture), _set("model.init", file)))


def _set(key: str, value: str) -> str:
    """The override; a TOML string escapes as JSON does."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def _is_recipe(path: Path, architecture: str | None, recipe: Source | None, own_network: bool) -> bool:
    """Whether a file is meant as a recipe, and not as weights."""
    if architecture is not None:
        return False
    return path.suffix == ".toml" or (own_network and recipe is None)


def _refuse_stranger(path: Path | None, name: str) -> None:
    """Refuses what is nothing at all; a missing file that is called like a recipe is the recipe loader's to say."""
    from atentdsl.runtime.errors import SubjectRefused

    if path is None or path.suffix == ".toml" or os.path.exists(shipped.find(path)[0]):
        return
    near = suggest(name, shipped.names())
    hint = f"; there is a recipe `{near}`" if near else ""
    raise SubjectRefused(name, f"there is no run and no file of that name, and it is not `module:attribute`{hint}")


def _asked(path: Path) -> str:
    """What to say with a file of weights; of a run's own checkpoint, what it would be."""
    from atentdsl.runtime import models
    from atentdsl.runtime.directory import RunDirectory
    from atentdsl.runtime.errors import NotARunDirectory

    asked = (
        "a file does not say what network its weights are of: say --architecture NAME, one of "
        f"{', '.join(models.names())}, or `module:attribute`"
    )
    home = path.resolve().parent.parent
    try:
        known = RunDirectory.open(home).manifest()["model"]
    except NotARunDirectory:
        return asked
    return f"{asked}; it is a checkpoint of the run {home}, whose network is {known}: name that, or evaluate the run"


def _refuse_unknown(name: str, architecture: str) -> None:
    from atentdsl.runtime import models, user_code
    from atentdsl.runtime.errors import SubjectRefused

    if user_code.is_code(architecture) or architecture in models.names():
        return
    near = suggest(architecture, models.names())
    hint = f"did you mean `{near}`? " if near else ""
    known = f"{hint}there are {', '.join(models.names())}, or `module:attribute`"
    raise SubjectRefused(name, f"there is no architecture `{architecture}`; {known}")
