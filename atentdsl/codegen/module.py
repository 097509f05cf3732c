"""A recipe's optimised plan as the text of a Python module."""

from __future__ import annotations

from functools import cache
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.codegen.literals import LINE, assignment, file_name
from atentdsl.codegen.sources import Sources
from atentdsl.codegen.statements import Statements
from atentdsl.codegen.terms import Terms
from atentdsl.codegen.wrapping import INDENT, wrapped
from atentdsl.passes import Stage, stages
from atentdsl.plan import Plan, lower, units, units_as_usually_written
from atentdsl.plan.calls import bound
from atentdsl.plan.cost import beside_the_steps
from atentdsl.plan.operations import Place, Update
from atentdsl.plan.program import Goal
from atentdsl.plan.values import Scheduled
from atentdsl.recipe import Recipe
from atentdsl.recipe.tables import SCHEMA
from atentdsl.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment


@attrs.frozen
class Compiled:
    """A compiled recipe.

    Attributes:
        name: the recipe's.
        goal: what the module does.
        text: the module.
        stages: the plan, literal and after each pass.
        tolerance: the share of the points' weights that was allowed to be left out.
    """

    name: str
    goal: Goal
    text: str = attrs.field(repr=False)
    stages: tuple[Stage, ...] = attrs.field(repr=False)
    tolerance: float

    @property
    def plan(self) -> Plan:
        """The plan after every pass."""
        return self.stages[-1].plan


def generate(recipe: Recipe, goal: Goal = "train") -> Compiled:
    """Lowers, optimises and writes out a checked recipe. The same recipe gives the same bytes anywhere."""
    history = stages(lower(recipe, goal), recipe.compile)
    plan = history[-1].plan
    written = Statements(recipe, plan)
    parts = {
        "title": _title(recipe, goal),
        "provenance": _provenance(recipe, history),
        "body": "\n".join(written.lines),
        "units": units(plan),
    }
    if goal == "train":
        parts |= _training(recipe, plan, written) | _placed(plan, written)
    sources = Sources(written.terms.functions)
    parts["constants"] = "\n".join(written.terms.constants.lines())
    parts["functions"] = "\n\n\n".join(sources.functions.values())
    parts["imports"] = _imports(sources.imports | written.imports, written.runtime)
    text = _templates().get_template(f"{goal}.py.j2").render(parts)
    return Compiled(recipe.name, goal, _tidy(text), history, recipe.compile.tolerance)


@cache
def _templates() -> Environment:
    import jinja2

    loader = jinja2.PackageLoader("atentdsl", "codegen/templates")
    return jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True)


def _title(recipe: Recipe, goal: Goal) -> str:
    what = "one training step" if goal == "train" else "the points its sampler draws"
    return f"{recipe.name}: {what}, as its recipe says."


def _provenance(recipe: Recipe, history: tuple[Stage, ...]) -> str:
    plan = history[-1].plan
    lines = [
        f"Compiled from {file_name(recipe.file, longest=60)} by atentdsl {__version__}, schema {SCHEMA}.",
        f"sha256 of the recipe's values: {recipe.digest()}",
        f"Cost: {units(plan)} units a step (a forward, an activation backward, weight gradients: 1 each);",
        f"      literal {units(history[0].plan)}, as usually written {units_as_usually_written(history[0].plan)}.",
        *(f"      {line}" for line in wrap(beside_the_steps(recipe) if plan.goal == "train" else "", LINE - 20)),
        f"Passes, at a tolerance of {recipe.compile.tolerance:g}:",
    ]
    lines += [f"    {stage.name}: {stage.effect}" for stage in history[1:]]
    return "\n".join(lines)


def _training(recipe: Recipe, plan: Plan, written: Statements) -> dict[str, Any]:
    """What surrounds a step: the optimizer, and the numbers that it runs by in an epoch and at a step."""
    update = next(o for o in plan.flat() if isinstance(o, Update))
    path, terms = update.origin.path, written.terms
    rate = terms.number("LR", update.rate, (*path, "lr"), None, clock="")
    numbers = dict(update.optimizer.arguments)
    texts = {name: terms.number(name.upper(), value, (*path, name), None, "") for name, value in numbers.items()}
    changing = {name: text for name, text in texts.items() if isinstance(numbers[name], Scheduled)}
    settings = {"lr": "learning_rate(epoch, step)", **changing}
    first = {name: f'settings(1, 1)["{name}"]' if name in changing else text for name, text in texts.items()}
    bound = {"parameters": "parameters", "lr": "learning_rate(1, 1)", **first}
    optimizer = ", ".join(bound[name] for name in update.optimizer.asks)
    return {
        "rate": _returned(rate),
        "optimizer": _returned(f"{terms.function(update.optimizer.function)}({optimizer})"),
        "optimizer_settings": _returned("{" + ", ".join(f'"{name}": {text}' for name, text in settings.items()) + "}"),
        "settings": "\n".join(_settings(recipe, terms)),
        **_weight_average(recipe, written),
    }


def _weight_average(recipe: Recipe, written: Statements) -> dict[str, str]:
    """The average of the weights that is kept beside the steps; nothing where the recipe asks for none."""
    optimizer: Any = recipe.optimizer
    table = optimizer.weight_averaging
    if table is None:
        return {"weight_average": ""}
    path, terms = ("optimizer", "weight_averaging"), written.terms
    call = bound("weight_averages", table.kind, table.parameters(), {})
    share = terms.function(call.function)
    numbers = [f"{name}={terms.name(f'AVERAGE_{name.upper()}', n, (*path, name))}" for name, n in call.arguments]
    if numbers:
        written.imports.add("from functools import partial")
        share = f"partial({share}, {', '.join(numbers)})"
    written.runtime.add("WeightAverage")
    first = terms.name("AVERAGE_FROM_EPOCH", table.from_epoch, (*path, "from_epoch"))
    named = f'from_epoch={first}, every="{table.every}", statistics="{table.statistics}"'
    return {"weight_average": _returned(f"WeightAverage(model, {share}, {named})")}


def _placed(plan: Plan, written: Statements) -> dict[str, str]:
    """How the step is made to run: as the device does it fastest, or as it stands."""
    if any(isinstance(o, Place) for o in plan.operations):
        written.runtime.add("place")
        says = "The step where it runs fastest: number and memory formats, a fused optimizer, a captured graph."
        return {"placed_says": says, "placed": "place(train_step, make_optimizer, model, PRECISION)"}
    written.runtime.add("as_written")
    return {"placed_says": "The step as it stands.", "placed": "as_written(train_step, make_optimizer, model)"}


def _returned(text: str) -> str:
    return "\n".join(wrapped(f"return {text}", INDENT))


def _settings(recipe: Recipe, terms: Terms) -> list[str]:
    """What the training loop reads: the recipe's tables that are no part of a step."""
    optimizer: Any = recipe.optimizer
    rows: list[tuple[str, Any, tuple[str, ...]]] = [
        ("NAME", recipe.name, ("recipe", "name")),
        ("SEED", recipe.header.seed, ("recipe", "seed")),
        ("DATA", recipe.data.name, ("data", "name")),
        ("BATCH", recipe.data.batch, ("data", "batch")),
        ("REPEAT", recipe.data.repeat, ("data", "repeat")),
        ("AUGMENT", tuple(recipe.data.augment), ("data", "augment")),
        ("VALIDATION", recipe.data.validation, ("data", "validation")),
        ("MODEL", recipe.model.name, ("model", "name")),
        ("EPOCHS", optimizer.epochs, ("optimizer", "epochs")),
        ("ON_DIVERGENCE", optimizer.on_divergence, ("optimizer", "on_divergence")),
        ("PRECISION", recipe.compile.precision, ("compile", "precision")),
        ("EVALUATION_BATCH", recipe.evaluate.batch, ("evaluate", "batch")),
        ("SELECT", recipe.evaluate.select, ("evaluate", "select")),
    ]
    if recipe.evaluate.patience is not None:
        rows.append(("PATIENCE", recipe.evaluate.patience, ("evaluate", "patience")))
    return [assignment(name, value, terms.place(path)) for name, value, path in rows]


def _imports(needed: set[str], runtime: set[str]) -> str:
    standard = sorted(line for line in needed if "torch" not in line)
    plain_ = [line for line in standard if line.startswith("import ")]
    from_ = [line for line in standard if line.startswith("from ")]
    third = sorted((line for line in needed if "torch" in line), key=lambda line: (line.startswith("from "), line))
    blocks = ["\n".join([*plain_, *from_]), "\n".join(third)]
    if runtime:
        blocks.append(_from_runtime(sorted(runtime)))
    return "\n\n".join(block for block in blocks if block)


def _from_runtime(names: list[str]) -> str:
    """The import of these names; one a line where they are too long for one."""
    line = f"from atentdsl.runtime import {', '.join(names)}"
    if len(line) <= LINE:
        return line
    return "\n".join(["from atentdsl.runtime import (", *(f"    {name}," for name in names), ")"])


def _tidy(text: str) -> str:
    """Without the gaps that empty blocks leave: at most two blank lines together, one at the end."""
    lines: list[str] = []
    for line in text.rstrip().split("\n"):
        if line.strip() or lines[-2:] != ["", ""]:
            lines.append(line.rstrip())
    return "\n".join(lines) + "\n"
