"""Certifying a run, or a network of the caller's own, by interval bounds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atentdsl.api import subjects
from atentdsl.api.certifying import FIGURE, SUMMARY, first_of, inside, network_and_images, recipe_of
from atentdsl.api.recipes import Source, load
from atentdsl.api.work import Run
from atentdsl.recipe.threat import threat

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from atentdsl.recipe import Recipe


def certify_intervals(
    subject: str | Path | Run | Source,
    *,
    radii: Sequence[float] = (),
    first: int | None = None,
    split: Literal["test", "validation"] = "test",
    batch: int = 512,
    model: nn.Module | None = None,
    data: Dataset[Any] | None = None,
    device: str = "auto",
    data_root: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    user_code: bool = True,
    trust: bool = False,
) -> dict[str, Any]:
    """Verified accuracy: the share of images whose class interval bounds prove for a whole l-infinity ball around them.

    No attack in the ball, cut by [0, 1], leaves fewer: it is a lower bound of every robust accuracy there, and useful
    for networks that were trained to it (the objective `interval_bound`) alone. Writes `summary.json`, `certified.md`
    and `certified.csv`.

    Args:
        subject: a run or its directory; or a recipe, for a network passed as `model` or the weights of its
            `[model] init`.
        radii: l-infinity, for inputs in [0, 1]; the radius of the recipe's evaluation where none are given.
        first: how many of the images; all where not given.
        split: which of the recipe's splits.
        batch: images at a time.
        model, data, device, data_root, overrides, user_code, trust: as for `certify`.
        out: the folder; in the run's directory, below `certification`, where not given. Without it the figures of a
            recipe with a `model` are written nowhere.

    Raises:
        NotCertifiable: there is no radius, or one outside [0, 1].
        BoundsUnknown: interval bounds cannot go through the network; names the part.
        NotFinite, MemoryExhausted, StorageFailed: as they say.
        RecipeError, DataMissing, DeviceUnavailable, WeightsRefused, UserCodeRefused, NotARunDirectory,
        CheckpointBroken, NotGiven: as for `certify`.

    Source: Gowal et al., 2018.

    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> found = certify_intervals("sgd", model=network, radii=[0.0, 1.0], first=5, device="cpu")
    >>> found["certified"][0]["certified"] == found["correct"], found["certified"][1]["certified"]
    (True, 0)
    """
    from atentdsl.evaluation.proofs import proofs
    from atentdsl.reporting import certified
    from atentdsl.runtime import devices
    from atentdsl.runtime.data import tensors_sha256
    from atentdsl.runtime.directory import RunDirectory, write_atomically
    from atentdsl.runtime.errors import NotCertifiable
    from atentdsl.runtime.interruption import interruptions_heeded
    from atentdsl.runtime.manifest import versions

    place = subject.path if isinstance(subject, Run) else subject
    run = RunDirectory.open(Path(place)) if isinstance(place, str | Path) and Path(place).is_dir() else None
    checked = load(recipe_of(run) if run else place, overrides)
    asked = sorted(set(radii)) or [_radius(checked)]
    if any(not 0 <= radius <= 1 for radius in asked):
        raise NotCertifiable(f"l-infinity radii are from 0 to 1, as inputs are: {', '.join(map(str, asked))}")
    if first is not None and first < 1:
        raise NotCertifiable(f"at least one image is wanted, not {first}")
    if batch < 1:
        raise NotCertifiable(f"a batch has at least one image, not {batch}")
    chosen = devices.choose(device)
    network, images = network_and_images(checked, run, model, data, split, data_root, user_code, trust)
    images = first_of(images, len(images) if first is None else first).to(chosen)
    with interruptions_heeded(b"atentdsl: stopping at the next batch; a second signal stops at once\n") as interrupted:

        def between() -> None:
            if interrupted():
                raise KeyboardInterrupt

        found = proofs(network.to(chosen), images, asked, batch, between)
    summary = {
        "method": "interval bounds",
        "norm": "linf",
        "split": subjects.GIVEN if data is not None else split,
        "data": subjects.GIVEN if data is not None else images.name or checked.data.name,
        "data_sha256": images.digest(),
        "weights_sha256": tensors_sha256(dict(sorted(network.state_dict().items()))),
        "device": chosen.type,
        "versions": versions(),
        **found,
    }
    some = "" if first is None else f"-first-{first}"
    folder = Path(out) if out is not None else inside(run, f"intervals-{split}{some}") if run else None
    if folder is None:
        return summary
    _take(folder)
    for name, text in (
        (SUMMARY, json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False) + "\n"),
        (f"{FIGURE}.md", certified.proven(summary)),
        (f"{FIGURE}.csv", certified.csv(summary)),
    ):
        write_atomically(folder / name, text.encode())
    return {**summary, "folder": str(folder)}


def _take(folder: Path) -> None:
    """Makes the folder where it is not there.

    Raises:
        StorageFailed: it cannot be made, or holds certificates of the other kind, whose summary has the same name.
    """
    from atentdsl.evaluation.certificates import CERTIFICATES
    from atentdsl.runtime.errors import StorageFailed

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(folder, error.strerror or str(error)) from error
    if (folder / CERTIFICATES).exists():
        raise StorageFailed(folder, "it holds certificates by randomised smoothing: name another folder by --out")


def _radius(recipe: Recipe) -> float:
    """The radius that the recipe's evaluation has in l-infinity.

    Raises:
        NotCertifiable: it has none.
    """
    from atentdsl.runtime.errors import NotCertifiable

    ball = threat(recipe.evaluate, recipe.samplers)
    if ball is None or ball.norm != "linf":
        raise NotCertifiable("the recipe's evaluation has no l-infinity ball: name radii")
    return ball.radius
