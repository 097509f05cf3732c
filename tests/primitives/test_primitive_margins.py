"""The margin, the hinge on it and the difference of logits ratio, against numpy, one example at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import DTYPES, arrays, edited, modest
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives.objectives.margin import hinge
from atentdsl.primitives.targets.dlr import dlr
from atentdsl.primitives.tensors import margin

FACTOR = {torch.float32: 4e-6, torch.float64: 1e-13}


@st.composite
def classified(draw: st.DrawFn, least: int) -> tuple[Tensor, Tensor]:
    batch, classes = draw(st.integers(1, 5)), draw(st.integers(least, 11))
    logits = draw(arrays(draw(st.sampled_from(DTYPES)), (batch, classes), -50, 50))
    y = draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch))
    return torch.from_numpy(logits), torch.tensor(y)


def by_hand(logits: np.ndarray, y: int) -> float:
    return float(max(v for j, v in enumerate(logits) if j != y) - logits[y])


@modest
@given(classified(2))
def test_the_margin_is_the_best_other_logit_less_the_label_s(drawn: tuple[Tensor, Tensor]) -> None:
    logits, y = drawn
    wanted = [by_hand(row, int(label)) for row, label in zip(logits.double().numpy(), y, strict=True)]
    np.testing.assert_allclose(margin(logits, y).double(), wanted, rtol=1e-6, atol=100 * FACTOR[logits.dtype])
    sure = np.abs(wanted) > 1e-4
    predicted = logits.argmax(dim=1) == y
    assert np.array_equal(predicted.numpy()[sure], (np.array(wanted) < 0)[sure])


@modest
@given(classified(3), st.floats(0.1, 100), st.floats(-50, 50))
def test_the_ratio_is_numpys_and_blind_to_scale_and_offset(
    drawn: tuple[Tensor, Tensor], scale: float, offset: float
) -> None:
    logits, y = drawn
    logits = logits.double()
    for row, label, found, moved in zip(
        logits.numpy(), y, dlr(logits, y), dlr(scale * logits + offset, y), strict=True
    ):
        first, _, third = sorted(row, reverse=True)[:3]
        if first - third > 1e-3:
            wanted = by_hand(row, int(label)) / (first - third)
            assert abs(float(found) - wanted) <= 1e-8 * (1 + abs(wanted))
            assert abs(float(moved) - wanted) <= 1e-8 * (1 + abs(wanted))


def test_gradients_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0]], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(margin(logits, torch.tensor([0])).sum(), logits)
    assert g.tolist() == [[-1.0, 0.0, 1.0, 0.0]]
    # (f_2 - f_0) / (f_0 - f_1): derivatives by f_0: -1/2 - (-1)/4, by f_1: (-1)/4, by f_2: 1/2
    (g,) = torch.autograd.grad(dlr(logits, torch.tensor([0])).sum(), logits)
    torch.testing.assert_close(g, torch.tensor([[-0.25, -0.25, 0.5, 0.0]], dtype=torch.float64))


def test_constant_logits_give_numbers_and_no_nan() -> None:
    logits, y = torch.zeros(3, 5, requires_grad=True), torch.tensor([0, 1, 4])
    for loss in (margin, dlr):
        found = loss(logits, y)
        (g,) = torch.autograd.grad(found.sum(), logits)
        assert torch.equal(found, torch.zeros(3))
        assert g.isfinite().all()


def test_two_classes_have_no_third() -> None:
    assert margin(torch.tensor([[1.0, 3.0]]), torch.tensor([0])).tolist() == [2.0]
    with pytest.raises(RuntimeError, match="out of range"):
        dlr(torch.zeros(1, 2), torch.tensor([0]))


@modest
@given(classified(2), st.sampled_from([1e-3, 0.5, 1.0, 20.0]))
def test_the_hinge_is_what_the_lead_falls_short_of_kappa(drawn: tuple[Tensor, Tensor], kappa: float) -> None:
    logits, y = drawn
    wanted = [max(0.0, kappa + by_hand(row, int(label))) for row, label in zip(logits.double().numpy(), y, strict=True)]
    found = hinge(logits, y, kappa)
    assert found.shape == y.shape
    assert found.dtype == logits.dtype
    np.testing.assert_allclose(found.double(), wanted, rtol=1e-6, atol=100 * FACTOR[logits.dtype])


def is_hinge(function: Callable[..., Tensor]) -> bool:
    """Label 0 leads by 1, by 3 and not at all; kappa 2: the losses are 1, 0 and 2.5, and the gradients with them."""
    logits = torch.tensor([[3.0, 1.0, 2.0], [5.0, 1.0, 2.0], [0.5, 1.0, 0.0]], requires_grad=True)
    found = function(logits, torch.tensor([0, 0, 0]), 2.0)
    (g,) = torch.autograd.grad(found.sum(), logits)
    wanted = [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [-1.0, 1.0, 0.0]]
    return bool(found.tolist() == [1.0, 0.0, 2.5] and g.tolist() == wanted)


@pytest.mark.parametrize(
    ("old", "new"), [("+ kappa", "- kappa"), ("+ kappa", ""), (".clamp(min=0)", ""), ("clamp(min=0)", "clamp(max=0)")]
)
def test_a_mutant_of_the_hinge_is_caught(old: str, new: str) -> None:
    assert is_hinge(hinge)
    assert not is_hinge(edited(hinge, old, new))


def test_the_hinge_of_one_class_alone_is_nothing_and_kappa_has_a_default() -> None:
    logits = torch.tensor([[3.0]], requires_grad=True)
    found = hinge(logits, torch.tensor([0]), 1.0)
    (g,) = torch.autograd.grad(found.sum(), logits)
    assert found.tolist() == [0.0]
    assert g.isfinite().all()
    parameters = registry.primitive("objectives", "margin").parameters
    assert parameters().parameters() == {"kappa": 1.0, "clean": 0.0}
