"""The vocabulary as text, read from the primitives themselves."""

from __future__ import annotations

from typing import Any

import attrs

from atentdsl.primitives import registry
from atentdsl.primitives.documented import documentation, first_line, summary
from atentdsl.primitives.primitive import Part
from atentdsl.recipe import shipped
from atentdsl.recipe.attack_names import KEYS, PRESETS, STEPPED, names
from atentdsl.recipe.grammar import field
from atentdsl.recipe.tables import Installed


@attrs.frozen
class Parameter:
    """A key that a kind takes.

    Attributes:
        name: as it is written; of an inner table with the table's own, `momentum.mu`.
        what: what it stands for.
        default: what holds where it is not given; None where it has to be.
        schedulable: whether a schedule may stand in place of the number.
    """

    name: str
    what: str
    default: str | None
    schedulable: bool


OTHERS = {"recipes": "The shipped recipes.", "datasets": "Data sets.", "models": "Networks."}


def families() -> list[str]:
    """The families of primitives, then recipes, data sets and networks."""
    return [*registry.families(), *OTHERS]


def all_kinds() -> list[str]:
    """Every kind of every family."""
    return [kind for family in registry.families() for kind in registry.kinds(family)]


def places(kind: str) -> list[str]:
    """The families that have a kind of this name."""
    return [family for family in registry.families() if kind in registry.kinds(family)]


def family_text(family: str) -> str:
    """The family and its kinds, a line each."""
    if family in OTHERS:
        names = shipped.names() if family == "recipes" else Installed(family).names()
        return "\n".join([f"{family}: {OTHERS[family]}", *(f"    {name}" for name in names), ""])
    lines = [f"{family}: {summary(family)}"]
    lines += [f"    {kind:<16} {first_line(family, kind)}" for kind in registry.kinds(family)]
    return "\n".join([*lines, ""])


def kind_text(family: str, kind: str) -> str:
    """A kind's documentation and parameters."""
    primitive = registry.primitive(family, kind)
    lines = [f"{kind}, of {family}", "", documentation(family, kind)]
    found = parameters(primitive.parameters)
    if found:
        width = max(14, *(len(parameter.name) for parameter in found))
        lines += ["", "parameters:"]
    for parameter in found:
        default = "required" if parameter.default is None else f"default {parameter.default}"
        note = f"{default}; a number or a schedule" if parameter.schedulable else default
        lines.append(f"    {parameter.name:<{width}} {parameter.what} ({note})")
    return "\n".join([*lines, ""])


def attacks_text() -> str:
    """The attacks of an evaluation, a line each: the settings that they take, and what the name of a table's says."""
    lines = [
        "attacks: What `[evaluate] attacks` and `eval --attack` name; settings stand behind: `pgd-40,restarts=10`."
    ]
    for name in names():
        kind = STEPPED if name == f"{STEPPED}-N" else name
        takes = PRESETS[name] if name in PRESETS else ", ".join(["norm", "radius", *KEYS[kind]])
        lines.append(f"    {name:<16} {takes}")
    return "\n".join([*lines, ""])


def parameters(table: type[Part], around: str = "") -> list[Parameter]:
    """What a table takes apart from its `kind`, each key of an inner table after the table itself."""
    found = []
    for name, info in table.model_fields.items():
        if name == "kind":
            continue
        shape = field(table, name)
        default = None if info.is_required() else _shown(info.get_default(call_default_factory=True))
        schedulable = shape.schedules is not None or bool(shape.slot and shape.slot.number)
        found.append(Parameter(around + name, shape.description, default, schedulable))
        if shape.model is not None:
            found += parameters(shape.model, f"{around}{name}.")
    return found


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(getattr(value, "kind", None) or ("its own defaults" if isinstance(value, Part) else value))
