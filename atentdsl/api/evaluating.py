"""Evaluating a run, or a network of the caller's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atentdsl.api import subjects
from atentdsl.api.attacking import instead, is_recipe
from atentdsl.api.going_on import going_on
from atentdsl.api.recipes import Source, load
from atentdsl.api.resolving import resolve
from atentdsl.api.scrutiny import scrutinised
from atentdsl.api.work import Run

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from atentdsl.runtime.data import Images


def evaluate(
    subject: str | Path | Run | Source,
    *,
    architecture: str | None = None,
    recipe: Source | None = None,
    model: nn.Module | None = None,
    data: Dataset[Any] | None = None,
    attacked_by: Sequence[str] = (),
    split: Literal["test", "validation"] = "test",
    first: int | None = None,
    sanity: bool = False,
    transfer_from: nn.Module | None = None,
    curves: str | Path | None = None,
    device: str = "auto",
    data_root: str | Path | None = None,
    overrides: Sequence[str] = (),
    user_code: bool = True,
    trust: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Clean and robust accuracy of a run's checkpoint, or of the caller's own network, under a recipe's attacks.

    Args:
        subject: a run or its directory; a file of weights, safetensors or a state dict; `module:attribute`, a network
            of one's own; or a recipe, for a network passed as `model` or the weights of its `[model] init`.
        architecture: what a file's weights are of: an installed network's name, or `module:attribute`.
        recipe: the data and attacks for a file of weights or for `module:attribute`.
        model: the caller's own network, with its weights unless the subject is a run, whose weights it takes.
        data: the images to evaluate on instead of the recipe's split.
        attacked_by: attacks instead of the recipe's: names as `[evaluate] attacks` takes them, and recipes whose
            samplers attack, each a path or a shipped recipe's name, with overrides behind it (`PATH,KEY=VALUE,…`).
        split: which of the recipe's splits.
        first: how many of the images; all where not given.
        sanity: looks for signs of masked gradients, on the first 256 of the images at most, as
            `evaluation.sanity.sanity` does: `sanity` lists the checks.
        transfer_from: another network of the same data, whose perturbations `sanity` tries on this one.
        curves: the folder for accuracy against radius, steps and restarts, on the first 256 of the images at most, as
            `evaluation.curves.curves` makes them: `curves.json`, `curves.csv`, and figures as PNG and SVG.
        device: `auto`, `cpu` or `cuda`.
        data_root: where data sets on disk are.
        overrides: as for `load`, for example `evaluate.restarts=10`; `model.init=PATH` takes the weights from there
            and not from the run.
        user_code: whether a network that is named as `module:attribute` may be imported and run.
        trust: reads `[model] init` from a TorchScript archive or an exported program too, which can run code.
        tell: is told when what an evaluation of before had found is taken up.

    Of an installed architecture, what an attack has found is kept in the user's cache, batch by batch, until the
    evaluation has ended: the same one again goes on from there.

    Where a check fails, or a curve says that a figure is not final, `warnings` says so and stands first.

    Raises:
        RecipeError, DataMissing, DeviceUnavailable: as for `train`.
        ValueError: of `first` images there is none.
        StorageFailed: `curves` is a folder of other things, or cannot be written.
        WeightsRefused, UserCodeRefused: the weights or the code that the recipe names are not taken.
        NotARunDirectory, CheckpointBroken: the run cannot be read; says what is missing or damaged.
        SubjectRefused: there is no network to evaluate; says what to say with the subject.
        UnsuitedAttack, ExtraMissing: an attack cannot be made on this network, or needs a package that is not here.
        EvaluationInterrupted: it was stopped, and what is kept spares the next one work. A KeyboardInterrupt.
    """
    from atentdsl.evaluation import attacks
    from atentdsl.evaluation.whitebox import evaluated_ball, leading
    from atentdsl.reporting.curves import require_room
    from atentdsl.runtime import allocator, checkpoint, devices
    from atentdsl.runtime.accuracy import classes_of
    from atentdsl.runtime.data import from_dataset
    from atentdsl.runtime.directory import BEST, RECIPE, RunDirectory
    from atentdsl.runtime.errors import NotGiven, SubjectRefused

    if first is not None and first < 1:
        raise ValueError(f"at least one image is wanted, not {first}")
    if curves is not None:
        require_room(Path(curves))
    recipes = [text for text in attacked_by if is_recipe(text)]
    if attacked_by:
        overrides = [*overrides, *instead([text for text in attacked_by if text not in recipes])]
    named = resolve(subject, architecture, recipe, overrides, own_network=model is not None)
    place, overrides = named.source, named.overrides
    run = RunDirectory.open(Path(place)) if isinstance(place, str | Path) and Path(place).is_dir() else None
    checked = load(run.path / RECIPE if run else place, overrides)
    if sanity or curves is not None:
        evaluated_ball(checked)  # before an evaluation that takes long
    chosen = devices.choose(device)
    own = run is not None and run.manifest()
    if data is not None:
        images: Images | None = from_dataset(data)
        split_name: str = subjects.GIVEN
    else:
        if own and own["data"] == subjects.GIVEN:
            raise NotGiven("the run trained on data of the caller's own: pass images as `data` to `atentdsl.evaluate`")
        training, validation, held = subjects.images(checked, None, None, data_root)
        images, split_name = (validation, split) if split == "validation" else (held, split)
    assert images is not None, "a recipe's own data have every split"
    network = model
    begun = load(run.path / RECIPE).model.init if run else subjects.RANDOM
    elsewhere = model is None and checked.model.init != begun  # what a run began with is not what it is evaluated with
    if network is None:
        if run is None and not elsewhere and not named.whole:
            why = "a recipe has no weights: pass a network as `model`, or a run's directory, or set `model.init`"
            raise SubjectRefused(str(checked.name), why)
        if own and own["model"] == subjects.GIVEN:
            raise NotGiven(subjects.OWN_NETWORK)
        shown = training if data is None else images
        network = subjects.network(checked, shown, user_code=user_code, trust=trust, fresh=not elsewhere)
    if run is not None and not elsewhere:
        checkpoint.load(network, run.checkpoint(BEST), sealed=True)
    network.to(chosen)
    images = (images if first is None else leading(images, first)).to(chosen)
    allocator.keep()  # an attack frees and asks for the same tensors again and again
    trained = subjects.trained(own) if own and not elsewhere else None
    made = attacks(checked, classes_of(network, images), recipes)
    with going_on(checked, network, made, chosen, own=model is not None, tell=tell) as evaluation:
        found = evaluation(network, images, made, split_name, trained=trained)
        if first is not None:
            found["first"] = first
        folder = None if curves is None else Path(curves)
        other = None if transfer_from is None else transfer_from.to(chosen)
        return scrutinised(network, images, checked, found, sanity=sanity, curves=folder, source=other)


def awaits_evaluation(run: str | Path) -> bool:
    """Whether the run has been trained to its end and has no evaluation, and no process is at work on it."""
    from atentdsl.runtime import lock, snapshot
    from atentdsl.runtime.directory import EVALUATION, RECIPE, RunDirectory

    directory = RunDirectory.open(Path(run))
    if lock.is_held(directory.path) or (directory.path / EVALUATION).exists():
        return False
    newest = snapshot.newest(directory.checkpoints, skip_damaged=True)
    # Of a run that was pruned the lines are left, and only a finished run's snapshots are.
    lines = directory.metrics() if newest is None else snapshot.read(newest)["lines"]
    if not lines:
        return False
    epochs = load(directory.path / RECIPE).optimizer.model_dump()["epochs"]
    made = directory.manifest()
    return bool("training" in made or lines[-1]["epoch"] == epochs or lines[-1]["step"] == made["max_steps"])
