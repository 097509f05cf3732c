"""Every primitive treats each example of a batch as if it were alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import DTYPES, arrays, modest, shapes
from torch import Tensor

from atentdsl.primitives import registry

POINTS = {"z", "old", "anchor", "g", "drift", "xi", "u", "carried", "proposal", "back"}
ONE_EACH = {"gain"}  # a number for each example
NUMBERS_ALONE = {"optimizers", "schedules", "weight_averages"}  # families whose functions take no batch
CLASSIFIED = {"logits", "y", "clean", "clean_again", "worst"}
NUMBERS = {"radius", "sd", "gamma", "step_size", "noise", "beta", "kappa"}


def functions() -> Iterator[Any]:
    """Every function of tensors with a batch, couplings' energies and probabilities of acceptance too."""
    for family in registry.families():
        for kind, primitive in registry.family(family).items():
            for function in (primitive.function, primitive.energy, primitive.inside, primitive.acceptance):
                # `layer` is of weights, whose one row is no batch.
                if function is not None and family not in NUMBERS_ALONE and kind != "layer":
                    yield pytest.param(function, id=f"{family}-{kind}-{function.__name__}")


@st.composite
def arguments(draw: Any, function: Callable[..., Tensor]) -> tuple[dict[str, Tensor], dict[str, float]]:
    names = set(inspect.signature(function).parameters)
    assert names <= POINTS | ONE_EACH | CLASSIFIED | NUMBERS, "teach this test the new argument"
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(shapes())
    if names & CLASSIFIED:
        least = {"margin": 2, "hinge": 2, "dlr": 3}.get(function.__name__, 1)
        shape = (shape[0], draw(st.integers(least, 7)))
    sizes = {n: shape[:1] if n in ONE_EACH else shape for n in sorted(names - NUMBERS - {"y"})}
    tensors = {n: torch.from_numpy(draw(arrays(dtype, size, -3, 3))) for n, size in sizes.items()}
    if "y" in names:
        tensors["y"] = torch.tensor(draw(st.lists(st.integers(0, shape[1] - 1), min_size=shape[0], max_size=shape[0])))
    numbers = {n: draw(st.sampled_from([0.0, 0.031, 0.5, 1.0])) for n in sorted(names & NUMBERS)}
    if "gain" in names:
        numbers["noise"] = numbers["noise"] or 0.25  # a Metropolis test has a temperature
    return tensors, numbers


every_function = pytest.mark.parametrize("function", list(functions()))


@every_function
@modest
@given(data=st.data())
def test_an_example_gives_alone_and_in_any_order_what_it_gives_in_a_batch_which_stays_as_it_was(
    function: Callable[..., Tensor], data: st.DataObject
) -> None:
    tensors, numbers = data.draw(arguments(function))
    before = {n: t.clone() for n, t in tensors.items()}
    together = function(**tensors, **numbers)
    assert all(torch.equal(tensors[n], before[n]) for n in tensors), "nothing that is handed in is written to"
    alone = [function(**{n: t[i : i + 1] for n, t in tensors.items()}, **numbers) for i in range(len(together))]
    # Loops over a tensor's tail may round differently from those over its body.
    floating = together.is_floating_point()
    tolerance = 4 * float(torch.finfo(together.dtype).eps) if floating else 0.0
    np.testing.assert_allclose(together, torch.cat(alone), rtol=tolerance, atol=tolerance)
    assert together.dtype == alone[0].dtype
    order = data.draw(st.permutations(range(len(together))))
    moved = function(**{n: t[list(order)] for n, t in tensors.items()}, **numbers)
    assert torch.equal(moved, together[list(order)])


@every_function
@modest
@given(data=st.data(), poison=st.sampled_from([torch.nan, torch.inf, 3e38, 0.0]))
def test_what_the_others_are_changes_no_bit_of_mine(
    function: Callable[..., Tensor], data: st.DataObject, poison: float
) -> None:
    tensors, numbers = data.draw(arguments(function))
    together = function(**tensors, **numbers)
    mine = data.draw(st.integers(0, len(together) - 1))
    others = torch.arange(len(together)) != mine
    changed = {n: t.clone() for n, t in tensors.items()}
    for name, tensor in changed.items():
        tensor[others] = 0 if name == "y" else poison
    assert torch.equal(function(**changed, **numbers)[mine], together[mine])
