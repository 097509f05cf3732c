"""Targets and objectives: cross entropy against scipy's, gradients too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import DTYPES, arrays, modest
from scipy.special import logsumexp, softmax
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives.tensors import cross_entropy

FACTOR = {torch.float32: 2e-6, torch.float64: 1e-13}


@st.composite
def classified(draw: Any, bound: float) -> tuple[Tensor, Tensor]:
    """Logits up to the bound, and labels."""
    batch, classes = draw(st.integers(1, 5)), draw(st.integers(1, 11))
    logits = draw(arrays(draw(st.sampled_from(DTYPES)), (batch, classes), -bound, bound))
    y = draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch))
    return torch.from_numpy(logits), torch.tensor(y)


def by_scipy(logits: Tensor, y: Tensor) -> Any:
    wide = logits.numpy().astype(np.float64)
    # Shifted to the label's logit first: otherwise huge logits would cancel, in scipy's hands.
    return logsumexp(wide - wide[np.arange(len(wide)), y.numpy()][:, None], axis=1)


@pytest.mark.parametrize("family", ["objectives", "targets"])
def test_both_families_hold_the_same_function(family: str) -> None:
    assert registry.primitive(family, "cross_entropy").function is cross_entropy


@pytest.mark.parametrize("bound", [1.0, 50.0, 1e4, 1e30])
@modest
@given(data=st.data())
def test_it_is_scipys_one_number_for_each_example(bound: float, data: st.DataObject) -> None:
    logits, y = data.draw(classified(bound))
    loss = cross_entropy(logits, y)
    assert loss.shape == y.shape
    assert (loss >= 0).all()
    factor = FACTOR[logits.dtype]
    np.testing.assert_allclose(loss.double().numpy(), by_scipy(logits, y), rtol=factor, atol=factor)


@modest
@given(classified(1e4))
def test_its_gradient_is_softmax_less_the_label(drawn: tuple[Tensor, Tensor]) -> None:
    logits, y = drawn
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(logits, y).sum(), logits)
    wanted = softmax(logits.detach().numpy().astype(np.float64), axis=1)
    wanted[np.arange(len(wanted)), y.numpy()] -= 1
    np.testing.assert_allclose(gradient.double().numpy(), wanted, rtol=0, atol=FACTOR[logits.dtype])


def test_extreme_logits_give_the_distance_and_no_nan() -> None:
    logits = torch.tensor([[1e300, 0.0], [1e300, 0.0], [-1e300, 1e300], [0.0, 0.0]], dtype=torch.float64)
    loss = cross_entropy(logits, torch.tensor([0, 1, 0, 0]))
    np.testing.assert_allclose(loss.numpy(), [0, 1e300, 2e300, np.log(2)], rtol=1e-15)
