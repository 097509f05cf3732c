"""The tables of a recipe that hold no primitive, and the validated recipe."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from atentdsl.primitives.primitive import Kinded, Part, Positive
from atentdsl.primitives.slots import OneOf, PositiveOrSchedule
from atentdsl.recipe.attack_names import WRITTEN
from atentdsl.recipe.merging import Written
from atentdsl.recipe.resolved import resolved_text
from atentdsl.source import KeyPath, Span

SCHEMA = 1


IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
DOTTED = rf"{IDENTIFIER}(?:\.{IDENTIFIER})*"
CODE = rf"{DOTTED}:{DOTTED}"
"""`module:attribute`, code of the user's own."""


@attrs.frozen
class Installed:
    """The slot takes the name of a file in a folder of `atentdsl/runtime`; reads the folder and imports nothing.

    Attributes:
        folder: the folder.
        code: whether `module:attribute`, code of the user's own, may stand there too; it is not looked up either.
    """

    folder: str
    code: bool = False

    def names(self) -> list[str]:
        """The names, in alphabetical order."""
        folder = Path(__file__).parent.parent / "runtime" / self.folder
        return sorted(p.stem for p in folder.glob("*.py") if p.stem != "__init__")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """One of the names, or code where that may be."""
        if not self.code:
            return core_schema.literal_schema(self.names())
        # As long as a recipe's own name may be: it stands on a line of the generated module.
        return core_schema.str_schema(pattern=f"^(?:{'|'.join(self.names())}|{CODE})$", max_length=80, strict=True)


class Header(Part):
    """The table `[recipe]`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)] = Field(
        description="names the runs and the generated module"
    )
    extends: str | None = Field(None, description="a recipe to begin with, relative to this one")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="of weights, data order and every draw")


class Data(Part):
    """The table `[data]`."""

    name: Annotated[str, Installed("datasets")] = Field(description="the data set")
    batch: Annotated[int, Field(ge=1, le=1_000_000)] = Field(description="examples in a batch")
    repeat: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="outer steps made on each batch, in a row")
    augment: list[Literal["crop4", "flip"]] = Field(default_factory=list, description="augmentations, in order")
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="share of the training set held out")


class Model(Part):
    """The table `[model]`."""

    name: Annotated[str, Installed("models", code=True)] = Field(
        description="the architecture; or `module:attribute`, a network of one's own that takes inputs in [0, 1]"
    )
    init: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1000)] = Field(
        "random",
        description="where the weights come from: `random`; a path, relative to the working directory, to a run, a "
        "safetensors file or a state dict; or `recipe:NAME`, another recipe's run with the same seed, network and "
        "images, which is trained first if there is none",
    )


class Smoothing(Part):
    """The table `[smoothing]`: Gaussian noise on the network's input, in every evaluation of a step."""

    sigma: PositiveOrSchedule = Field(description="σ, standard deviation of the noise, in units of inputs in [0, 1]")
    draws: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="m, noisy copies of each example")
    redraw: Literal["batch", "evaluation"] = Field(
        "batch", description="whether all evaluations on a batch share its draws, or each has its own"
    )
    target: Literal["probabilities", "losses"] = Field(
        "probabilities", description="what a sampler's target averages over the copies"
    )
    objective: Literal["probabilities", "losses"] = Field(
        "losses", description="what the outer loss averages over the copies"
    )


class Compile(Part):
    """The table `[compile]`: what the compiler may do. Each pass has a switch of its name."""

    tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        2e-3, description="share of the points' weights that may be left out of the signal's gradient"
    )
    merge_evaluations: bool = Field(True, description="one pass for both gradients at one point")
    drop_negligible: bool = Field(True, description="no weight gradient at points below the tolerance")
    hoist_clean_branch: bool = Field(True, description="a target's clean logits once for a chain")
    share_clean_forward: bool = Field(True, description="an objective's clean logits from one forward")
    freeze_weights: bool = Field(True, description="no weight gradient where only a point's is read")
    fold_projections: bool = Field(True, description="an l-infinity ball and the box as one clamp")
    roll: bool = Field(True, description="equal moves as a loop")
    place: bool = Field(True, description="formats and kernels chosen for the device when it runs")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of the network's passes in training; `auto` is bfloat16 where the device computes it faster, and "
        "accuracies are always measured in float32",
    )


class Evaluate(Part):
    """The table `[evaluate]`."""

    select: Literal["robust", "clean", "last"] = Field("robust", description="the checkpoint kept, on validation data")
    patience: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="training ends when this many epochs in a row have not bettered the score of `select`"
    )
    attacks: list[Annotated[str, Field(pattern=rf"^{WRITTEN.pattern}$", max_length=200)]] = Field(
        default_factory=lambda: ["pgd-20"],
        description="names, with settings as in `pgd-9,restarts=2`; the first `pgd` or `fgsm` watches over training",
    )
    norm: Literal["linf", "l2", "l1"] | None = Field(
        None, description="of the attacks; the sampler's ball's, else linf"
    )
    radius: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        None, description="of the attacks; the sampler's ball's where not given"
    )
    step_size: Positive | None = Field(None, description="of the attacks; 2.5 radius / steps where not given")
    restarts: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="an image counts if it withstands all")
    batch: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        512, description="images measured at a time; an attack's draws depend on it"
    )
    independent: bool = Field(
        False,
        description="each attack is made on all images that are classified right, also where an earlier one did it",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the network's passes when it is attacked"
    )


@attrs.frozen
class Recipe:
    """A recipe that has been checked: what it says is consistent, and compiles.

    Attributes:
        header, data, model, samplers, objective, smoothing, optimizer, compile, evaluate: its tables, defaults filled
            in; without `[smoothing]` None.
        file: the name its lines are cited by.
        written: its values with their places, to lay overrides over.
    """

    header: Header
    data: Data
    model: Model
    samplers: tuple[Kinded, ...]
    objective: Kinded
    smoothing: Smoothing | None
    optimizer: Kinded
    compile: Compile
    evaluate: Evaluate
    file: str
    written: Written = attrs.field(eq=False, repr=False)

    @functools.cached_property
    def resolved(self) -> str:
        """The recipe as TOML that stands alone: `extends` and overrides worked in, and said in comments."""
        return resolved_text(self.written)

    @functools.cached_property
    def places(self) -> Mapping[KeyPath, Span]:
        """Where each key was written, by its path."""
        return {path: value.key() for path, value in self.written.walk() if path}

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.header.name

    def values(self) -> dict[str, Any]:
        """Every value that means something, defaults included, as plain data: the recipe without its writing."""
        tables = {
            "recipe": self.header.model_dump(exclude={"extends"}, exclude_none=True),
            "data": self.data.model_dump(exclude_none=True),
            "model": self.model.model_dump(exclude_none=True),
            "sampler": [s.model_dump(serialize_as_any=True, exclude_none=True) for s in self.samplers],
            "objective": self.objective.model_dump(serialize_as_any=True, exclude_none=True),
            "optimizer": self.optimizer.model_dump(serialize_as_any=True, exclude_none=True),
            "compile": self.compile.model_dump(exclude_none=True),
            "evaluate": self.evaluate.model_dump(exclude_none=True),
        }
        smoothed = {} if self.smoothing is None else {"smoothing": self.smoothing.model_dump(exclude_none=True)}
        return {"schema": SCHEMA, **tables, **smoothed}

    def digest(self) -> str:
        """sha256 of `values()`: equal for recipes that mean the same, whatever their layout and comments."""
        return hashlib.sha256(json.dumps(self.values(), sort_keys=True).encode()).hexdigest()

    def place(self, *path: str | int) -> Span | None:
        """Where this key was written, or the nearest table around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return None


SAMPLER = Annotated[Kinded, OneOf("samplers", "chain")]
OBJECTIVE = Annotated[Kinded, OneOf("objectives", "cross_entropy")]
OPTIMIZER = Annotated[Kinded, OneOf("optimizers")]
