"""What a recipe must be: every table validated, every inconsistency found, all of it said at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.recipe.merging import Written
from atentdsl.recipe.resolved import resolved_text
from atentdsl.recipe.tables import OBJECTIVE, OPTIMIZER, SAMPLER, SCHEMA, Data, Evaluate, Header, Model, Recipe
from atentdsl.recipe.wording import diagnose, unknown_key
from atentdsl.source import Diagnostic, KeyPath, RecipeError, Span

TABLES: dict[str, Any] = {
    "recipe": Header,
    "data": Data,
    "model": Model,
    "sampler": Annotated[list[SAMPLER], Field(max_length=1)],
    "objective": OBJECTIVE,
    "optimizer": OPTIMIZER,
    "evaluate": Evaluate,
}
REQUIRED = ("recipe", "data", "model", "optimizer")


def check(whole: Written, file: str) -> Recipe:
    """The recipe that these values say.

    Raises:
        RecipeError: with every finding, sorted by position.
    """
    wrong = list(_schema(whole))
    if wrong:
        raise RecipeError(wrong, _sources(whole))
    tables, wrong = _validated(whole)
    for path, part in _parts(tables):
        wrong += _conflicts(whole, path, part)
    if "evaluate" in tables and "sampler" in tables:
        wrong += _evaluation(whole, tables["evaluate"], tables["sampler"])
    if wrong:
        raise RecipeError(wrong, _sources(whole))
    return Recipe(
        header=tables["recipe"],
        data=tables["data"],
        model=tables["model"],
        samplers=tuple(tables["sampler"]),
        objective=tables["objective"],
        optimizer=tables["optimizer"],
        evaluate=tables["evaluate"],
        file=file,
        places={path: value.key() for path, value in whole.walk() if path},
        resolved=resolved_text(whole),
    )


def ball_radius(samplers: list[Kinded]) -> float | None:
    """The radius of the first l-infinity ball that a sampler projects onto: the threat it trains against."""
    balls = (p for sampler in samplers for p in getattr(sampler, "projection", []) if p.kind == "linf_ball")
    ball: Any = next(balls, None)
    return None if ball is None else float(ball.radius)


def _schema(whole: Written) -> Iterator[Diagnostic]:
    if "schema" not in whole.value:
        top = Span(whole.document.name, 1, 1, 1)
        yield Diagnostic(
            "missing-schema", "the recipe does not say its schema", top, help=f"begin with `schema = {SCHEMA}`"
        )
        return
    found = whole.value["schema"]
    if type(found.value) is not int or found.value != SCHEMA:
        newer = type(found.value) is int and found.value > SCHEMA
        help_ = f"upgrade atentdsl, or write the recipe in schema {SCHEMA}" if newer else f"write `schema = {SCHEMA}`"
        said = found.plain() if not isinstance(found.value, dict | list) else "that"
        yield Diagnostic("unknown-schema", f"this version reads schema {SCHEMA}, not {said!r}", found.at(), help=help_)


def _validated(whole: Written) -> tuple[dict[str, Any], list[Diagnostic]]:
    """The tables that are right by themselves, and what is wrong with the others."""
    tables: dict[str, Any] = {}
    wrong = [unknown_key(whole, (key,), ["schema", *TABLES]) for key in whole.value if key not in {"schema", *TABLES}]
    for key, shape in TABLES.items():
        if key not in whole.value and key in REQUIRED:
            top = Span(whole.document.name, 1, 1, 1)
            wrong.append(Diagnostic("missing-table", f"the table `[{key}]` is missing", top, help=_example(key)))
            continue
        empty: Any = [] if key == "sampler" else {}
        given = whole.value[key].plain() if key in whole.value else empty
        try:
            tables[key] = TypeAdapter(shape).validate_python(given)
        except ValidationError as error:
            wrong += [diagnose(whole, (key,), details) for details in error.errors()]
    return tables, wrong


def _example(table: str) -> str:
    return {
        "recipe": 'add `[recipe]` with a `name = "…"`',
        "data": 'add `[data]` with `name = "digits"` and `batch = 64`',
        "model": 'add `[model]` with `name = "small_cnn"`',
        "optimizer": 'add `[optimizer]` with `kind = "sgd"`, `epochs = 30` and `lr = 0.1`',
    }[table]


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


def primitive_of(part: BaseModel) -> Primitive | None:
    """The primitive whose parameters these are."""
    found: Primitive | None = getattr(sys.modules[type(part).__module__], "PRIMITIVE", None)
    return found


def _conflicts(whole: Written, path: KeyPath, part: BaseModel) -> Iterator[Diagnostic]:
    primitive = primitive_of(part)
    if primitive is None:
        return
    values = {name: getattr(part, name) for name in type(part).model_fields}
    for field, message, help_ in primitive.conflicts(values):
        yield Diagnostic("inconsistent", message, _nearest(whole, (*path, *field.split("."))), help=help_)


def _evaluation(whole: Written, evaluate: Evaluate, samplers: list[Kinded]) -> Iterator[Diagnostic]:
    if evaluate.attacks and evaluate.radius is None and ball_radius(samplers) is None:
        place = _nearest(whole, ("evaluate", "attacks"))
        message = "the attacks have no radius: no sampler projects onto a ball"
        yield Diagnostic("inconsistent", message, place, help="set `radius` in `[evaluate]`, or `attacks = []`")
    if evaluate.select == "robust" and not evaluate.attacks:
        place = _nearest(whole, ("evaluate", "select"))
        message = "robust accuracy cannot select a checkpoint without an attack"
        yield Diagnostic("inconsistent", message, place, help='name an attack, or set `select = "clean"`')


def _nearest(whole: Written, path: KeyPath) -> Span:
    """Where the path is written, or the nearest table around it."""
    found, place = whole, Span(whole.document.name, 1, 1, 1)
    for key in path:
        inside = isinstance(found.value, dict) and key in found.value
        if not (inside or (isinstance(found.value, list) and isinstance(key, int) and key < len(found.value))):
            return place
        found = found.value[key]
        place = found.key()
    return place


def _sources(whole: Written) -> dict[str, str]:
    return {value.document.name: value.document.text for _, value in whole.walk()}
