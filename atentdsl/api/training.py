"""Training what a recipe says, and going on with a run that was interrupted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.api import beginnings, subjects
from atentdsl.api.recipes import Source, load
from atentdsl.api.work import Given, Run, Work
from atentdsl.codegen import generate
from atentdsl.codegen.sync import same_code
from atentdsl.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from atentdsl.runtime.runs import Summary
    from atentdsl.runtime.snapshot import Saving


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
    checkpoint_steps: int | None = None,
    checkpoint_minutes: float = 1.0,
    user_code: bool = True,
    trust: bool = False,
    quiet: bool = False,
    command: Sequence[str] | None = None,
) -> Run:
    """Trains what the recipe says, evaluates the checkpoint kept, and leaves a run directory.

    A snapshot, from which `resume` goes on bit for bit, is written at the beginning, at the end, and in between every
    `checkpoint_steps` outer steps, or else every `checkpoint_minutes`, and then for at most 1 % of the time. SIGINT and
    SIGTERM end the run at its next step, with a snapshot.

    Where `[model] init` names another recipe, its finished run with the same seed is looked for below `out`; one that
    was interrupted is gone on with, and where there is none it is trained first.

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
        checkpoint_steps, checkpoint_minutes: when snapshots are written.
        user_code: whether a network that the recipe names as `module:attribute` may be imported and run.
        trust: reads `[model] init` from a TorchScript archive or an exported program too, which can run code.
        quiet: shows no progress.
        command: the command line, for the manifest.

    Raises:
        RecipeError: everything that is wrong with the recipe, at once.
        DataMissing: its data are not there, or damaged; says what to put where.
        DeviceUnavailable: the device is not there.
        WeightsRefused, UserCodeRefused: the weights or the code that the recipe names are not taken.
        BoundsUnknown: the objective asks for interval bounds, which cannot go through the network.
        Diverged: the signal or a weight is not finite; names the last good checkpoint and the batch that did it.
        Interrupted: a signal asked for it; names the run to resume. A KeyboardInterrupt.
        StorageFailed: a file cannot be written.
        MemoryExhausted: names a batch size that fits.
    """
    from atentdsl.evaluation import modules
    from atentdsl.runtime import devices, manifest
    from atentdsl.runtime.directory import MANIFEST, MODULE, RECIPE, RunDirectory
    from atentdsl.runtime.interruption import interruptions_heeded
    from atentdsl.runtime.snapshot import Saving

    checked = _with_seed(recipe, overrides, seed)
    own = Given(model, data, test, data_root, user_code, trust)
    saving = Saving(checkpoint_steps, checkpoint_minutes)
    if model is None:
        own = attrs.evolve(own, begun=_begun(checked, own, device, Path(out), max_steps, saving, quiet, command))
    with interruptions_heeded() as asked:
        text = generate(checked).text
        work = Work.prepared(checked, text, own, devices.choose(device))
        made = manifest.manifest(
            seed=checked.header.seed,
            device=work.device,
            policy=work.policy(),
            recipe_hash=manifest.sha256_text(checked.resolved),
            module_hash=manifest.sha256_text(text),
            data_hashes=work.digests(),
            command=command,
        )
        made["model"] = checked.model.name if model is None else subjects.GIVEN
        made["data"] = subjects.GIVEN if data is not None else work.training.name or checked.data.name
        made["max_steps"] = max_steps
        made["tolerance"] = checked.compile.tolerance
        made |= {} if model is not None else subjects.origin(checked, own.begun)
        texts = {
            RECIPE: checked.resolved,
            MODULE: text,
            MANIFEST: json.dumps(made, indent=2, ensure_ascii=False) + "\n",
        }
        texts |= modules(work.attacks)
        directory = RunDirectory.create(Path(out), checked.name, texts)
        return work.done(directory, asked, quiet, saving, max_steps)


def resume(
    run: str | Path,
    *,
    model: nn.Module | None = None,
    data: Dataset[Any] | None = None,
    test: Dataset[Any] | None = None,
    device: str | None = None,
    data_root: str | Path | None = None,
    checkpoint_steps: int | None = None,
    checkpoint_minutes: float = 1.0,
    skip_damaged: bool = False,
    other_version: bool = False,
    user_code: bool = True,
    trust: bool = False,
    quiet: bool = False,
    command: Sequence[str] | None = None,
) -> Run:
    """Goes on with an interrupted run, in the middle of an epoch if need be, to the weights of an uninterrupted one.

    On the same machine with the same number of threads they are the same bit for bit, and so is every line of
    metrics.jsonl but for its times.

    Args:
        run: its directory.
        model, data, test: the caller's own, where the run was given them.
        device: instead of the run's.
        data_root, checkpoint_steps, checkpoint_minutes, user_code, trust, quiet, command: as for `train`.
        skip_damaged: goes on from the newest good snapshot where newer ones are damaged, which are set aside.
        other_version: goes on although torch or this package is another version than the run began with.

    Raises:
        NotARunDirectory, RunBusy: it is none, or another process is at work in it.
        CannotResume: it is finished, or its recipe, module, data or versions are others.
        CheckpointBroken: its newest snapshot is damaged; names a good one.
        ValueError: it was given a network or data, and is not now.
        DataMissing, DeviceUnavailable, Diverged, Interrupted, StorageFailed, MemoryExhausted: as for `train`.
    """
    from atentdsl.runtime import devices, manifest, snapshot
    from atentdsl.runtime.directory import EVALUATION, MANIFEST, RECIPE, RunDirectory
    from atentdsl.runtime.errors import CannotResume
    from atentdsl.runtime.interruption import interruptions_heeded
    from atentdsl.runtime.policy import AS_WRITTEN

    with interruptions_heeded() as asked:
        directory = RunDirectory.open(Path(run))
        if links := directory.leading_out():
            raise CannotResume(directory.path, f"its {links[0]} is a link that leads out of it; put the file there")
        directory.hold()
        try:
            if (directory.path / EVALUATION).exists():
                raise CannotResume(directory.path, f"it is finished; `atentdsl eval {run}` evaluates it again")
            directory.sweep()
            made = directory.manifest()
            checked = load(directory.path / RECIPE)
            text = _module_text(directory.path, made, checked, other_version)
            subjects.require_given(made, model, data)
            chosen = devices.choose(device or made["device"].split(":")[0])
            newest = snapshot.newest(directory.checkpoints, skip_damaged)
            begun = None
            if newest is None and model is None:
                begun = subjects.require_origin(checked, made, directory.path)
            own = Given(model, data, test, data_root, user_code, trust, begun)
            work = Work.prepared(
                checked, text, own, chosen, fresh=newest is not None, precision=_precision(made, checked)
            )
            work.compare(made["data_sha256"], directory.path)
            identity = work.identity(directory.read_text(RECIPE))
            content = None
            if newest is not None:
                content = snapshot.read(newest, identity, other_version)
                snapshot.set_aside(directory.checkpoints, snapshot.step_of(newest))
            policy = work.policy()
            entry = manifest.resumed(content["step"] if content else 0, chosen, policy, command)
            # A run that says nothing of it began when there was nothing to choose but the precision.
            began = attrs.evolve(AS_WRITTEN, precision=policy.precision)
            made = {"policy": attrs.asdict(began), **made, "resumed": [*made.get("resumed", []), entry]}
            directory.write_json(MANIFEST, made)
            saving = snapshot.Saving(checkpoint_steps, checkpoint_minutes)
        except BaseException:
            directory.release()
            raise
        return work.done(directory, asked, quiet, saving, made["max_steps"], content)


def interrupted(
    recipe: Source,
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    max_steps: int | None = None,
    out: str | Path = "runs",
) -> list[Summary]:
    """The interrupted runs below `out` that began with this recipe, overrides, seed and `max_steps`, oldest first.

    Loads no torch.

    Raises:
        RecipeError: everything that is wrong with the recipe, at once.
    """
    from atentdsl.runtime import runs

    folder = Path(out)
    if not folder.is_dir():
        return []
    checked = _with_seed(recipe, overrides, seed)
    digest = hashlib.sha256(checked.resolved.encode()).hexdigest()
    return [
        run
        for run in runs.found(folder, checked.name)
        if run.status == "interrupted"
        and run.manifest["recipe_sha256"] == digest
        and run.manifest.get("max_steps") == max_steps
        and subjects.GIVEN not in (run.manifest["model"], run.manifest["data"])
    ]


def _begun(
    recipe: Recipe,
    own: Given,
    device: str,
    out: Path,
    max_steps: int | None,
    saving: Saving,
    quiet: bool,
    command: Sequence[str] | None,
) -> Path | None:
    """A finished run of the recipe that `[model] init` names, made now if there is none; None where it names none."""
    first = beginnings.first_of(recipe)
    if first is None:
        return None
    shared: dict[str, Any] = {
        **{name: getattr(own, name) for name in ("data", "test", "data_root", "user_code", "trust")},
        "device": device,
        "checkpoint_steps": saving.steps,
        "checkpoint_minutes": saving.minutes,
        "quiet": quiet,
        "command": command,
    }

    def trained() -> Path:
        source, laid = str(beginnings.named(recipe)), beginnings.laid_over(recipe)
        return train(source, overrides=laid, out=out, max_steps=max_steps, **shared).path

    def gone_on_with(run: Path) -> Path:
        return resume(run, **shared).path

    if own.data is not None:
        return trained()  # nothing says whether another run had the same images
    return beginnings.run_of(first, out, max_steps, trained, gone_on_with)


def _with_seed(recipe: Source, overrides: Sequence[str], seed: int | None) -> Recipe:
    return load(recipe, [*overrides, *([f"recipe.seed={seed}"] if seed is not None else [])])


def _precision(made: Mapping[str, Any], checked: Recipe) -> str:
    """What the run trains in: what was chosen when it began, wherever it goes on."""
    if "policy" in made:
        return str(made["policy"]["precision"])
    asked = checked.compile.precision  # before there was anything to choose, float32 was the default
    return "float32" if asked == "auto" else asked


def _module_text(path: Path, made: Mapping[str, Any], checked: Recipe, other_version: bool) -> str:
    """The module to go on with: the one that ran, if it is what its recipe compiles to.

    A directory may come from anywhere, and nothing in it runs that this package would not write itself.
    """
    from atentdsl.runtime.directory import MODULE, RECIPE
    from atentdsl.runtime.errors import CannotResume
    from atentdsl.runtime.manifest import sha256_text

    stored, compiled = (path / MODULE).read_text(encoding="utf-8"), generate(checked).text
    resolved = sha256_text((path / RECIPE).read_text(encoding="utf-8"))
    if resolved != made["recipe_sha256"]:
        raise CannotResume(
            path,
            f"its {RECIPE} was changed (sha256 {resolved}, expected {made['recipe_sha256']}); put the old one back",
        )
    if same_code(stored, compiled):
        return stored
    if other_version:
        return compiled
    version = made["versions"]["atentdsl"]
    raise CannotResume(
        path,
        f"its {MODULE} is not what this version makes of its {RECIPE}: the run began with atentdsl {version}; install "
        "that one, or give up the same bits by --other-version",
    )
