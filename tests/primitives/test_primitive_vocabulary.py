"""What every primitive's file must hold, whatever its family: the same checks for one that is added."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from primitives.primitive_draws import batches, modest
from pydantic import BaseModel, ValidationError
from torch import Tensor

from atentdsl.codegen.sources import SHARED, Sources
from atentdsl.plan.calls import TENSORS
from atentdsl.primitives import registry
from atentdsl.primitives.average import Average
from atentdsl.primitives.density import Target
from atentdsl.primitives.kernel import Momentum
from atentdsl.primitives.objective import Objective
from atentdsl.primitives.primitive import Primitive
from atentdsl.primitives.references import REFERENCES
from atentdsl.primitives.slots import OneOf

WORDS = [(family, kind) for family in registry.families() for kind in registry.kinds(family)]
TABLES = {f"{family}-{kind}": registry.primitive(family, kind).parameters for family, kind in WORDS} | {
    "target": Target,
    "momentum": Momentum,
}
every_word = pytest.mark.parametrize(("family", "kind"), WORDS)
every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def arguments(primitive: Primitive) -> set[str]:
    return set(inspect.signature(primitive.function).parameters) if primitive.function else set()


def functions(primitive: Primitive) -> list[Any]:
    """Everything of it that is taken into modules."""
    found = (primitive.function, primitive.energy, primitive.inside, primitive.acceptance)
    return [function for function in found if function is not None]


def test_the_families_are_there() -> None:
    assert len(WORDS) >= 20
    assert {"kernels", "projections", "averaging", "optimizers", "samplers"} <= set(registry.families())


def test_a_kind_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(KeyError, match="no 'l7' in drifts: l1, l2, layer, raw, sign"):
        registry.primitive("drifts", "l7")


@every_word
def test_its_file_says_what_it_is_and_where_it_comes_from(family: str, kind: str) -> None:
    module = importlib.import_module(f"atentdsl.primitives.{family}.{kind}")
    primitive = registry.primitive(family, kind)
    assert module.__doc__
    assert module.__doc__.splitlines()[0].endswith((".", ","))
    assert ("\n>>> " in module.__doc__) == (primitive.function is not None or primitive.coefficients is not None)
    assert set(primitive.cites) <= set(REFERENCES)
    assert primitive.parameters.__module__ == module.__name__
    assert primitive.parameters.__doc__


def test_every_reference_is_cited() -> None:
    assert {key for family, kind in WORDS for key in registry.primitive(family, kind).cites} == set(REFERENCES)


@every_word
def test_its_functions_arguments_can_be_bound(family: str, kind: str) -> None:
    primitive = registry.primitive(family, kind)
    fields = set(primitive.parameters.model_fields) - {"kind"}
    assert arguments(primitive) <= TENSORS | fields
    # What is not the function's is read by lowering itself.
    lowered = {"when", "projected", "drift", "covers", "momentum", "epochs", "over", "lr", "restore", "per"}
    lowered |= {"on_divergence", "clean", "clip", "weight_averaging", "from_epoch"}
    lowered |= {"radius"} if primitive.bounded else set()
    if primitive.function is not None:
        assert fields - arguments(primitive) <= lowered
    if primitive.coefficients is not None:
        assert set(inspect.signature(primitive.coefficients).parameters) == {"moves"} | fields - set(
            Average.model_fields
        )
    if primitive.energy is not None:
        assert set(inspect.signature(primitive.energy).parameters) == arguments(primitive)
    if primitive.inside is not None:
        assert set(inspect.signature(primitive.inside).parameters) == arguments(primitive)
    if primitive.acceptance is not None:
        assert set(inspect.signature(primitive.acceptance).parameters) <= TENSORS - {"xi", "u"} | fields


def test_every_objective_takes_a_share_of_clean_cross_entropy():
    assert all(issubclass(found.parameters, Objective) for found in registry.family("objectives").values())


@every_word
def test_it_draws_what_its_function_asks_for(family: str, kind: str) -> None:
    primitive = registry.primitive(family, kind)
    names = {"normal": "xi", "uniform": "u"}
    assert {names[law] for law in primitive.draws} == arguments(primitive) & {"xi", "u"}


@every_word
def test_its_function_can_be_taken_into_a_module(family: str, kind: str) -> None:
    for function in functions(registry.primitive(family, kind)):
        assert function.__module__ in {f"atentdsl.primitives.{family}.{kind}", SHARED}
        taken = Sources([function])
        assert list(taken.functions)[-1] == function.__name__
        assert not function.__closure__


def test_no_two_functions_of_the_vocabulary_share_a_name() -> None:
    found = {function for family, kind in WORDS for function in functions(registry.primitive(family, kind))}
    assert {function.__name__ for function in found} <= set(Sources(found).functions)  # refuses a shared name
    assert len({function.__name__ for function in found}) == len(found)


def test_nothing_of_the_vocabulary_loads_torch() -> None:
    program = """
import sys
from atentdsl.primitives import registry
for family in registry.families():
    for kind, primitive in registry.family(family).items():
        assert primitive.parameters.model_fields is not None
from atentdsl.primitives.optimizers.sgd import Parameters
Parameters.model_validate({"epochs": 1, "lr": 0.1})
assert "torch._C" not in sys.modules, "torch was loaded"
from atentdsl.primitives.projections.box import box
import torch
box(torch.zeros(1, 1))
assert "torch._C" in sys.modules, "the check sees nothing"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Tables: strict types, no unknown keys, no numbers that are not finite.


def refusals(table: type[BaseModel], field: str, value: Any) -> list[str]:
    """The types of errors that a value of one field meets, whatever else is missing."""
    try:
        table.model_validate({field: value})
    except ValidationError as error:
        return [e["type"] for e in error.errors() if e["loc"][:1] == (field,)]
    return []


def innermost(annotation: Any) -> set[Any]:
    """The plain types in an annotation: float, int, bool, str, …"""
    below = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return set()
    return {t for part in below for t in innermost(part)} if below else {annotation}


def numeric(table: type[BaseModel]) -> Iterator[tuple[str, bool]]:
    """The fields that take numbers, and whether they take a list of them."""
    for name, field in table.model_fields.items():
        schedule = any(isinstance(m, OneOf) and m.number for m in field.metadata)
        if schedule or innermost(field.annotation) & {int, float}:
            yield name, "list" in str(field.annotation)


NUMERIC = [pytest.param(t, n, many, id=f"{i}-{n}") for i, t in TABLES.items() for n, many in numeric(t)]
every_number = pytest.mark.parametrize(("table", "field", "many"), NUMERIC)


def test_the_fields_that_take_numbers_are_found() -> None:
    found = {param.id for param in NUMERIC}
    assert {"kernels-langevin-noise", "optimizers-sgd-lr", "optimizers-adamw-betas", "samplers-chain-moves"} <= found
    assert {"target-beta", "schedules-cosine-length", "averaging-mean-burn_in"} <= found
    assert "optimizers-sgd-nesterov" not in found


@every_table
def test_an_unknown_key_is_refused(table: type[BaseModel]) -> None:
    assert refusals(table, "noize", 0.1) == ["extra_forbidden"]


@every_number
def test_some_number_is_taken(table: type[BaseModel], field: str, many: bool) -> None:
    candidates = [[1, 2], [0.5, 0.5]] if many else [1, 0.5]
    assert [] in [refusals(table, field, value) for value in candidates]


@every_number
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), True, False, "0.5", None, -1, 1j])
def test_what_is_no_finite_number_or_is_negative_is_refused(
    table: type[BaseModel], field: str, many: bool, value: Any
) -> None:
    if value is None and type(None) in innermost(table.model_fields[field].annotation):
        return  # left out on purpose
    for spoilt in ([value, value], [value, 0.5], [1, value]) if many else (value,):
        assert refusals(table, field, spoilt), spoilt


@every_table
def test_a_field_that_is_yes_or_no_takes_no_number(table: type[BaseModel]) -> None:
    for name, field in table.model_fields.items():
        if bool in innermost(field.annotation):
            assert refusals(table, name, True) == []
            assert all(refusals(table, name, value) for value in (0, 1, 1.0, "true"))


@every_table
def test_every_field_is_described(table: type[BaseModel]) -> None:
    assert all(field.description for name, field in table.model_fields.items() if name != "kind")


# A scale of literally 0: the primitive is a simpler one.

WITHOUT_ZERO = {("kernels", "mala")}  # a Metropolis test divides by the temperature: its noise is above 0
DRAWING = [word for word in WORDS if registry.primitive(*word).draws and word not in WITHOUT_ZERO]
SCALES = {"noise", "radius", "sd"}


def table_with(primitive: Primitive, scale: float) -> dict[str, Any]:
    """A valid table's parameters, its scale as asked for."""
    fields = primitive.parameters.model_fields
    required = {name: 0.25 for name, field in fields.items() if field.is_required()}
    (name,) = SCALES & set(fields)
    return primitive.parameters.model_validate(required | {name: scale}).parameters()


def call(primitive: Primitive, tensors: dict[str, Tensor], parameters: dict[str, Any]) -> Tensor:
    if primitive.function is None:
        return tensors["anchor"]
    return primitive.function(**{n: tensors[n] if n in tensors else parameters[n] for n in arguments(primitive)})


@pytest.mark.parametrize(("family", "kind"), DRAWING)
@modest
@given(drawn=batches(5))
def test_without_its_scale_it_is_one_that_draws_nothing(family: str, kind: str, drawn: list[Tensor]) -> None:
    primitive = registry.primitive(family, kind)
    parameters = table_with(primitive, 0.0)
    simpler = primitive.reduces(parameters)
    assert simpler is not None
    name, rest = simpler
    other = registry.primitive(family, name)
    assert other.draws == ()
    assert other.parameters.model_validate(rest).parameters() == rest
    tensors = dict(zip(("z", "anchor", "drift", "xi", "u"), drawn, strict=True))
    assert torch.equal(call(primitive, tensors, parameters), call(other, tensors, rest))


@pytest.mark.parametrize(("family", "kind"), DRAWING)
@pytest.mark.parametrize("scale", [5e-324, 1e-30, 1.0])
def test_with_any_scale_it_is_itself(family: str, kind: str, scale: float) -> None:
    primitive = registry.primitive(family, kind)
    assert primitive.reduces(table_with(primitive, scale)) is None


def test_what_draws_is_what_has_a_scale() -> None:
    assert set(DRAWING) == {
        ("kernels", "langevin"),
        ("starts", "corner"),
        ("starts", "gaussian"),
        ("starts", "gaussian_ball"),
        ("starts", "radial"),
        ("starts", "uniform"),
    }
    for family, kind in WITHOUT_ZERO:
        assert refusals(registry.primitive(family, kind).parameters, "noise", 0.0) == ["greater_than"]
    for family, kind in set(WORDS) - set(DRAWING):
        assert registry.primitive(family, kind).reduces(dict.fromkeys(SCALES, 0.0)) is None
