"""What each place of a recipe takes, read off the tables' own models: nothing about a primitive is written here."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field
from pydantic.fields import FieldInfo

from atentdsl.primitives import registry
from atentdsl.primitives.primitive import Part
from atentdsl.primitives.slots import NameOf, OneOf, Schedulable
from atentdsl.recipe.tables import (
    OBJECTIVE,
    OPTIMIZER,
    SAMPLER,
    Compile,
    Data,
    Evaluate,
    Header,
    Installed,
    Model,
    Smoothing,
)
from atentdsl.source import KeyPath

TABLES: dict[str, Any] = {
    "recipe": Header,
    "data": Data,
    "model": Model,
    "sampler": Annotated[list[SAMPLER], Field(max_length=8)],
    "objective": OBJECTIVE,
    "smoothing": Smoothing,
    "optimizer": OPTIMIZER,
    "compile": Compile,
    "evaluate": Evaluate,
}
"""The tables of a recipe, in the order they are usually written, and what each takes."""

_BOUNDS = ((Ge, "ge", "<="), (Gt, "gt", "<")), ((Le, "le", "<="), (Lt, "lt", "<"))


@attrs.frozen
class Shape:
    """What a value may be.

    Attributes:
        annotation: its type, without `Annotated` and `None`.
        metadata: what else is asked of it.
        description: what it stands for, where the table's model says so.
    """

    annotation: Any
    metadata: tuple[Any, ...] = ()
    description: str = ""

    @cached_property
    def slot(self) -> OneOf | None:
        """The family that fills it, where a table with a `kind` stands here."""
        return next((entry for entry in self.metadata if isinstance(entry, OneOf)), None)

    @cached_property
    def schedules(self) -> OneOf | None:
        """The family whose tables may stand here in place of a number."""
        return next((entry.slot for entry in self.metadata if isinstance(entry, Schedulable)), None)

    @cached_property
    def model(self) -> type[Part] | None:
        """The table's model, where a table without a choice stands here."""
        plain = isinstance(self.annotation, type) and issubclass(self.annotation, Part) and not self.slot
        return self.annotation if plain else None

    @cached_property
    def element(self) -> Shape | None:
        """What an array's elements are; None where no array stands here."""
        return shape_of(get_args(self.annotation)[0]) if get_origin(self.annotation) is list else None

    def below(self, key: str | int) -> list[Shape]:
        """What may stand at a key or index inside it, of whatever kind it is."""
        if self.element is not None:
            return [self.element]
        return [field(model, key) for model in self.models if isinstance(key, str) and key in model.model_fields]

    @cached_property
    def models(self) -> list[type[Part]]:
        """The tables that may stand here: one for each kind, or the one without a choice."""
        slot = self.slot or self.schedules
        if slot is None:
            return [self.model] if self.model else []
        return [primitive.parameters for primitive in registry.family(slot.family).values()]

    @property
    def words(self) -> tuple[str, ...]:
        """The words it must be one of; none where it is no such choice.

        >>> shape_of(Literal["train", "eval"]).words
        ('train', 'eval')
        """
        for entry in self.metadata:
            if isinstance(entry, NameOf):
                return registry.kinds(entry.family)
            if isinstance(entry, Installed):
                return tuple(entry.names())
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    @property
    def code(self) -> bool:
        """Whether `module:attribute`, code of the user's own, may stand in place of one of the words."""
        return any(isinstance(entry, Installed) and entry.code for entry in self.metadata)

    def interval(self, name: str) -> str:
        """The bounds of a number as an inequality; empty where it has none.

        >>> shape_of(Annotated[float, Field(ge=0, lt=1)]).interval("momentum")
        '0 <= momentum < 1'
        """
        low, high = (self._bound(kinds) for kinds in _BOUNDS)
        if low and not high:
            return f"{name} {low[0].replace('<', '>')} {low[1]}"
        return (f"{low[1]} {low[0]} " if low else "") + (f"{name} {high[0]} {high[1]}" if high else "")

    def _bound(self, kinds: Sequence[tuple[Any, str, str]]) -> tuple[str, str] | None:
        for kind, attribute, sign in kinds:
            for entry in self.metadata:
                if isinstance(entry, kind):
                    return sign, number(getattr(entry, attribute))
        return None


@attrs.frozen
class Table:
    """A table of a recipe: its model, chosen by its `kind` where a slot is filled.

    Attributes:
        path: where it stands.
        model: the fields it takes.
        slot, kind: the family that it is a kind of, and which; None for a table without a choice.
    """

    path: KeyPath
    model: type[Part]
    slot: OneOf | None = None
    kind: str = ""

    @property
    def name(self) -> str:
        """What to call it.

        >>> follow(("data", "batch")).table.name, follow(("sampler", 0, "chain", "moves")).table.name
        ('`[data]`', 'sampler `chain`')
        """
        return f"{singular(self.slot.family)} `{self.kind}`" if self.slot else f"`{header(self.path)}`"

    @property
    def fields(self) -> dict[str, Shape]:
        """What it takes by key, apart from its `kind`."""
        return {name: field(self.model, name) for name in self.model.model_fields if name != "kind"}

    def kinds_with(self, key: str) -> list[str]:
        """The other kinds of its family that take this key."""
        if self.slot is None or key == "kind":
            return []
        others = registry.family(self.slot.family)
        return [kind for kind in others if kind != self.kind and key in others[kind].parameters.model_fields]


@attrs.frozen
class Place:
    """A place in a recipe: its path, what it takes (None: nothing is known there), and the table around it."""

    path: KeyPath
    shape: Shape | None
    table: Table | None


def shape_of(annotation: Any, metadata: Sequence[Any] = (), description: str = "") -> Shape:
    """The shape that an annotation gives."""
    found = tuple(metadata)
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            found += tuple(m for entry in more for m in (entry.metadata if isinstance(entry, FieldInfo) else [entry]))
        elif get_origin(annotation) in {Union, types.UnionType}:
            annotation = next(choice for choice in get_args(annotation) if choice is not types.NoneType)
        else:
            return Shape(annotation, found, description)


@cache
def field(model: type[Part], name: str) -> Shape:
    """The shape of a model's field."""
    info = model.model_fields[name]
    return shape_of(info.annotation, info.metadata, info.description or "")


def follow(location: Sequence[str | int]) -> Place:
    """The place of a validation's location, which names the kinds that it passes beside the keys.

    >>> follow(("optimizer", "sgd", "lr", "cosine", "start")).path
    ('optimizer', 'lr', 'start')
    """
    shape: Shape | None = None
    table: Table | None = None
    path: KeyPath = ()
    for key in location:
        slot = None if shape is None else shape.slot or shape.schedules
        if slot is not None and key in registry.kinds(slot.family):
            model = registry.primitive(slot.family, str(key)).parameters
            table = Table(path, model, slot, str(key))
            shape = Shape(model)
            continue
        if shape is not None and shape.model is not None and (table is None or table.path != path):
            table = Table(path, shape.model)
        if not path:
            shape = shape_of(TABLES[str(key)]) if key in TABLES else None
        elif shape is not None and shape.model is not None:
            shape = field(shape.model, str(key)) if key in shape.model.model_fields else None
        else:
            shape = None if shape is None else shape.element
        path = (*path, key)
    return Place(path, shape, table)


def header(path: KeyPath) -> str:
    """A table as its header is written.

    >>> header(("sampler", 0, "kernel")), header(("sampler", 0))
    ('[sampler.kernel]', '[[sampler]]')
    """
    dotted = ".".join(key for key in path if isinstance(key, str))
    return f"[[{dotted}]]" if path and isinstance(path[-1], int) else f"[{dotted}]"


@cache
def homes(key: str) -> tuple[str, ...]:
    """The headers of the tables that take this key, whatever their kind, in the order they are usually written.

    >>> homes("moves"), homes("step_size")
    (('[[sampler]]',), ('[sampler.kernel]', '[evaluate]'))
    """
    found = (header(path) for name, shape in TABLES.items() for path in _takers((name,), shape_of(shape), key))
    return tuple(dict.fromkeys(found))


def _takers(path: KeyPath, shape: Shape, key: str) -> Iterator[KeyPath]:
    if shape.element is not None:
        yield from _takers((*path, 0), shape.element, key)
        return
    for model in [] if shape.schedules else shape.models:  # a schedule's home is the learning rate's table
        if key != "kind" and key in model.model_fields:
            yield path
        for name in model.model_fields:
            yield from _takers((*path, name), field(model, name), key)


def singular(family: str) -> str:
    """What one of a family is called.

    >>> singular("kernels"), singular("averaging")
    ('kernel', 'averaging')
    """
    return family.removesuffix("s")


def number(value: float) -> str:
    """A bound as a person would write it.

    >>> number(0.5), number(1.0), number(1_000_000), number(2**63)
    ('0.5', '1', '1000000', '2**63')
    """
    if value == int(value):
        whole = int(value)
        return f"2**{whole.bit_length() - 1}" if whole > 2**40 and whole & (whole - 1) == 0 else str(whole)
    return f"{value:g}"
