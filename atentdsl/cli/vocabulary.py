"""The vocabulary as text, read from the primitives themselves."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from atentdsl.primitives import registry
from atentdsl.primitives.primitive import Part
from atentdsl.recipe import shipped
from atentdsl.recipe.tables import Installed

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
    lines += [f"    {kind:<16} {_first_line(family, kind)}" for kind in registry.kinds(family)]
    return "\n".join([*lines, ""])


def kind_text(family: str, kind: str) -> str:
    """A kind's documentation and parameters."""
    primitive = registry.primitive(family, kind)
    lines = [f"{kind}, of {family}", "", documentation(family, kind)]
    rows = _parameters(primitive.parameters)
    if rows:
        lines += ["", "parameters:", *rows]
    return "\n".join([*lines, ""])


def summary(family: str) -> str:
    """What a family's primitives answer, in one line."""
    return (import_module(f"atentdsl.primitives.{family}").__doc__ or "").splitlines()[0]


def documentation(family: str, kind: str) -> str:
    """A kind's documentation, without its example."""
    registry.primitive(family, kind)
    return (sys.modules[f"atentdsl.primitives.{family}.{kind}"].__doc__ or "").split("\n>>>")[0].strip()


def _first_line(family: str, kind: str) -> str:
    return documentation(family, kind).splitlines()[0]


def _parameters(table: type[Part]) -> list[str]:
    rows = []
    for name, field in table.model_fields.items():
        if name == "kind":
            continue
        default: Any = "required" if field.is_required() else field.get_default(call_default_factory=True)
        shown = default if field.is_required() else f"default {_shown(default)}"
        rows.append(f"    {name:<14} {field.description or ''} ({shown})")
    return rows


def _shown(value: Any) -> str:
    return str(getattr(value, "kind", None) or ("its table's defaults" if isinstance(value, Part) else value))
