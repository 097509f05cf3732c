"""A page of a run, and its numbers as TensorBoard events."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.api import subjects
from atentdsl.api.certifying import FOLDER, SUMMARY
from atentdsl.api.recipes import load
from atentdsl.api.work import Run
from atentdsl.codegen import generate
from atentdsl.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from atentdsl.evaluation.examples import Examples
    from atentdsl.reporting.page import Reported
    from atentdsl.runtime.directory import RunDirectory
    from atentdsl.runtime.runs import Summary

PAGE, EVENTS = "report.html", "tensorboard"


@attrs.frozen
class Report:
    """What was written.

    Attributes:
        page: the HTML file.
        events: the file of TensorBoard events; None where it could not be made.
        left_out: what is not there, and why.
    """

    page: Path
    events: Path | None
    left_out: tuple[str, ...] = ()


def report(
    run: str | Path | Run,
    *,
    out: str | Path | None = None,
    examples: bool = True,
    model: nn.Module | None = None,
    data: Dataset[Any] | None = None,
    device: str = "auto",
    data_root: str | Path | None = None,
    user_code: bool = True,
) -> Report:
    """Writes a page of the run, one HTML file that needs nothing from elsewhere, and TensorBoard events beside it.

    Of a run that is not finished the page has what is there, and says so. The same run gives the same bytes.

    Args:
        run: the run, or its directory. Evaluations that are saved there as JSON stand on the page too.
        out: the page; `report.html` in the run's directory where not given. The events then go to `tensorboard` there,
            and else to a folder named after the page.
        examples: shows images under the attack that watches over training, which the network is asked for.
        model: the caller's own network, which the run trained.
        data: images to show instead of the recipe's test images: any torch data set.
        device: `auto`, `cpu` or `cuda`.
        data_root: where data sets on disk are.
        user_code: whether a network that the recipe names as `module:attribute` may be imported and run.

    Raises:
        NotARunDirectory: it is none, or its manifest cannot be read.
        CannotReport: something in it is not as a run writes it.
        CheckpointBroken: the checkpoint kept is damaged, or missing from a finished run.
        RecipeError: its recipe is none of this version.
        StorageFailed: a file cannot be written, or another file is in the way.
        DeviceUnavailable, ArchitectureUnfit: as for `train`.

    >>> import tempfile, atentdsl
    >>> brief = ["model.name=mlp", "optimizer.epochs=1", "evaluate.attacks=['pgd-1']"]
    >>> run = atentdsl.train("sgd", overrides=brief, out=tempfile.mkdtemp(), max_steps=1, quiet=True)
    >>> atentdsl.report(run).page.name
    'report.html'
    """
    from atentdsl.reporting import events
    from atentdsl.reporting.page import page
    from atentdsl.runtime.directory import RunDirectory, write_atomically
    from atentdsl.runtime.errors import CannotReport, ExtraMissing, StorageFailed

    directory = RunDirectory.open(run.path if isinstance(run, Run) else Path(run))
    target = directory.path / PAGE if out is None else Path(out)
    folder = directory.path / EVENTS if out is None else target.with_suffix(f".{EVENTS}")
    _require_room(target, folder)
    if isinstance(run, Run) and directory.manifest()["model"] == subjects.GIVEN:
        model = model or run.model
    told = _read(directory)
    left_out = []
    if examples:
        shown, why = _examples(directory, told, model, data, device, data_root, user_code)
        source = "test images" if data is None else f"images {subjects.GIVEN}"
        told = attrs.evolve(told, examples=shown, examples_of=source, no_examples=why)
        left_out += [f"no images: {why}"] if why else []
    content = None
    try:
        text = page(told)
        content = events.encoded(told.lines, told.evaluations, str(told.manifest["started"]))
    except ExtraMissing as error:
        left_out.append(f"no TensorBoard events: {error.mend}")
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        # Files that were changed by hand can lack anything.
        why = f"its files are not as a run writes them: {error!r}"
        raise CannotReport(directory.path, why) from error
    files = {target: text.encode(errors="replace")} | ({} if content is None else {folder / events.FILE: content})
    for path, written in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailed(path.parent, error.strerror or str(error)) from error
        write_atomically(path, written)
    return Report(target, None if content is None else folder / events.FILE, tuple(left_out))


def _require_room(target: Path, folder: Path) -> None:
    """Asks for a page that is not there, or is a report, and for a folder that is no link."""
    from atentdsl.reporting.page import GENERATOR
    from atentdsl.runtime.errors import StorageFailed

    if target.is_dir():
        raise StorageFailed(target, "it is a folder: name a file by --out")
    try:
        head = target.open("rb").read(400) if target.exists() else GENERATOR.encode()
    except OSError as error:
        raise StorageFailed(target, error.strerror or str(error)) from error
    if GENERATOR.encode() not in head:
        raise StorageFailed(target, "it is there, and no report: name another file by --out")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise StorageFailed(folder, "the events go to a folder of that name: move it away, or name a page by --out")


def _read(directory: RunDirectory) -> Reported:
    """What the run's directory holds, without its network."""
    from atentdsl.codegen.sync import same_code
    from atentdsl.reporting.page import Reported
    from atentdsl.runtime import runs
    from atentdsl.runtime.directory import EVALUATION, MODULE, RECIPE
    from atentdsl.runtime.errors import CannotReport
    from atentdsl.runtime.manifest import sha256_text

    manifest = directory.manifest()
    try:
        summary = runs.summary(directory.path)
        lines = _lines(directory)
        evaluations = {} if summary.evaluation is None else {EVALUATION: summary.evaluation}
        evaluations |= dict(_evaluations(directory.path))
        certificates = {
            str(path.parent.relative_to(directory.path)): json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(directory.path.glob(f"{FOLDER}/*/{SUMMARY}"))
        }
    except (OSError, TypeError, ValueError) as error:
        raise CannotReport(directory.path, f"what it reached cannot be read: {error}") from error
    own = None if manifest["data"] == subjects.GIVEN else manifest["data"]
    recipe, resolved = load(directory.path / RECIPE), directory.read_text(RECIPE)
    compiled, notes = generate(recipe), []
    if sha256_text(resolved) != manifest["recipe_sha256"]:
        notes.append(f"Its {RECIPE} is not the one it began with: the sha256 differs.")
    elif sha256_text(directory.read_text(MODULE)) != manifest.get("module_sha256"):
        notes.append(f"Its {MODULE} is not the one it began with: the sha256 differs.")
    elif not same_code(directory.read_text(MODULE), compiled.text):
        notes.append(f"Its {MODULE} is not what this version makes of its recipe: plan and cost are of this version.")
    place = directory.path.resolve()
    return Reported(
        run=f"{place.parent.name}/{place.name}",
        status=summary.status,
        step=summary.step,
        recipe=recipe,
        resolved=resolved,
        compiled=compiled,
        manifest=manifest,
        lines=lines,
        evaluations={name: {"data": own, **found} for name, found in evaluations.items()},
        certificates=certificates,
        kept=_kept(directory, summary),
        examples=None,
        examples_of="test images",
        no_examples="they were not asked for",
        labels=_labels(recipe, manifest),
        notes=notes,
    )


def _lines(directory: RunDirectory) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; of the last a process that was killed may have left a part."""
    from atentdsl.runtime.directory import METRICS

    path = directory.path / METRICS
    texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
        except ValueError as error:
            if number == len(texts):
                break
            raise ValueError(f"line {number} of {METRICS} is no JSON") from error
        if not isinstance(line, dict) or not line.keys() >= {"epoch", "step"}:
            raise ValueError(f"line {number} of {METRICS} is of no epoch")
        found.append(line)
    return found


def _evaluations(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every evaluation that lies in the directory, by the names of the files."""
    from atentdsl.runtime.runs import REACHED

    for file in sorted(path.glob("*.json")):
        try:
            found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        except ValueError:
            continue
        if isinstance(found, dict) and found.keys() >= REACHED:
            yield file.name, found


def _kept(directory: RunDirectory, summary: Summary) -> tuple[int, float] | None:
    """Epoch and score of the checkpoint kept, as it says itself; None where an unfinished run has none yet."""
    from atentdsl.runtime import checkpoint
    from atentdsl.runtime.directory import BEST
    from atentdsl.runtime.errors import CheckpointBroken

    path = directory.checkpoint(BEST)
    if summary.status != "finished" and not path.exists():
        return None
    texts = checkpoint.read(path, sealed=True)[1]
    try:
        epoch, score = int(texts["epoch"]), float(texts["score"])
    except (KeyError, ValueError) as error:
        raise CheckpointBroken(path, f"it does not say which epoch it is of: {error!r}") from error
    if not math.isfinite(score):
        raise CheckpointBroken(path, "it was chosen by no number")
    return epoch, score


def _labels(recipe: Recipe, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """What the classes are called; nothing for images of the caller's own."""
    from atentdsl.runtime import datasets

    return () if manifest["data"] == subjects.GIVEN else datasets.description(recipe.data.name).labels


def _examples(
    directory: RunDirectory,
    told: Reported,
    model: nn.Module | None,
    data: Dataset[Any] | None,
    device: str,
    data_root: str | Path | None,
    user_code: bool,
) -> tuple[Examples | None, str]:
    """Images under the watching attack; or None, and why there are none."""
    from atentdsl.evaluation import watch
    from atentdsl.evaluation.examples import examples
    from atentdsl.evaluation.report import InBfloat16
    from atentdsl.runtime import checkpoint, devices
    from atentdsl.runtime.data import from_dataset
    from atentdsl.runtime.directory import BEST
    from atentdsl.runtime.errors import DataMissing, NotFinite, UnsuitedAttack, UserCodeRefused

    if told.kept is None:
        return None, "no checkpoint is kept yet"
    chosen, recipe, made = devices.choose(device), told.recipe, told.manifest
    if model is None and made["model"] == subjects.GIVEN:
        return None, "the run trained a network of the caller's own, and it is not passed as `model`"
    if data is None and made["data"] == subjects.GIVEN:
        return None, "the run trained on images of the caller's own, and none are passed as `data`"
    try:
        if data is None:
            training, _, images = subjects.images(recipe, None, None, data_root)
            assert images is not None, "a recipe's own data have every split"
            if images.digest() != made["data_sha256"].get("test"):
                return None, "the test images found here are not those of the run"
        else:
            images = training = from_dataset(data)
        network = model
        if network is None:
            network = subjects.network(recipe, training, user_code=user_code, fresh=True)
        checkpoint.load(network, directory.checkpoint(BEST), sealed=True)
        network.to(chosen)
        asked = InBfloat16(network) if recipe.evaluate.precision == "bfloat16" else network
        return examples(asked, images.to(chosen), watch(recipe), recipe.header.seed), ""
    except (DataMissing, NotFinite, UnsuitedAttack, UserCodeRefused) as error:
        return None, str(error).splitlines()[0]
