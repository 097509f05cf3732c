"""Typed slots of a table that a primitive fills: by a table with a `kind`, or by its bare name."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import attrs
from pydantic import Field, GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from atentdsl.primitives import registry
from atentdsl.primitives.primitive import Kinded


@attrs.frozen
class OneOf:
    """The slot takes a table; its `kind` names the primitive, whose `Parameters` validate the rest.

    Attributes:
        family: the folder the kinds come from.
        default: the kind where the table names none; None requires one.
        number: a bare number stands for `{ kind = default, <number> = … }`.
    """

    family: str
    default: str | None = None
    number: str | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A tagged union over the family, derived from its folder."""
        choices = {kind: self._choice(kind, handler) for kind in registry.kinds(self.family)}
        union = core_schema.tagged_union_schema(choices, discriminator=self._kind)
        return core_schema.no_info_before_validator_function(self._widen, union)

    def _choice(self, kind: str, handler: GetCoreSchemaHandler) -> CoreSchema:
        def named(value: Any) -> Any:
            return {"kind": kind, **value} if isinstance(value, dict) else value

        schema = handler.generate_schema(registry.primitive(self.family, kind).parameters)
        return core_schema.no_info_before_validator_function(named, schema)

    def _kind(self, value: Any) -> Any:
        return value.get("kind", self.default) if isinstance(value, dict) else getattr(value, "kind", None)

    def _widen(self, value: Any) -> Any:
        if self.number and isinstance(value, int | float) and not isinstance(value, bool):
            return {"kind": self.default, self.number: value}
        if not isinstance(value, dict) and not hasattr(value, "kind"):
            wanted = "a number or a table" if self.number else "a table"
            raise PydanticCustomError("table_type", "Input should be {wanted}", {"wanted": wanted})
        return value


@attrs.frozen
class NameOf:
    """The slot takes the bare name of a primitive that has no parameters."""

    family: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A literal over the family's kinds."""
        return core_schema.literal_schema(list(registry.kinds(self.family)))


@attrs.frozen
class Schedulable:
    """The number may be a schedule instead: a table whose `kind` names how it changes over moves, epochs or steps."""

    slot: OneOf = OneOf("schedules")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A number within its bounds, or a table of the schedules' family."""
        table = _tables(self.slot)

        def choose(value: Any, number: Any) -> Any:
            if not isinstance(value, dict | Kinded):
                return number(value)
            changing = table.validate_python(value)
            for name in ("value", "start", "peak", "end"):
                values = getattr(changing, name, 0)
                for reached in values if isinstance(values, list) else [values]:
                    if reached:  # a schedule may end at zero, whatever a number may be
                        number(reached)
            return changing

        plain = core_schema.plain_serializer_function_ser_schema(
            lambda value: value.model_dump() if isinstance(value, Kinded) else value
        )
        return core_schema.no_info_wrap_validator_function(choose, handler(source), serialization=plain)


@cache
def _tables(slot: OneOf) -> TypeAdapter[Any]:
    """What validates a table of the slot: the same for every number that may be a schedule."""
    return TypeAdapter(Annotated[Kinded, slot])


PositiveOrSchedule = Annotated[float, Field(gt=0), Schedulable()]
NonNegativeOrSchedule = Annotated[float, Field(ge=0), Schedulable()]
UnitOrSchedule = Annotated[float, Field(ge=0, le=1), Schedulable()]
ShareOrSchedule = Annotated[float, Field(ge=0, lt=1), Schedulable()]
