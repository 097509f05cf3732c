"""The library: load, compile, draw, train and evaluate.

Each takes a recipe as a path, the name of a shipped recipe, or a dict; `train`, `draw` and `evaluate` also take the
caller's own network and data. The command line is a thin caller of these.

>>> import atentdsl
>>> recipe = atentdsl.load("atent_linf", ["sampler.attack.moves=3"])
>>> recipe.samplers[0].moves
3
>>> print(atentdsl.compile(recipe).text.splitlines()[0])
\"\"\"atent_linf: one training step, as its recipe says.

The points that its sampler draws around a batch, with their weights, for a network of one's own:

>>> import torch
>>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
>>> drawn = atentdsl.draw(recipe, network, torch.full((2, 1, 8, 8), 0.5), torch.tensor([3, 7]), seed=0)
>>> drawn.points.shape, [round(weight, 3) for weight in drawn.weights]
(torch.Size([3, 2, 1, 8, 8]), [0.009, 0.09, 0.9])
>>> bool((drawn.points[-1] - 0.5).abs().max() <= 0.18 + 1e-6)
True

Training it, and what came of it:

>>> import tempfile
>>> run = atentdsl.train(recipe, model=network, out=tempfile.mkdtemp(), max_steps=3, quiet=True)
>>> sorted(run.evaluation["attacks"]["pgd-20"])
['norm', 'radius', 'restarts', 'robust_accuracy', 'step_size', 'steps']
>>> atentdsl.evaluate(run.path) == run.evaluation
Traceback (most recent call last):
    ...
ValueError: the run trained a network of the caller's own: pass it as `model`
>>> atentdsl.evaluate(run.path, model=network) == run.evaluation
True
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from atentdsl import recipe as recipes
from atentdsl.codegen import Compiled, as_module, generate
from atentdsl.plan.operations import Goal
from atentdsl.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.data import Dataset

    from atentdsl.runtime.data import Images

Source = str | Path | Mapping[str, Any] | Recipe
GIVEN = "given by the caller"


@attrs.frozen(eq=False)
class Drawn:
    """What a sampler handed on.

    Attributes:
        points: `(points, batch, *input)`.
        weights: c of each point.
    """

    points: Tensor
    weights: tuple[float, ...]


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
    training, validation, held = (part and part.to(chosen) for part in _images(checked, data, test, data_root))
    assert training is not None, "there is always a training split"
    assert validation is not None, "there is always a validation split"
    network = _network(checked, training) if model is None else model
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
    made["model"] = checked.model.name if model is None else GIVEN
    made["data"] = checked.data.name if data is None else GIVEN
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


def evaluate(
    subject: str | Path | Run | Source,
    *,
    model: nn.Module | None = None,
    data: Dataset[Any] | None = None,
    split: Literal["test", "validation"] = "test",
    device: str = "auto",
    data_root: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Clean and robust accuracy of a run's checkpoint, or of the caller's own network, under a recipe's attacks.

    Args:
        subject: a run or its directory; or a recipe, for a network passed as `model`.
        model: the caller's own network, with its weights unless the subject is a run, whose weights it takes.
        data: the images to evaluate on instead of the recipe's split.
        split: which of the recipe's splits.
        device: `auto`, `cpu` or `cuda`.
        data_root: where data sets on disk are.
        overrides: as for `load`, for example `evaluate.restarts=10`.

    Raises:
        RecipeError, DataMissing, DeviceUnavailable: as for `train`.
        NotARunDirectory, CheckpointBroken: the run cannot be read; says what is missing or damaged.
        ValueError: there is no network to evaluate.
    """
    from atentdsl.evaluation import attacks, evaluation
    from atentdsl.runtime import checkpoint, devices
    from atentdsl.runtime.data import from_dataset
    from atentdsl.runtime.directory import RECIPE, RunDirectory
    from atentdsl.runtime.loop import BEST

    place = subject.path if isinstance(subject, Run) else subject
    run = RunDirectory.open(Path(place)) if isinstance(place, str | Path) and Path(place).is_dir() else None
    checked = load(run.path / RECIPE if run else place, overrides)
    chosen = devices.choose(device)
    own = run is not None and _manifest(run.path)
    if data is not None:
        images: Images | None = from_dataset(data)
        split_name: str = GIVEN
    else:
        if own and own["data"] == GIVEN:
            raise ValueError("the run trained on data of the caller's own: pass images as `data`")
        training, validation, held = _images(checked, None, None, data_root)
        images, split_name = (validation, split) if split == "validation" else (held, split)
    assert images is not None, "a recipe's own data have every split"
    network = model
    if network is None:
        if run is None:
            raise ValueError("a recipe has no weights: pass a network as `model`, or a run's directory")
        if own and own["model"] == GIVEN:
            raise ValueError("the run trained a network of the caller's own: pass it as `model`")
        network = _network(checked, training if data is None else images)
    if run is not None:
        checkpoint.load(network, run.checkpoint(BEST))
    network.to(chosen)
    return evaluation(network, images.to(chosen), attacks(checked), split_name, checked.header.seed)


def _images(
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


def _network(recipe: Recipe, training: Images) -> nn.Module:
    """The recipe's architecture with fresh weights, normalising by the training images' mean and deviation."""
    from atentdsl.runtime import models
    from atentdsl.runtime.normalise import statistics

    mean, std = statistics(training.x)
    return models.build(recipe.model.name, training.shape, training.classes, mean, std, recipe.header.seed)


def _manifest(run: Path) -> dict[str, Any]:
    import json

    from atentdsl.runtime.directory import MANIFEST

    found: dict[str, Any] = json.loads((run / MANIFEST).read_text(encoding="utf-8"))
    return found
