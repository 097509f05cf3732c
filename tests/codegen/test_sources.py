"""Taking functions along as source: what is taken computes the same, and what cannot be taken is refused."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from atentdsl.codegen.sources import NotSelfContained, Sources
from atentdsl.primitives import registry
from atentdsl.primitives.drifts.l2 import unit_l2
from atentdsl.primitives.kernels.langevin import langevin_step
from atentdsl.primitives.projections.increment_clip import increment_clip
from atentdsl.primitives.projections.linf_ball import linf_ball
from atentdsl.primitives.tensors import between, clip_around, cross_entropy

FACTOR = 2.0


def doubled(z: float) -> float:
    return z + z


def quadrupled(z: float) -> float:
    return doubled(doubled(z))


def down(n: int) -> int:
    return n and down(n - 1)


def scaled(z: float) -> float:
    return FACTOR * z


def through_the_file(z: float) -> float:
    return scaled(z)


def reaches_for_another_file(z: Tensor) -> Tensor:
    return linf_ball(z, z, 0.0)


def reaches_for_another_library(z: list[float]) -> float:
    return functools.reduce(max, z)


def reaches_for_nothing_that_exists(z: float) -> float:
    return nowhere(z)  # noqa: F821


def is_typed_by_what_is_not_imported(z: Sources) -> float:
    return 0.0


def binds_its_own_names(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    squares = [v * v for v in values]
    return math.sqrt(sum(squares)) + max(total, len(values))


@functools.cache
def decorated(z: float) -> float:
    return z


@functools.wraps(doubled)
def wrapped(z: float) -> float:
    return doubled(z) + 1


def enclosing(factor: float) -> Callable[[float], float]:
    def closed(z: float) -> float:
        return factor * z

    return closed


by_lambda = lambda z: z  # noqa: E731
# The line that a lambda stands on need not be a statement by itself.
(inner_lambda,) = (
    lambda z: z,)  # fmt: skip


def run(sources: Sources) -> dict[str, Any]:
    """The taken text as a module of its own."""
    imports = "\n".join(["from __future__ import annotations", *sorted(sources.imports)])
    space: dict[str, Any] = {}
    exec("\n\n".join([imports, *sources.functions.values()]), space)
    return space


def refusal(function: Any) -> str:
    with pytest.raises(NotSelfContained) as caught:
        Sources([function])
    return str(caught.value)


def points(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(3, 2, 5, generator=generator) for _ in range(count)]


def test_what_is_taken_computes_the_same() -> None:
    space = run(Sources([langevin_step, linf_ball, unit_l2, cross_entropy]))
    z, drift, xi = points(3)
    assert torch.equal(space["langevin_step"](z, drift, xi, 0.1, 0.2), langevin_step(z, drift, xi, 0.1, 0.2))
    assert torch.equal(space["linf_ball"](z, drift, 0.1), linf_ball(z, drift, 0.1))
    assert torch.equal(space["unit_l2"](z), unit_l2(z))
    y = torch.tensor([0, 3, 1])
    assert torch.equal(space["cross_entropy"](z[:, 0], y), cross_entropy(z[:, 0], y))


def test_the_whole_vocabulary_runs_as_one_module_of_its_own() -> None:
    found = [p.function for f in registry.families() for p in registry.family(f).values() if p.function is not None]
    space = run(Sources(found))
    assert {function.__name__ for function in found} <= set(space)
    assert all(space[f.__name__] is not f and space[f.__name__].__doc__ == f.__doc__ for f in found)


def test_callees_come_first_and_once() -> None:
    assert list(Sources([linf_ball, increment_clip]).functions) == ["clip_around", "linf_ball", "increment_clip"]
    assert list(Sources([clip_around, linf_ball, linf_ball]).functions) == ["clip_around", "linf_ball"]
    assert list(Sources([quadrupled]).functions) == ["doubled", "quadrupled"]
    assert list(Sources([down]).functions) == ["down"]
    assert run(Sources([quadrupled]))["quadrupled"](3) == 12


def test_the_imports_are_those_that_are_needed() -> None:
    assert Sources([]).imports == set()
    assert Sources([doubled]).imports == set()
    assert Sources([between]).imports == {"from torch import Tensor"}
    assert Sources([langevin_step]).imports == {"from torch import Tensor", "import math", "import torch"}
    assert Sources([unit_l2]).imports == {"from torch import Tensor", "import torch"}
    optimizer = registry.primitive("optimizers", "sgd").function
    assert optimizer is not None
    assert "from torch.optim import Optimizer" in Sources([optimizer]).imports


def test_builtins_and_the_functions_own_names_are_no_globals() -> None:
    assert run(Sources([binds_its_own_names]))["binds_its_own_names"]([3.0, 4.0]) == 12.0


@pytest.mark.parametrize("function", [by_lambda, inner_lambda, decorated, wrapped, enclosing(2.0)])
def test_what_is_no_plain_function_is_refused(function: Any) -> None:
    message = refusal(function)
    assert f"`{function.__name__}` is no plain function" in message
    assert "write it with `def`, without decorator or closure" in message


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (scaled, "FACTOR"),
        (reaches_for_another_file, "linf_ball"),
        (reaches_for_another_library, "functools"),
        (reaches_for_nothing_that_exists, "nowhere"),
        (is_typed_by_what_is_not_imported, "Sources"),
    ],
)
def test_a_foreign_global_is_refused_with_the_mend(function: Any, word: str) -> None:
    message = refusal(function)
    assert f"`{function.__name__}` in {function.__module__} reaches for `{word}`" in message
    assert "call only torch, math, and functions of its own file or of atentdsl.primitives.tensors" in message


def test_what_a_callee_reaches_for_is_refused_too() -> None:
    assert "`scaled`" in refusal(through_the_file)


def test_two_functions_of_one_name_are_refused() -> None:
    def clip_around(z: float) -> float:
        return z

    with pytest.raises(NotSelfContained, match=r"two functions are called `clip_around`.*rename one"):
        Sources([linf_ball, clip_around])
