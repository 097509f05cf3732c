"""Writing a run's network for others: weights, a loader without this package, and what is known of it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atentdsl.api import subjects
from atentdsl.api.evaluating import awaits_evaluation
from atentdsl.api.recipes import load
from atentdsl.api.work import Run

if TYPE_CHECKING:
    from atentdsl.reporting.export_card import Exported
    from atentdsl.runtime.directory import RunDirectory
    from atentdsl.runtime.runs import Summary

LOADER, CARD, INFO = "model.py", "README.md", "model_info.json"


def export(run: str | Path | Run, out: str | Path) -> Path:
    """Writes a finished run's network to the folder `out`, as others can load it; the folder.

    `weights.safetensors` is the checkpoint kept, byte for byte. `model.py` has `load_model()`, which gives the network
    in eval mode, from images (batch, *input) in [0, 1] to logits (batch, classes); it needs torch and safetensors
    alone, or for a network named `module:attribute` that module too. `README.md` and `model_info.json` say what was
    trained and measured. The folder appears with all of it, or not at all. No code of the user's is run.

    Args:
        run: the run, or its directory.
        out: a folder that is not there, or empty.

    Raises:
        CannotExport: the run is not finished, its network is not known here, or `out` is taken; says what to do.
        ArchitectureUnfit: the recipe's network cannot take the images of its data set.
        NotARunDirectory, CheckpointBroken: the run cannot be read, or its checkpoint is missing or damaged.
        RecipeError: the run's recipe is none of this version.
        StorageFailed: the folder cannot be written.

    >>> import tempfile, atentdsl
    >>> folder = Path(tempfile.mkdtemp())
    >>> small = ["model.name=mlp", "optimizer.epochs=1", "evaluate.attacks=['pgd-1']"]
    >>> run = atentdsl.train("sgd", overrides=small, out=folder, max_steps=1, quiet=True)
    >>> sorted(path.name for path in atentdsl.export(run, folder / "given").iterdir())
    ['README.md', 'model.py', 'model_info.json', 'weights.safetensors']
    """
    from atentdsl.reporting.loader_text import WEIGHTS
    from atentdsl.runtime import runs
    from atentdsl.runtime.directory import BEST, RunDirectory
    from atentdsl.runtime.errors import CannotExport

    directory = RunDirectory.open(run.path if isinstance(run, Run) else Path(run))
    _require_room(directory.path, Path(out))
    directory.manifest()
    try:
        summary = runs.summary(directory.path)
    except (OSError, ValueError) as error:
        raise CannotExport(directory.path, f"what it reached cannot be read: {error}") from error
    _require_finished(summary)
    exported, texts = _texts(directory, summary)
    weights = directory.checkpoint(BEST)
    loader = _loader(exported, weights)
    files = {WEIGHTS: weights.read_bytes(), LOADER: loader.encode()}
    _appear(Path(out), files | {name: text.encode() for name, text in texts.items()}, directory.path)
    return Path(out)


def _require_room(run: Path, out: Path) -> None:
    from atentdsl.runtime.errors import CannotExport

    if (out.exists() or out.is_symlink()) and not (out.is_dir() and not any(out.iterdir())):
        kind = "not empty" if out.is_dir() else "no folder"
        raise CannotExport(run, f"{out} is there, and {kind}: name another by --out, or move it away")


def _require_finished(summary: Summary) -> None:
    from atentdsl.runtime.errors import CannotExport

    if summary.status == "finished":
        return
    why = {
        "running": "a process is at work on it; wait for it to end",
        "diverged": "its training diverged: what it has are no weights to give to anyone",
    }.get(summary.status, f"its training is not over; go on with `atentdsl run --resume {summary.path}`")
    if awaits_evaluation(summary.path):
        why = f"it is trained and not evaluated; `atentdsl eval {summary.path}` does it"
    raise CannotExport(summary.path, why)


def _texts(directory: RunDirectory, summary: Summary) -> tuple[Exported, dict[str, str]]:
    """What is known, and how it is said: the README and the facts for RobustBench."""
    from atentdsl.reporting.export_card import Exported, card, model_info
    from atentdsl.runtime.directory import RECIPE
    from atentdsl.runtime.errors import CannotExport
    from atentdsl.runtime.manifest import sha256_text

    manifest, recipe = summary.manifest, load(directory.path / RECIPE)
    if manifest["model"] == subjects.GIVEN:
        why = "the run trained a network of the caller's own, whose code it does not hold: export it from there"
        raise CannotExport(directory.path, why)
    evaluation: dict[str, Any] = summary.evaluation or {}
    given = manifest["data"] == subjects.GIVEN
    data = subjects.GIVEN if given else evaluation.get("data", recipe.data.name)
    try:
        exported = Exported(recipe, sha256_text(directory.read_text(RECIPE)), str(data), manifest, evaluation)
        info = json.dumps(model_info(exported), indent=2, ensure_ascii=False) + "\n"
        return exported, {CARD: card(exported), INFO: info}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Files that were changed by hand can lack anything.
        why = f"its manifest or evaluation is not as a run writes it: {error!r}"
        raise CannotExport(directory.path, why) from error


def _loader(exported: Exported, weights: Path) -> str:
    """The text of `model.py`, after the weights were found to be whole and to fit the network that it builds.

    What goes into it was checked: names that a recipe can have, numbers and hashes; never the text of a manifest.
    """
    import hashlib

    from atentdsl.reporting.loader_text import loader_text
    from atentdsl.runtime import checkpoint, datasets, models
    from atentdsl.runtime.errors import ArchitectureUnfit, CannotExport

    recipe = exported.recipe
    given = exported.data == subjects.GIVEN
    known = None if given else datasets.description(recipe.data.name)
    if exported.code is not None:
        if exported.code.partition(".")[0] == Path(LOADER).stem:
            why = f"its network is in a module that is called `{exported.code}`, as the loader is: rename that module"
            raise CannotExport(weights.parent.parent, why)
        checkpoint.read(weights, sealed=True)
    elif known is None:
        why = "the run trained on images of the caller's own, and does not say their shape, which the loader needs"
        raise CannotExport(weights.parent.parent, why)
    else:
        ones = [1.0] * known.shape[0]
        try:
            network = models.build(recipe.model.name, known.shape, known.classes, ones, ones)
        except ValueError as error:
            raise ArchitectureUnfit(recipe.model.name, str(error)) from error
        checkpoint.load(network, weights, sealed=True)
    images = "images of the caller's own" if given else f"the data set {recipe.data.name}"
    about = (
        f"{recipe.name}: the network {recipe.model.name}, trained on {images}.\n\n"
        f"By the recipe of sha256 {exported.recipe_sha256}.\nREADME.md says what it withstands."
    )
    if exported.code is not None:
        about += f"\n\nLoading it imports the module `{exported.code}` and runs its code."
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    shape, classes = (None, None) if known is None else (known.shape, known.classes)
    return loader_text(recipe.model.name, shape, classes, digest, about)


def _appear(out: Path, files: dict[str, bytes], run: Path) -> None:
    """Writes the files to a folder beside `out` and renames it."""
    import secrets
    import shutil

    from atentdsl.runtime.directory import write_atomically
    from atentdsl.runtime.errors import CannotExport, StorageFailed

    target = out.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        beside.mkdir(parents=True)
        for name, content in files.items():
            write_atomically(beside / name, content)
        os.rename(beside, target)
    except StorageFailed:
        raise
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise CannotExport(run, f"{out} was filled by something else meanwhile: name another by --out") from error
        raise StorageFailed(out, error.strerror or str(error)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)  # nothing is there once it has its name
