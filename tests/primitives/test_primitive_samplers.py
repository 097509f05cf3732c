"""The chain's table, and the slots that other primitives fill."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import modest
from pydantic import ValidationError

from atentdsl.primitives import registry
from atentdsl.primitives.kernels import gradient
from atentdsl.primitives.optimizers import sgd
from atentdsl.primitives.samplers.chain import Parameters, conflicts

KERNEL = {"step_size": 0.01}


def chain(**table: Any) -> Any:
    return Parameters.model_validate(table)


def errors(table: Any, **values: Any) -> list[tuple[Any, str]]:
    with pytest.raises(ValidationError) as caught:
        table.model_validate(values)
    return [(error["loc"], error["type"]) for error in caught.value.errors()]


@modest
@given(st.integers(0, 10), st.booleans(), st.none() | st.integers(0, 12))
def test_it_objects_to_moves_without_a_kernel_and_to_a_burn_in_of_all_points(
    moves: int, kernel: bool, burn_in: int | None
) -> None:
    averaging = {"kind": "last"} if burn_in is None else {"kind": "mean", "burn_in": burn_in}
    table = chain(moves=moves, averaging=averaging, **({"kernel": KERNEL} if kernel else {}))
    found = conflicts(table.parameters())
    fields = [field for field, _, _ in found]
    assert ("moves" in fields) == (moves > 0 and not kernel)
    assert ("averaging.burn_in" in fields) == (burn_in is not None and burn_in > 0 and burn_in >= moves)
    assert all(says and mend for _, says, mend in found)
    if burn_in is not None and "averaging.burn_in" not in fields:
        coefficients = registry.primitive("averaging", "mean").coefficients
        assert coefficients is not None
        assert sum(coefficients(moves, burn_in=burn_in)) == 1


def test_what_a_bare_chain_means() -> None:
    bare = chain(moves=3, kernel=KERNEL)
    assert isinstance(bare.kernel, gradient.Parameters)
    assert (bare.kernel.kind, bare.kernel.drift, bare.kernel.covers) == ("gradient", "raw", "loss")
    assert (bare.start.kind, bare.averaging.kind, bare.projection) == ("zero", "last", [])
    assert (bare.target.loss, bare.target.beta, bare.target.direction) == ("cross_entropy", 1.0, None)
    assert (bare.target.reduction, bare.target.coupling.kind) == ("per_example", "none")
    assert (bare.mode, bare.space, bare.name) == ("eval", "data", "data")


def test_projections_keep_their_order_and_need_a_kind() -> None:
    wanted = [{"kind": "linf_ball", "radius": 0.1}, {"kind": "box"}, {"kind": "linf_ball", "radius": 0.2}]
    assert [p.kind for p in chain(moves=0, projection=wanted).projection] == ["linf_ball", "box", "linf_ball"]
    assert [p.radius for p in chain(moves=0, projection=wanted).projection if p.kind == "linf_ball"] == [0.1, 0.2]
    ((place, _),) = errors(Parameters, moves=0, projection=[{"radius": 0.1}])
    assert place == ("projection", 0)


def test_a_kind_chooses_the_table_that_the_rest_must_fit() -> None:
    table = chain(moves=1, kernel=KERNEL | {"kind": "langevin", "noise": 0.5})
    assert table.kernel.noise == 0.5
    assert errors(Parameters, moves=1, kernel=KERNEL | {"noise": 0.5}) == [
        (("kernel", "gradient", "noise"), "extra_forbidden")
    ]
    assert errors(Parameters, moves=1, kernel=KERNEL | {"kind": "hmc"}) == [(("kernel",), "union_tag_invalid")]
    assert errors(Parameters, moves=1, kernel=KERNEL | {"drift": "l7"}) == [
        (("kernel", "gradient", "drift"), "literal_error")
    ]


@modest
@given(st.floats(0, 10) | st.integers(0, 10))
def test_a_bare_number_is_a_constant_schedule(rate: float) -> None:
    bare = sgd.Parameters.model_validate({"epochs": 1, "lr": rate})
    written = sgd.Parameters.model_validate({"epochs": 1, "lr": {"kind": "constant", "value": rate}})
    assert bare == written
    assert bare.lr.parameters() == {"over": "epochs", "value": rate}


@pytest.mark.parametrize("rate", ["0.1", True, None, [0.1]])
def test_what_is_neither_number_nor_table_is_no_schedule(rate: Any) -> None:
    assert errors(sgd.Parameters, epochs=1, lr=rate) == [(("lr",), "table_type")]


def test_a_pull_per_move_stands_outside_a_drift_that_covers_the_energy() -> None:
    def found(covers: str, per: str) -> list[tuple[str, str, str]]:
        chain = registry.primitive("samplers", "chain")
        table = {
            "moves": 2,
            "kernel": {"step_size": 0.1, "covers": covers},
            "target": {"coupling": {"kind": "l2", "gamma": 0.1, "per": per}},
        }
        parameters = chain.parameters.model_validate(table)
        return chain.conflicts({name: getattr(parameters, name) for name in type(parameters).model_fields})

    assert [conflict[0] for conflict in found("energy", "move")] == ["target.coupling"]
    assert found("energy", "time") == found("loss", "move") == found("loss", "time") == []
