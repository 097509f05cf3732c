"""A run at work: what is trained, on what, how it is measured, and what comes of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.api import subjects
from atentdsl.api.going_on import going_on
from atentdsl.codegen import as_module
from atentdsl.primitives.registry import primitive
from atentdsl.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.data import Dataset

    from atentdsl.evaluation import Attack
    from atentdsl.runtime.data import Images
    from atentdsl.runtime.directory import RunDirectory
    from atentdsl.runtime.policy import Policy


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


@attrs.frozen(eq=False)
class Given:
    """What the caller gave: `train` documents each; `begun` is the run of the recipe that `[model] init` names."""

    model: nn.Module | None
    data: Dataset[Any] | None
    test: Dataset[Any] | None
    data_root: str | Path | None
    user_code: bool
    trust: bool
    begun: Path | None = None


@attrs.frozen(eq=False)
class Work:
    """What is trained, on what, and measured how.

    Attributes:
        recipe, network, training, validation, held, attacks, device: as their names say.
        text: the module.
        precision: what to train in whatever the device is fast at; None where the recipe says it.
    """

    recipe: Recipe
    text: str
    network: nn.Module
    training: Images
    validation: Images
    held: Images | None
    attacks: Sequence[Attack]
    device: torch.device
    precision: str | None = None

    @classmethod
    def prepared(
        cls,
        recipe: Recipe,
        text: str,
        own: Given,
        device: torch.device,
        fresh: bool = False,
        precision: str | None = None,
    ) -> Work:
        """Images and network on the device, and the attacks compiled; `fresh` as for `subjects.network`.

        Raises:
            BoundsUnknown: the objective asks for interval bounds, which cannot go through the network.
        """
        from atentdsl.evaluation import attacks
        from atentdsl.runtime.accuracy import classes_of

        training, validation, held = subjects.images(recipe, own.data, own.test, own.data_root)
        training, validation = training.to(device), validation.to(device)
        network = own.model
        if network is None:
            network = subjects.network(
                recipe, training, user_code=own.user_code, trust=own.trust, fresh=fresh, begun=own.begun
            )
        if primitive("objectives", recipe.objective.kind).bounded:
            from atentdsl.runtime.interval_bounds import require_bounds

            require_bounds(network)
        network.to(device)
        held = held and held.to(device)
        made = attacks(recipe, classes_of(network, training))
        return cls(recipe, text, network, training, validation, held, made, device, precision)

    def program(self, file: str = "") -> Any:
        """The module, stored in `file`, to be run in the work's precision."""
        module = as_module(self.text, self.recipe.name, file)
        if self.precision is not None:
            module.PRECISION = self.precision  # `placed` reads it
        return module

    def policy(self) -> Policy:
        """What the module is about to choose for the network on its device; the network is not touched."""
        from atentdsl.runtime.policy import AS_WRITTEN, policy_of

        compiled = self.recipe.compile
        return policy_of(self.network, self.precision or compiled.precision) if compiled.place else AS_WRITTEN

    def digests(self) -> dict[str, str]:
        """The sha256 of each part of the images."""
        found = {"training": self.training.digest(), "validation": self.validation.digest()}
        return found if self.held is None else {**found, "test": self.held.digest()}

    def compare(self, expected: Mapping[str, str], path: Path) -> None:
        """Refuses images that are not those the run began with."""
        from atentdsl.runtime.errors import CannotResume

        digests = self.digests()
        for part in sorted(expected.keys() | digests.keys()):
            found = digests.get(part)
            if found is None:
                raise CannotResume(path, f"it began with {part} images of the caller's own: pass them as `{part}`")
            if found != expected.get(part):
                raise CannotResume(
                    path,
                    f"the {part} images are not those it began with (sha256 {found}, expected {expected.get(part)}); "
                    "name the folder of those by --data-root",
                )

    def identity(self, resolved: str) -> dict[str, str]:
        """What a snapshot has to share with whoever goes on from it."""
        from atentdsl.runtime.manifest import sha256_text, versions

        own = versions()
        return {
            "recipe_sha256": sha256_text(resolved),
            "module_sha256": sha256_text(self.text),
            "atentdsl": str(own["atentdsl"]),
            "torch": str(own["torch"]),
        }

    def done(
        self,
        directory: RunDirectory,
        asked: Callable[[], bool],
        quiet: bool,
        saving: Any,
        max_steps: int | None,
        content: Mapping[str, Any] | None = None,
    ) -> Run:
        """Trains, evaluates and writes; gives the directory's lock back."""
        from atentdsl.runtime.errors import StorageFailed

        try:
            return self._done(directory, asked, quiet, saving, max_steps, content)
        except StorageFailed as error:
            error.run = directory.path
            raise
        finally:
            directory.release()

    def _done(
        self,
        directory: RunDirectory,
        asked: Callable[[], bool],
        quiet: bool,
        saving: Any,
        max_steps: int | None,
        content: Mapping[str, Any] | None,
    ) -> Run:
        from atentdsl.evaluation import watching
        from atentdsl.runtime import checkpoint, snapshot
        from atentdsl.runtime.directory import EVALUATION, MANIFEST, MODULE, RECIPE
        from atentdsl.runtime.errors import Interrupted
        from atentdsl.runtime.loop import fit
        from atentdsl.runtime.progress import make_progress

        recipe = self.recipe
        program = self.program(str(directory.path / MODULE))
        steps = program.EPOCHS * program.REPEAT * max(1, len(self.training) // program.BATCH)

        def write_policy(policy: Policy) -> None:
            """The policy that steps run by, into the manifest: of whoever went on last, or else of the run."""
            made = directory.manifest()
            entry = made["resumed"][-1] if made.get("resumed") else made
            if entry["policy"] != attrs.asdict(policy):
                entry["policy"] = attrs.asdict(policy)
                directory.write_json(MANIFEST, made)

        shown = make_progress(min(steps, max_steps or steps), io.StringIO() if quiet else None)
        with self._usual_order(), shown as progress:
            if content is not None:
                progress.message(f"going on after step {content['step']:,}")
            kept = fit(
                program,
                self.network,
                self.training,
                self.validation,
                watch=[attack.withstands for attack in watching(self.attacks)],
                seed=recipe.header.seed,
                directory=directory,
                progress=progress,
                max_steps=max_steps,
                saving=saving,
                identity=self.identity(directory.read_text(RECIPE)),
                content=content,
                asked=asked,
                placed_as=write_policy,
            )

        def heed() -> None:
            if asked():
                raise Interrupted(directory.path, kept.step)

        made = directory.manifest()
        weights = "averaged" if kept.averaged else "trained"
        made["training"] = {"epochs": kept.epochs, "of": program.EPOCHS, "steps": kept.step, "ended": kept.ended}
        made["kept"] = {"epoch": kept.epoch, "score": kept.score, "weights": weights}
        directory.write_json(MANIFEST, made)
        checkpoint.load(self.network, kept.path, sealed=True)
        images, split = (self.validation, "validation") if self.held is None else (self.held, "test")
        trained = subjects.trained(directory.manifest())
        own = made["model"] == subjects.GIVEN
        with going_on(recipe, self.network, self.attacks, self.device, own=own) as evaluation:
            result = evaluation(self.network, images, self.attacks, split, between=heed, trained=trained)
            directory.write_json(EVALUATION, result)
        snapshot.remove_all_but_newest(directory.checkpoints)
        return Run(directory.path, recipe, self.network, result)

    @contextmanager
    def _usual_order(self) -> Iterator[None]:
        """After the block weights are in memory as whoever loads the checkpoint has them, however it ends.

        A convolution rounds by that order.
        """
        import torch

        try:
            yield
        finally:
            self.network.to(memory_format=torch.contiguous_format)
