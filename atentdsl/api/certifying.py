"""Certifying a run, or a network of the caller's own, by randomised smoothing; `proving` does it by interval bounds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atentdsl.api import subjects
from atentdsl.api.recipes import Source, load
from atentdsl.api.work import Run

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from atentdsl.evaluation.certification import Smoothing
    from atentdsl.recipe import Recipe
    from atentdsl.runtime.data import Images
    from atentdsl.runtime.directory import RunDirectory

FOLDER, SUMMARY, FIGURE = "certification", "summary.json", "certified"
STOPPING = b"atentdsl: stopping at the next batch; a second signal stops at once\n"


def certify(
    subject: str | Path | Run | Source,
    *,
    sigma: float,
    n0: int = 100,
    n: int = 100_000,
    alpha: float = 0.001,
    radii: Sequence[float] = (),
    first: int | None = None,
    split: Literal["test", "validation"] = "test",
    batch: int | Literal["auto"] = "auto",
    seed: int | None = None,
    model: nn.Module | None = None,
    data: Dataset[Any] | None = None,
    device: str = "auto",
    data_root: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    user_code: bool = True,
    trust: bool = False,
    quiet: bool = True,
) -> dict[str, Any]:
    """Certified accuracy against radius, with every setting: p = Beta^-1(alpha; k, n - k + 1), R = sigma Phi^-1(p).

    Writes `images.csv` line by line, and goes on with what is there of the same settings; then `summary.json`,
    `certified.md`, `certified.csv`, `certified.png` and `certified.svg`. Radii and sigma are l2, for inputs in [0, 1].

    Args:
        subject: a run or its directory; or a recipe, for a network passed as `model` or the weights of its
            `[model] init`.
        sigma: the noise's deviation.
        n0, n: votes that choose the class, and fresh ones that are counted for it.
        alpha: the probability with which a certificate may be wrong.
        radii: what certified accuracies are reported at, besides 0; multiples of sigma / 2 where none are given.
        first: how many of the images; all where not given.
        split: which of the recipe's splits.
        batch: noisy copies at a time, or `auto` for the fastest that is found; no result depends on it.
        seed: of the noise; the recipe's where not given.
        model, data: as for `evaluate`.
        device, data_root: as for `evaluate`.
        out: the folder; in the run's directory, below `certification`, where not given.
        overrides, user_code, trust: as for `evaluate`.
        quiet: shows no progress.

    Raises:
        NotCertifiable: n is too small for the largest of the radii (says how large it must be); a number out of range.
        ValueError: there is no network, or no folder.
        CannotResume: the folder's certificates are of other settings.
        CertificationInterrupted: a signal asked for it; the images that are done stay done. A KeyboardInterrupt.
        NotFinite: names the image.
        RecipeError, DataMissing, DeviceUnavailable, WeightsRefused, UserCodeRefused, NotARunDirectory,
        CheckpointBroken: as for `evaluate`.
        MemoryExhausted, RunBusy, StorageFailed: as they say.

    Source: Cohen, Rosenfeld & Kolter, ICML 2019.

    >>> import tempfile
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = certify("sgd", model=network, sigma=0.12, n=200, first=5, out=folder, device="cpu")
    >>> found["images"], [one["radius"] for one in found["certified"]]
    (5, [0.0, 0.06, 0.12, 0.18])
    """
    from atentdsl.evaluation.certification import Smoothing
    from atentdsl.reporting.certified import steps
    from atentdsl.runtime import devices
    from atentdsl.runtime.data import tensors_sha256
    from atentdsl.runtime.directory import RunDirectory
    from atentdsl.runtime.errors import NotCertifiable

    smoothing = Smoothing(sigma, n0, n, alpha)
    if any(not radius >= 0 for radius in radii):
        raise NotCertifiable(f"radii must not be negative: {', '.join(map(str, radii))}")
    smoothing.require(radii)
    if first is not None and first < 1:
        raise NotCertifiable(f"at least one image is wanted, not {first}")
    if batch != "auto" and batch < 1:
        raise NotCertifiable(f"a batch has at least one noisy copy, not {batch}")
    place = subject.path if isinstance(subject, Run) else subject
    run = RunDirectory.open(Path(place)) if isinstance(place, str | Path) and Path(place).is_dir() else None
    if run is None and out is None:
        raise ValueError("a recipe has no directory of its own: pass a folder as `out`")
    checked = load(recipe_of(run) if run else place, overrides)
    chosen = devices.choose(device)
    network, images = network_and_images(checked, run, model, data, split, data_root, user_code, trust)
    seed = checked.header.seed if seed is None else seed
    images = first_of(images, len(images) if first is None else first).to(chosen)
    settings = {
        "sigma": sigma,
        "n0": n0,
        "n": n,
        "alpha": alpha,
        "seed": seed,
        "split": subjects.GIVEN if data is not None else split,
        "images": len(images),
        "data": checked.data.name if images.name is None else images.name,
        "data_sha256": images.digest(),
        "weights_sha256": tensors_sha256(dict(sorted(network.state_dict().items()))),
        "device": chosen.type,
    }
    if data is not None:
        settings["data"] = subjects.GIVEN
    folder = _inside(run, smoothing, split, seed, first) if run and out is None else Path(str(out))
    reported = sorted({0.0, *radii}) if radii else steps(sigma, n, alpha)
    return _certified(network.to(chosen), images, smoothing, settings, batch, reported, folder, quiet)


def _certified(
    network: nn.Module,
    images: Images,
    smoothing: Smoothing,
    settings: dict[str, Any],
    batch: int | Literal["auto"],
    radii: Sequence[float],
    folder: Path,
    quiet: bool,
) -> dict[str, Any]:
    """Certifies the images that the folder lacks, and writes what all of them come to."""
    from atentdsl.evaluation.certificates import CertificateFile
    from atentdsl.evaluation.certification import certify as certificates
    from atentdsl.evaluation.fastest_batch import fastest_batch
    from atentdsl.reporting import certified
    from atentdsl.runtime.directory import write_atomically
    from atentdsl.runtime.errors import CertificationInterrupted
    from atentdsl.runtime.interruption import interruptions_heeded
    from atentdsl.runtime.manifest import versions
    from atentdsl.runtime.progress import make_progress

    file = CertificateFile.open(folder, settings)
    try:
        with interruptions_heeded(STOPPING) as asked:

            def between() -> None:
                if asked():
                    raise CertificationInterrupted(folder, len(file.done), len(images))

            begin, left = len(file.done), len(images) - len(file.done)
            if left and batch == "auto":
                between()
                batch = fastest_batch(network, images, smoothing.sigma, left * (smoothing.n0 + smoothing.n))
            if batch != "auto":
                with nullcontext() if quiet else make_progress(len(images)) as progress:
                    for one in certificates(network, images, smoothing, settings["seed"], batch, begin, between):
                        file.append(one)
                        if progress is not None:
                            progress.step(len(file.done))
        rows = file.done
        summary = {
            **settings,
            "abstained": sum(row["prediction"] < 0 for row in rows),
            "correct": sum(row["correct"] for row in rows),
            "seconds": round(sum(row["seconds"] for row in rows), 3),
            "batch": batch,
            "versions": versions(),
            "certified": certified.accuracies(rows, radii),
        }
        for name, text in (
            (SUMMARY, json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False) + "\n"),
            (f"{FIGURE}.md", certified.markdown(summary)),
            (f"{FIGURE}.csv", certified.csv(summary)),
        ):
            write_atomically(folder / name, text.encode())
        certified.figure(rows, summary, folder, FIGURE)
    finally:
        file.close()
    return {**summary, "folder": str(folder)}


def recipe_of(run: RunDirectory) -> Path:
    """The recipe in a run's directory."""
    from atentdsl.runtime.directory import RECIPE

    return run.path / RECIPE


def network_and_images(
    recipe: Recipe,
    run: RunDirectory | None,
    model: nn.Module | None,
    data: Dataset[Any] | None,
    split: str,
    data_root: str | Path | None,
    user_code: bool,
    trust: bool,
) -> tuple[nn.Module, Images]:
    """What `evaluate` would evaluate on what.

    Raises:
        NotGiven: the run trained a network or images of the caller's own, which are not passed.
        ValueError: there is no network.
    """
    from atentdsl.runtime import checkpoint
    from atentdsl.runtime.data import from_dataset
    from atentdsl.runtime.directory import BEST
    from atentdsl.runtime.errors import NotGiven

    manifest = run.manifest() if run else {}
    begun = load(recipe_of(run)).model.init if run else subjects.RANDOM
    elsewhere = model is None and recipe.model.init != begun  # what a run began with is not what it is certified with
    if model is None and run is None and not elsewhere:
        raise ValueError(
            "a recipe has no weights: pass a network as `model`, or a run's directory, or set `model.init`"
        )
    if data is None and manifest.get("data") == subjects.GIVEN:
        raise NotGiven("the run trained on data of the caller's own: pass images as `data` to `atentdsl.certify`")
    if model is None and manifest.get("model") == subjects.GIVEN:
        raise NotGiven(subjects.OWN_NETWORK)
    if data is None:
        training, validation, test = subjects.images(recipe, None, None, data_root)
        assert test is not None, "a recipe's own data have every split"
        images, shown = (validation if split == "validation" else test), training
    else:
        images = shown = from_dataset(data)
    network = model
    if network is None:
        network = subjects.network(recipe, shown, user_code=user_code, trust=trust, fresh=not elsewhere)
    if run is not None and not elsewhere:
        checkpoint.load(network, run.checkpoint(BEST), sealed=True)
    return network, images


def first_of(images: Images, number: int) -> Images:
    """As many of the images, from the first on."""
    import attrs

    return attrs.evolve(images, x=images.x[:number], y=images.y[:number])


def _inside(run: RunDirectory, smoothing: Smoothing, split: str, seed: int, first: int | None) -> Path:
    """The folder in the run's directory, named after the settings."""
    some = "" if first is None else f"-first-{first}"
    drawn = f"n0-{smoothing.n0}-n-{smoothing.n}-alpha-{smoothing.alpha:g}"
    return inside(run, f"sigma-{smoothing.sigma:g}-{drawn}-{split}-seed-{seed}{some}")


def inside(run: RunDirectory, name: str) -> Path:
    """The folder of that name among the certificates in the run's directory.

    Raises:
        StorageFailed: a link leads out of the run's directory.
    """
    from atentdsl.runtime.errors import StorageFailed

    folder = run.path / FOLDER / name
    if not folder.resolve().is_relative_to(run.path.resolve()):
        raise StorageFailed(folder, "a link leads out of the run's directory; name another folder by --out")
    return folder
