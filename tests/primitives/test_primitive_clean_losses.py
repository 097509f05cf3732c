"""Losses that read the clean logits: against scipy in float64, by hand on three classes, and at saturated logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from primitives.primitive_draws import DTYPES, arrays, edited, modest
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor

from atentdsl.primitives import registry
from atentdsl.primitives import tensors as shared
from atentdsl.primitives.objectives.mart import mart
from atentdsl.primitives.objectives.trades import trades
from atentdsl.primitives.targets.kl_to_clean import kl_to_clean
from atentdsl.primitives.tensors import boosted_cross_entropy, kl_divergence, likeliest_wrong

FACTOR = {torch.float32: 3e-5, torch.float64: 1e-12}
Function = Callable[..., Tensor]


@st.composite
def compared(draw: Any, bound: float = 20.0) -> tuple[Tensor, Tensor, Tensor, float]:
    """Logits at the point and at the clean input, labels, and beta."""
    batch, classes = draw(st.integers(1, 4)), draw(st.integers(1, 11))
    dtype = draw(st.sampled_from(DTYPES))
    one, other = (torch.from_numpy(draw(arrays(dtype, (batch, classes), -bound, bound))) for _ in range(2))
    y = draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch))
    return one, other, torch.tensor(y), draw(st.sampled_from([0.1, 1.0, 6.0]))


def wide(tensor: Tensor) -> Any:
    return tensor.detach().numpy().astype(np.float64)


def divergence(clean: Tensor, logits: Tensor) -> Any:
    return rel_entr(softmax(wide(clean), axis=1), softmax(wide(logits), axis=1)).sum(axis=1)


def entropy_of_label(logits: Tensor, y: Tensor) -> Any:
    return -log_softmax(wide(logits), axis=1)[np.arange(len(y)), y.numpy()]


def mart_by_numpy(logits: Tensor, y: Tensor, clean: Tensor, beta: float) -> Any:
    """Example by example, the wrong classes sorted."""
    found = []
    for z, x, label in zip(wide(logits), wide(clean), y.tolist(), strict=True):
        p, q = softmax(z), softmax(x)
        wrong = sorted((p[j] for j in range(len(p)) if j != label), reverse=True)
        boosted = -np.log(p[label]) - np.log(1.0001 - (wrong[0] if wrong else 0.0) + 1e-12)
        found.append(boosted + beta * sum(rel_entr(q, p)) * (1.0000001 - q[label]))
    return np.array(found)


def close(found: Tensor, wanted: Any, scale: float = 1.0) -> bool:
    factor = FACTOR[found.dtype] * scale
    return np.allclose(wide(found), wanted, rtol=factor, atol=factor)


@modest
@given(compared())
def test_the_target_is_scipys_divergence_from_the_clean_prediction(drawn: Any) -> None:
    logits, clean, _, _ = drawn
    loss = kl_to_clean(logits, clean)
    assert loss.shape == (len(logits),)
    assert loss.dtype == logits.dtype
    assert close(loss, divergence(clean, logits))


@modest
@given(compared(1e4))
def test_the_target_s_gradient_is_softmax_less_the_clean_one_and_none_reaches_the_clean_logits(drawn: Any) -> None:
    logits, clean = (tensor.requires_grad_() for tensor in drawn[:2])
    gradient, none = torch.autograd.grad(kl_to_clean(logits, clean).sum(), [logits, clean], allow_unused=True)
    assert none is None
    assert close(gradient, softmax(wide(logits), axis=1) - softmax(wide(clean), axis=1))


@modest
@given(compared(1e4))
def test_at_the_clean_input_itself_the_target_is_zero_and_so_is_its_gradient(drawn: Any) -> None:
    clean = drawn[1]
    logits = clean.clone().requires_grad_()
    loss = kl_to_clean(logits, clean)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (loss == 0).all()
    assert close(gradient, 0.0)


@modest
@given(compared())
def test_trades_is_cross_entropy_at_the_clean_input_and_beta_divergences(drawn: Any) -> None:
    logits, clean, y, beta = drawn
    wanted = entropy_of_label(clean, y) + beta * divergence(clean, logits)
    assert close(trades(logits, y, clean, clean, beta), wanted, scale=beta + 1)


@modest
@given(compared())
def test_trades_is_differentiated_in_each_of_its_readings(drawn: Any) -> None:
    """In the clean logits: softmax less the label, and p (log p/q - KL) with p the clean prediction, q the other."""
    logits, clean, y, beta = drawn
    inputs = [tensor.clone().requires_grad_() for tensor in (logits, clean, clean)]
    at_z, for_labels, for_divergence = torch.autograd.grad(trades(inputs[0], y, *inputs[1:], beta).sum(), inputs)
    p, q = softmax(wide(clean), axis=1), softmax(wide(logits), axis=1)
    log_ratio = log_softmax(wide(clean), axis=1) - log_softmax(wide(logits), axis=1)
    label = np.eye(p.shape[1])[y.numpy()]
    assert close(at_z, beta * (q - p), scale=beta + 1)
    assert close(for_labels, p - label)
    assert close(for_divergence, beta * p * (log_ratio - divergence(clean, logits)[:, None]), scale=beta + 1)


@modest
@given(compared())
def test_mart_is_numpys_one_example_after_another(drawn: Any) -> None:
    logits, clean, y, beta = drawn
    # Where a wrong class is nearly certain, 1.0001 - p holds four digits less.
    assert close(mart(logits, y, clean, beta), mart_by_numpy(logits, y, clean, beta), scale=100 * (beta + 1))


LOG = np.log


def by_hand() -> tuple[Tensor, Tensor, Tensor, list[float]]:
    """Three classes, whose probabilities at z and at x are written out; labels 0, 1 and 2; and MART at beta 5."""
    at_z = [[0.5, 0.3, 0.2], [0.6, 0.1, 0.3], [0.25, 0.25, 0.5]]
    at_x = [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.25, 0.25, 0.5]]
    wanted = [
        -LOG(0.5) - LOG(1.0001 - 0.3 + 1e-12)
        + 5 * (0.8 * LOG(0.8 / 0.5) + 0.1 * LOG(0.1 / 0.3) + 0.1 * LOG(0.1 / 0.2)) * (1.0000001 - 0.8),
        -LOG(0.1) - LOG(1.0001 - 0.6 + 1e-12)
        + 5 * (0.2 * LOG(0.2 / 0.6) + 0.5 * LOG(0.5 / 0.1) + 0.3 * LOG(0.3 / 0.3)) * (1.0000001 - 0.5),
        -LOG(0.5) - LOG(1.0001 - 0.25 + 1e-12),
    ]  # fmt: skip
    logits, clean = (torch.tensor(p, dtype=torch.float64).log() for p in (at_z, at_x))
    return logits + 2.0, clean - 1.0, torch.tensor([0, 1, 2]), wanted


def is_mart(function: Function) -> bool:
    logits, clean, y, wanted = by_hand()
    found = function(logits, y, clean, 5.0)
    certain = torch.tensor([[0.0, 100.0, 0.0]], dtype=torch.float64)
    label = torch.tensor([0])
    nothing_left = function(certain, label, certain, 5.0)  # 1.0001 - 1 + 1e-12, of which 1e-12 is the eighth digit
    return np.allclose(found, wanted, rtol=1e-13, atol=0) and np.allclose(
        nothing_left, 100 - LOG(1.0001 - 1 + 1e-12), rtol=1e-15, atol=0
    )


def test_mart_by_hand_on_three_classes() -> None:
    assert is_mart(mart)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.0000001 - confident", "1.0 - confident"),
        ("1.0000001 - confident", "confident"),
        ("* (1.0000001 - confident)", ""),
        ("softmax(clean, dim=1)", "softmax(logits, dim=1)"),
        ("kl_divergence(clean, logits)", "kl_divergence(logits, clean)"),
        ("boosted_cross_entropy(logits, y)", "boosted_cross_entropy(clean, y)"),
        ("beta * divergence", "divergence"),
    ],
)
def test_a_mutant_of_mart_is_not(old: str, new: str) -> None:
    assert not is_mart(edited(mart, old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("probabilities.scatter(1, y[:, None], 0.0)", "probabilities"),
        (".max(", ".min("),
        ("scatter(1, y[:, None], 0.0)", "scatter(1, 1 - y.clamp(max=1)[:, None], 0.0)"),
        ("softmax", "log_softmax"),
    ],
)
def test_a_mutant_of_the_runner_up_is_caught(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "likeliest_wrong", edited(likeliest_wrong, old, new))
    assert not is_mart(mart)
    assert not is_boosted(boosted_cross_entropy)


def is_boosted(function: Function) -> bool:
    """Four examples by hand, one with nothing but the small numbers left; and the gradient in the logits."""
    p = [[0.5, 0.3, 0.2], [0.6, 0.1, 0.3], [0.25, 0.25, 0.5]]
    logits = (torch.tensor(p, dtype=torch.float64).log() + 2.0).requires_grad_()
    found = function(logits, torch.tensor([0, 1, 2]))
    wanted = [-LOG(0.5) - LOG(0.7001 + 1e-12), -LOG(0.1) - LOG(0.4001 + 1e-12), -LOG(0.5) - LOG(0.7501 + 1e-12)]
    (gradient,) = torch.autograd.grad(found[0], logits)
    # p - label, and p_j / (1.0001 - p_j) times (label of j - p), j = 1
    slope = np.array([0.5 - 1, 0.3, 0.2]) + 0.3 / (0.7001 + 1e-12) * np.array([-0.5, 1 - 0.3, -0.2])
    certain = function(torch.tensor([[0.0, 100.0, 0.0]], dtype=torch.float64), torch.tensor([0]))
    return (
        np.allclose(wide(found), wanted, rtol=1e-13, atol=0)
        and np.allclose(gradient[0], slope, rtol=1e-12, atol=0)
        and np.allclose(certain, 100 - LOG(1.0001 - 1 + 1e-12), rtol=1e-15, atol=0)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cross_entropy(logits, y)", "0.0"),
        ("- torch.log(", "+ torch.log("),
        ("1.0001 - ", "1.0 - "),
        (" + 1e-12", ""),
        ("likeliest_wrong(logits, y)", "likeliest_wrong(logits, 0 * y)"),
    ],
)
def test_a_mutant_of_boosted_cross_entropy_is_caught(old: str, new: str) -> None:
    function = registry.primitive("targets", "boosted_cross_entropy").function
    assert function is not None
    assert is_boosted(function)
    assert not is_boosted(edited(boosted_cross_entropy, old, new))


@modest
@given(compared())
def test_boosted_cross_entropy_is_numpys_and_mart_s_without_its_divergence(drawn: Any) -> None:
    logits, clean, y, _ = drawn
    found = boosted_cross_entropy(logits, y)
    assert found.shape == y.shape
    assert found.dtype == logits.dtype
    assert close(found, mart_by_numpy(logits, y, clean, 0.0), scale=100)


def test_the_runner_up_is_the_likeliest_class_but_the_label() -> None:
    logits = torch.tensor([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3], [0.4, 0.2, 0.4]], dtype=torch.float64).log()
    found = likeliest_wrong(logits, torch.tensor([1, 2, 0]))
    np.testing.assert_allclose(found, [0.3, 0.6, 0.4], rtol=1e-14)
    assert likeliest_wrong(torch.zeros(1, 1), torch.tensor([0])).item() == 0.0


def test_of_two_runners_up_one_alone_gets_the_gradient() -> None:
    logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(likeliest_wrong(logits, torch.tensor([0])).sum(), logits)
    np.testing.assert_allclose(gradient, [[-1 / 9, 2 / 9, -1 / 9]], rtol=1e-14)


def is_kl(function: Function) -> bool:
    p = torch.tensor([[0.8, 0.1, 0.1]], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    loss = function(q.log() - 3.0, p.log() + 1.0)
    wanted = 0.8 * LOG(0.8 / 0.5) + 0.1 * LOG(0.1 / 0.3) + 0.1 * LOG(0.1 / 0.2)
    return np.allclose(loss.detach(), wanted, rtol=1e-13, atol=0) and not loss.requires_grad


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("clean.detach(), logits", "logits, clean.detach()"),
        ("clean.detach()", "clean"),
        ("clean.detach(), logits", "logits.detach(), logits"),
    ],
)
def test_a_mutant_of_the_target_is_caught(old: str, new: str) -> None:
    assert is_kl(kl_to_clean)
    assert not is_kl(edited(kl_to_clean, old, new))


def is_trades(function: Function) -> bool:
    logits, clean, y, _ = by_hand()
    clean = clean.requires_grad_()
    again = clean.detach().clone().requires_grad_()
    loss = function(logits, y, clean, again, 6.0)
    p, q = softmax(wide(clean), axis=1), softmax(wide(logits), axis=1)
    kl = (p * LOG(p / q)).sum(axis=1)
    wanted = -LOG(p[[0, 1, 2], [0, 1, 2]]) + 6 * kl
    own, other = torch.autograd.grad(loss.sum(), [clean, again], allow_unused=True)
    if own is None or other is None:
        return False
    gradients = np.allclose(own, p - np.eye(3)) and np.allclose(other, 6 * p * (LOG(p / q) - kl[:, None]))
    return bool(np.allclose(wide(loss), wanted, rtol=1e-13, atol=0) and gradients)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cross_entropy(clean, y)", "cross_entropy(logits, y)"),
        ("cross_entropy(clean, y)", "cross_entropy(clean.detach(), y)"),
        ("kl_divergence(clean_again, logits)", "kl_divergence(logits, clean_again)"),
        ("kl_divergence(clean_again, logits)", "kl_divergence(clean_again.detach(), logits)"),
        ("kl_divergence(clean_again, logits)", "kl_divergence(clean, logits)"),
        ("beta * ", ""),
    ],
)
def test_a_mutant_of_trades_is_caught(old: str, new: str) -> None:
    assert is_trades(trades)
    assert not is_trades(edited(trades, old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("one.exp()", "other.exp()"),
        ("one - other", "other - one"),
        ("(one - other)", "(one.exp() - other.exp())"),
        (".sum(dim=1)", ".mean(dim=1)"),
        ("torch.log_softmax(one, dim=1)", "torch.log_softmax(one, dim=0)"),
    ],
)
def test_a_mutant_of_the_divergence_is_caught(old: str, new: str) -> None:
    one = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], dtype=torch.float64).log()
    other = torch.tensor([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64).log()
    wanted = divergence(one, other)
    np.testing.assert_allclose(kl_divergence(one, other), wanted, rtol=1e-13, atol=0)
    assert not np.allclose(edited(kl_divergence, old, new)(one, other), wanted, rtol=1e-6)


EXTREME = {
    "equal": [0.0, 0.0, 0.0],
    "saturated": [1e4, 0.0, -1e4],
    "saturated at another": [-1e4, 0.0, 1e4],
    "two at once": [1e4, 1e4, 0.0],
    "huge": [1e30, -1e30, 0.0],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("at_x", EXTREME)
@pytest.mark.parametrize("at_z", EXTREME)
def test_at_extreme_logits_every_loss_and_gradient_is_finite(at_z: str, at_x: str, dtype: torch.dtype) -> None:
    for label in range(3):
        y = torch.tensor([label])
        z, x, again = (torch.tensor([EXTREME[name]], dtype=dtype, requires_grad=True) for name in (at_z, at_x, at_x))
        losses = [kl_to_clean(z, x), trades(z, y, x, again, 6.0), mart(z, y, x, 5.0), boosted_cross_entropy(z, y)]
        for loss in losses:
            assert loss.isfinite().all()
            for gradient in torch.autograd.grad(loss.sum(), [z, x, again], allow_unused=True):
                assert gradient is None or gradient.isfinite().all()


def test_a_saturated_divergence_is_the_distance_of_the_logits() -> None:
    one, other = (torch.tensor([row], dtype=torch.float64) for row in ([1e4, 0.0], [0.0, 1e4]))
    np.testing.assert_allclose(kl_divergence(one, other), [1e4], rtol=1e-15, atol=0)


def test_which_losses_read_the_clean_logits_and_how_often() -> None:
    reads = {
        (family, kind): len(registry.primitive(family, kind).clean)
        for family in ("targets", "objectives")
        for kind in registry.kinds(family)
    }
    assert {name: count for name, count in reads.items() if count} == {
        ("targets", "kl_to_clean"): 1,
        ("objectives", "trades"): 2,
        ("objectives", "mart"): 1,
    }
