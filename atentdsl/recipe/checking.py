"""What a recipe must be: every table validated, every inconsistency found, all of it said at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from atentdsl.primitives.primitive import Primitive
from atentdsl.recipe.composition import compositions, over_moves
from atentdsl.recipe.evaluating import evaluations
from atentdsl.recipe.grammar import TABLES
from atentdsl.recipe.limits import beyond_limits
from atentdsl.recipe.merging import Written, changed_by_name
from atentdsl.recipe.tables import SCHEMA, Evaluate
from atentdsl.recipe.unknown_keys import unknown_table
from atentdsl.recipe.wording import diagnoses
from atentdsl.source import Diagnostic, Document, KeyPath, Span

REQUIRED = {
    "recipe": 'add `[recipe]` with a `name = "…"`',
    "data": 'add `[data]` with `name = "digits"` and `batch = 64`',
    "model": 'add `[model]` with `name = "small_cnn"`',
    "optimizer": 'add `[optimizer]` with `kind = "sgd"`, `epochs = 30` and `lr = 0.1`',
}
"""The tables that a recipe has, and how to add one."""
OPTIONAL = {"smoothing"}
"""The tables that mean nothing where they are not written; the others have defaults throughout."""


def check(
    whole: Written, documents: Sequence[Document], complete: bool = True
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """The validated tables, and everything that is wrong with the recipe.

    Args:
        whole: the recipe, all its layers in one.
        documents: the files that it is made of.
        complete: whether every layer is there; where one could not be read, nothing is called missing.
    """
    wrong = list(_other_schemas(whole, documents))
    if wrong:
        return {}, wrong  # another schema has other rules
    wrong, meant = [], set()
    for key in whole.value:
        if key not in {"schema", *TABLES}:
            diagnostic, near = unknown_table(whole, key)
            wrong.append(diagnostic)
            meant.add(near)
    tables, found = _validated(whole)
    wrong += found
    if complete:
        wrong += _missing(whole, documents, meant)
    else:
        wrong = [diagnostic for diagnostic in wrong if diagnostic.code != "missing-key"]
    if "evaluate" in tables:
        wrong += _range(whole, tables["evaluate"])
    for path, part in _parts(tables):
        wrong += beyond_limits(whole, path, part)
        wrong += _conflicts(whole, path, part) if complete else []
        wrong += over_moves(whole, path, part)
    wrong += compositions(whole, tables) if complete else []
    if complete and {"evaluate", "sampler"} <= tables.keys() and (tables["sampler"] or "sampler" not in meant):
        wrong += evaluations(whole, tables["evaluate"], tables["sampler"])
    return tables, wrong


def primitive_of(part: BaseModel) -> Primitive | None:
    """The primitive whose parameters these are."""
    found: Primitive | None = getattr(sys.modules[type(part).__module__], "PRIMITIVE", None)
    return found


def _other_schemas(whole: Written, documents: Sequence[Document]) -> Iterator[Diagnostic]:
    """Every layer says its schema: a base of another one would be read by the wrong rules."""
    path = ("schema",)
    layers = [Written(document.data["schema"], document, path) for document in documents if document.has(path)]
    final = whole.child("schema")
    if final is not None and final.document not in documents:
        layers.append(final)
    for layer in layers:
        if type(layer.value) is int and layer.value == SCHEMA:
            continue
        newer = type(layer.value) is int and layer.value > SCHEMA
        mend = f"upgrade atentdsl, or write the recipe in schema {SCHEMA}" if newer else f"write `schema = {SCHEMA}`"
        message = f"this version reads schema {SCHEMA}, not `{layer.source()}`"
        yield Diagnostic("unknown-schema", message, layer.at(), help=mend)


def _missing(whole: Written, documents: Sequence[Document], meant: set[str | None]) -> Iterator[Diagnostic]:
    """Tables that are not there, and layers without a schema; not those that an unknown table was meant to be."""
    for document in documents:
        if not document.has(("schema",)) and "schema" not in meant:
            top, mend = Span(document.name, 1, 1), f"begin with `schema = {SCHEMA}`"
            yield Diagnostic("missing-schema", "the recipe does not say its schema", top, help=mend)
    for table, mend in REQUIRED.items():
        if table not in whole.value and table not in meant:
            yield Diagnostic("missing-table", f"the table `[{table}]` is missing", whole.top(), help=mend)


@cache
def _adapter(table: str) -> TypeAdapter[Any]:
    return TypeAdapter(TABLES[table])


def _validated(whole: Written) -> tuple[dict[str, Any], list[Diagnostic]]:
    """The tables that are right by themselves, and what is wrong with the others."""
    tables: dict[str, Any] = {}
    wrong: list[Diagnostic] = []
    for key in TABLES:
        empty: Any = [] if key == "sampler" else {}
        if key not in whole.value and key in {*REQUIRED, *OPTIONAL}:
            continue
        given = whole.value[key].plain() if key in whole.value else empty
        try:
            tables[key] = _adapter(key).validate_python(given)
        except ValidationError as error:
            wrong += diagnoses(whole, key, error.errors(include_url=False))
    return tables, wrong


def _parts(tables: dict[str, Any]) -> Iterator[tuple[KeyPath, BaseModel]]:
    """Every validated part, by its path."""

    def walk(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, BaseModel]]:
        if isinstance(value, BaseModel):
            yield path, value
            for name in type(value).model_fields:
                yield from walk((*path, name), getattr(value, name))
        elif isinstance(value, list):
            for i, child in enumerate(value):
                yield from walk((*path, i), child)

    for key, table in tables.items():
        yield from walk((key,), table)


def _conflicts(whole: Written, path: KeyPath, part: BaseModel) -> Iterator[Diagnostic]:
    primitive = primitive_of(part)
    if primitive is None:
        return
    values = {name: getattr(part, name) for name in type(part).model_fields}
    for field, message, mend in primitive.conflicts(values):
        below = [int(key) if key.isdigit() else key for key in field.split(".")]
        place = whole.walk_to((*path, *below)).key()
        other = changed_by_name(whole, int(path[1])) if field == "moves" else None
        context, more = other or (None, "")
        yield Diagnostic("inconsistent", message, place, "", context, f"{mend}; {more}" if more else mend)


def _range(whole: Written, evaluate: Evaluate) -> Iterator[Diagnostic]:
    """An l-infinity radius beyond the inputs' range; only a norm that is written makes it another norm's."""
    if evaluate.norm in (None, "linf") and evaluate.radius is not None and evaluate.radius > 1:
        message = f"`radius` {evaluate.radius:g} is larger than the inputs' range"
        mend = 'inputs are in [0, 1]: for 8/255 write 0.031372549; a radius in l2 says `norm = "l2"`'
        yield Diagnostic("inconsistent", message, whole.walk_to(("evaluate", "radius")).at(), help=mend)
