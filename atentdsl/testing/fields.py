"""Draws what a table of a recipe takes, read off the table's own model: a field, a primitive of a slot, a number."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from atentdsl.primitives import registry
from atentdsl.primitives.slots import NameOf, OneOf, Schedulable
from atentdsl.recipe.tables import CODE, Installed

Table = dict[str, Any]

LARGEST = 2.0  # of a number without an upper bound: inputs are in [0, 1]
LONGEST = 6  # of a whole number: moves above all

OFTEN = st.sampled_from([True, True, True, False])

DEPENDENT: dict[tuple[str, str], Callable[[st.SearchStrategy[Table]], st.SearchStrategy[Table]]] = {}
"""Of the primitives whose parameters depend on one another, by family and kind: what makes a drawn table consistent."""

APART: set[tuple[str, str]] = set()
"""Of the primitives that stand alone, by family and kind: whoever draws the tables around them draws them too."""


@st.composite
def table_of(draw: st.DrawFn, /, model: type[BaseModel], **chosen: st.SearchStrategy[Any] | None) -> Table:
    """A table of that model: what it requires, and much of what it does not; a field that is chosen None stays out."""
    drawn: Table = {}
    for name, field in model.model_fields.items():
        stays_out = name == "kind" or (name in chosen and chosen[name] is None)
        if not stays_out and (field.is_required() or draw(OFTEN)):
            own = chosen.get(name)
            drawn[name] = draw(field_of(model, name) if own is None else own)
    return drawn


@cache
def field_of(model: type[BaseModel], name: str) -> st.SearchStrategy[Any]:
    """What the table's field of that name takes."""
    field = model.model_fields[name]
    return _value(field.annotation, field.metadata)


def slot_of(annotation: Any) -> st.SearchStrategy[Any]:
    """What an annotated slot takes, such as `SAMPLER`."""
    return _value(annotation, [])


def _value(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    """What a field of this type takes. A type that is not known here is an error: something would never be drawn."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        flat = [m for entry in more for m in (entry.metadata if isinstance(entry, FieldInfo) else [entry])]
        return _value(inner, [*flat, *metadata])
    if get_origin(annotation) in {Union, types.UnionType}:
        (inner,) = [choice for choice in get_args(annotation) if choice is not type(None)]  # TOML writes no null
        return _value(inner, metadata)
    for entry in metadata:
        if isinstance(entry, OneOf):
            return _primitive(entry)
        if isinstance(entry, NameOf):
            return st.sampled_from(registry.kinds(entry.family))
        if isinstance(entry, Installed):
            code = st.from_regex(CODE, fullmatch=True).filter(lambda text: len(text) <= 80)
            return st.sampled_from(entry.names()) | code if entry.code else st.sampled_from(entry.names())
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is list:
        (inner,) = get_args(annotation)
        shortest, longest = _bound(metadata, MinLen, "min_length", 0), _bound(metadata, MaxLen, "max_length", 3)
        return st.lists(_value(inner, []), min_size=int(shortest), max_size=int(longest))
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        least = int(_bound(metadata, Ge, "ge", 0))
        return st.integers(least, least + int(min(_bound(metadata, Le, "le", LONGEST), LONGEST)))
    if annotation is float:
        return number_of(metadata) if Schedulable() not in metadata else _scheduled(metadata)
    if annotation is str and (pattern := next((m.pattern for m in metadata if hasattr(m, "pattern")), None)):
        longest = _bound(metadata, MaxLen, "max_length", 80)
        return st.from_regex(pattern, fullmatch=True).filter(lambda text: len(text) <= longest)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return table_of(annotation)
    raise TypeError(f"no strategy draws a {annotation!r}")


@st.composite
def _primitive(draw: st.DrawFn, slot: OneOf) -> Any:
    """A table of any kind of the family; its default kind may go unsaid, and a lone number may stand for it."""
    kind = draw(st.sampled_from([kind for kind in registry.kinds(slot.family) if (slot.family, kind) not in APART]))
    parameters = registry.primitive(slot.family, kind).parameters
    unsaid = kind == slot.default and not draw(OFTEN)
    if unsaid and slot.number:
        return draw(field_of(parameters, slot.number))
    table = table_of(parameters)
    dependent = DEPENDENT.get((slot.family, kind))
    drawn = draw(table if dependent is None else dependent(table))
    return drawn if unsaid else {"kind": kind, **drawn}


@st.composite
def _scheduled(draw: st.DrawFn, metadata: list[Any]) -> Any:
    """A number, or now and then a schedule that stays below the number's bound."""
    if draw(st.integers(0, 7)):
        return draw(number_of(metadata))
    table = draw(_primitive(Schedulable().slot))
    if _bound(metadata, Lt, "lt", 0.0) or _bound(metadata, Le, "le", 0.0):
        below = {key: table[key] / 4 for key in ("start", "peak", "end") if key in table}
        table |= below | ({"value": _quarter(table["value"])} if "value" in table else {})
    return table


def _quarter(value: Any) -> Any:
    return [number / 4 for number in value] if isinstance(value, list) else value / 4


def number_of(metadata: list[Any]) -> st.SearchStrategy[float]:
    """Thousandths up to `LARGEST`, and what rounds badly; the ends where they are allowed."""
    low, high = _bound(metadata, Ge, "ge", 0.0), min(_bound(metadata, Le, "le", LARGEST), LARGEST)
    return _between(low, high, _bound(metadata, Gt, "gt", -1.0), _bound(metadata, Lt, "lt", LARGEST + 1))


@cache
def _between(low: float, high: float, below: float, beyond: float) -> st.SearchStrategy[float]:
    thousandths = [number / 1000 for number in range(int(1000 * LARGEST) + 1)]
    lists = ([low, high, 1e-3, 0.1, 1 / 3, 0.9], thousandths)
    allowed = [[x for x in numbers if low <= x <= high and below < x < beyond] for numbers in lists]
    return st.one_of([st.sampled_from(numbers) for numbers in allowed])


def _bound(metadata: list[Any], kind: Any, attribute: str, default: float) -> float:
    found = [getattr(entry, attribute) for entry in metadata if isinstance(entry, kind)]
    return float(found[0]) if found else default
