"""Training what a recipe says."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.api import subjects
from atentdsl.api.recipes import Source, load
from atentdsl.codegen import as_module, generate
from atentdsl.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset


@attrs.frozen(eq=False)
class Run:
    """A finished run.

    Attributes:
        path: its directory.
        recipe: what was trained.
        model: with the weights of the checkpoint kept.
        evaluation: what `evaluation.json` says.
    """

    path: Path
    recipe: Recipe
    model: nn.Module = attrs.field(repr=False)
    evaluation: dict[str, Any]


def train(
    recipe: Source,
    *,
    overrides: Sequence[str] = (),
    model: nn.Module | None = None,
    data: Dataset[Any] | None = None,
    test: Dataset[Any] | None = None,
    seed: int | None = None,
    device: str = "auto",
    out: str | Path = "runs",
    data_root: str | Path | None = None,
    max_steps: int | None = None,
    quiet: bool = False,
    command: Sequence[str] | None = None,
) -> Run:
    """Trains what the recipe says, evaluates the checkpoint kept, and leaves a run directory.

    Args:
        recipe, overrides: as for `load`.
        model: the caller's own network, trained in place, instead of the recipe's; takes inputs in [0, 1].
        data: the caller's own training set, any torch data set, instead of the recipe's; part of it is held out.
        test: its test set; without one the evaluation is made on the validation split and says so.
        seed: instead of the recipe's.
        device: `auto`, `cpu` or `cuda`.
        out: the folder that run directories are made in.
        data_root: where data sets on disk are.
        max_steps: stops after that many outer steps.
        quiet: shows no progress.
        command: the command line, for the manifest.

    Raises:
        RecipeError: everything that is wrong with the recipe, at once.
        DataMissing: its data are not there; says what to put where.
        DeviceUnavailable: the device is not there.
        Diverged: the signal or a weight is not finite; names the last good checkpoint.
    """
    from atentdsl.evaluation import attacks, evaluation
    from atentdsl.runtime import checkpoint, devices
    from atentdsl.runtime.directory import MANIFEST, MODULE, RECIPE, RunDirectory
    from atentdsl.runtime.loop import fit
    from atentdsl.runtime.manifest import manifest, sha256_text
    from atentdsl.runtime.progress import make_progress

    checked = load(recipe, [*overrides, *([f"recipe.seed={seed}"] if seed is not None else [])])
    compiled = generate(checked)
    chosen = devices.choose(device)
    training, validation, held = (part and part.to(chosen) for part in subjects.images(checked, data, test, data_root))
    assert training is not None, "there is always a training split"
    assert validation is not None, "there is always a validation split"
    network = subjects.network(checked, training) if model is None else model
    network.to(chosen)
    against = attacks(checked)

    directory = RunDirectory.create(Path(out), checked.name)
    directory.write_text(RECIPE, checked.resolved)
    module = directory.write_text(MODULE, compiled.text)
    for attack in against:
        directory.write_text(f"attacks/{attack.name}.py", attack.compiled.text)
    hashes = {"training": training.digest(), "validation": validation.digest()}
    if held is not None:
        hashes["test"] = held.digest()
    made = manifest(
        seed=checked.header.seed,
        device=chosen,
        recipe_hash=sha256_text(checked.resolved),
        module_hash=sha256_text(compiled.text),
        data_hashes=hashes,
        command=command,
    )
    made["model"] = checked.model.name if model is None else subjects.GIVEN
    made["data"] = checked.data.name if data is None else subjects.GIVEN
    directory.write_json(MANIFEST, made)

    program = as_module(compiled.text, checked.name, str(module))
    steps = program.EPOCHS * program.REPEAT * max(1, len(training) // program.BATCH)
    with make_progress(min(steps, max_steps or steps), io.StringIO() if quiet else None) as progress:
        kept = fit(
            program,
            network,
            training,
            validation,
            watch=[attack.withstands for attack in against[:1]],
            seed=checked.header.seed,
            directory=directory,
            progress=progress,
            max_steps=max_steps,
        )
    checkpoint.load(network, kept.path)
    images, split = (validation, "validation") if held is None else (held, "test")
    result = evaluation(network, images, against, split, checked.header.seed)
    directory.write_json("evaluation.json", result)
    return Run(directory.path, checked, network, result)
