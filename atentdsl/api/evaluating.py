"""Evaluating a run, or a network of the caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atentdsl.api import subjects
from atentdsl.api.recipes import Source, load
from atentdsl.api.work import Run

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from atentdsl.runtime.data import Images


def evaluate(
    subject: str | Path | Run | Source,
    *,
    model: nn.Module | None = None,
    data: Dataset[Any] | None = None,
    split: Literal["test", "validation"] = "test",
    device: str = "auto",
    data_root: str | Path | None = None,
    overrides: Sequence[str] = (),
    user_code: bool = True,
    trust: bool = False,
) -> dict[str, Any]:
    """Clean and robust accuracy of a run's checkpoint, or of the caller's own network, under a recipe's attacks.

    Args:
        subject: a run or its directory; or a recipe, for a network passed as `model` or the weights of its
            `[model] init`.
        model: the caller's own network, with its weights unless the subject is a run, whose weights it takes.
        data: the images to evaluate on instead of the recipe's split.
        split: which of the recipe's splits.
        device: `auto`, `cpu` or `cuda`.
        data_root: where data sets on disk are.
        overrides: as for `load`, for example `evaluate.restarts=10`; `model.init=PATH` takes the weights from there
            and not from the run.
        user_code: whether a network that the recipe names as `module:attribute` may be imported and run.
        trust: reads `[model] init` from a TorchScript archive or an exported program too, which can run code.

    Raises:
        RecipeError, DataMissing, DeviceUnavailable: as for `train`.
        WeightsRefused, UserCodeRefused: the weights or the code that the recipe names are not taken.
        NotARunDirectory, CheckpointBroken: the run cannot be read; says what is missing or damaged.
        ValueError: there is no network to evaluate.
    """
    from atentdsl.evaluation import attacks, evaluation
    from atentdsl.runtime import checkpoint, devices
    from atentdsl.runtime.data import from_dataset
    from atentdsl.runtime.directory import BEST, RECIPE, RunDirectory
    from atentdsl.runtime.errors import NotGiven

    place = subject.path if isinstance(subject, Run) else subject
    run = RunDirectory.open(Path(place)) if isinstance(place, str | Path) and Path(place).is_dir() else None
    checked = load(run.path / RECIPE if run else place, overrides)
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
        if run is None and not elsewhere:
            raise ValueError(
                "a recipe has no weights: pass a network as `model`, or a run's directory, or set `model.init`"
            )
        if own and own["model"] == subjects.GIVEN:
            raise NotGiven(subjects.OWN_NETWORK)
        shown = training if data is None else images
        network = subjects.network(checked, shown, user_code=user_code, trust=trust, fresh=not elsewhere)
    if run is not None and not elsewhere:
        checkpoint.load(network, run.checkpoint(BEST), sealed=True)
    network.to(chosen)
    trained = subjects.trained(own) if own and not elsewhere else None
    return evaluation(
        network,
        images.to(chosen),
        attacks(checked),
        split_name,
        checked.header.seed,
        checked.evaluate.batch,
        trained=trained,
    )


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
    return bool(lines[-1]["epoch"] == epochs or lines[-1]["step"] == directory.manifest()["max_steps"])
