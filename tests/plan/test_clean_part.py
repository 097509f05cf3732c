"""A share of clean cross entropy in the signal, against numpy on three examples and a linear network."""

from __future__ import annotations

import importlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import optimised
from atentdsl.plan import PlanError, interpret, lower, units, units_as_usually_written
from atentdsl.plan.operations import Evaluate
from atentdsl.source import RecipeError
from atentdsl.testing import Recorded, batch, differences, edited, interpreted, network, run_module

LOWERING = importlib.import_module("atentdsl.plan.lower")
N, PIXELS, CLASSES = 3, 5, 4
GENERATOR = np.random.default_rng(1)
W = GENERATOR.normal(size=(CLASSES, PIXELS))
X = GENERATOR.uniform(0.05, 0.95, size=(N, PIXELS))
Y = np.array([2, 0, 3])
XI = GENERATOR.normal(size=(N, PIXELS))
STEP, SD, RATE = 0.3, 0.2, 0.4

TABLES = {
    "schema": 1,
    "recipe": {"name": "clean_part"},
    "data": {"name": "digits", "batch": N},
    "model": {"name": "mlp"},
    "optimizer": {"kind": "sgd", "epochs": 1, "lr": 0.0},
    "evaluate": {"attacks": [], "select": "clean"},
}
CHAIN = {"moves": 2, "kernel": {"step_size": STEP}, "averaging": {"kind": "mean"}}
NOISY = {"moves": 0, "start": {"kind": "gaussian", "sd": SD}}
LOCAL = {
    "space": "weights",
    "moves": 2,
    "mode": "train",
    "target": {"loss": "signal", "direction": "descend"},
    "kernel": {"step_size": RATE},
    "averaging": {"kind": "exponential", "alpha": 0.5},
}


def recipe(share, *samplers, **objective):
    return atentdsl.load({**TABLES, "sampler": list(samplers), "objective": {**objective, "clean": share}})


def cross_entropy(w, z):
    """The mean loss and its gradients, in the weights and, summed, in the points."""
    logits = z @ w.T
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    residual = p - np.eye(CLASSES)[Y]
    return -np.log(p[np.arange(N), Y]).mean(), residual.T @ z / N, residual @ w


def executed(made, lowered=lower):
    model = torch.nn.Linear(PIXELS, CLASSES, bias=False).double()
    model.weight.data = torch.from_numpy(W.copy())
    noisy = any(sampler.start.kind == "gaussian" for sampler in made.samplers)
    drawn = {"data.start": [torch.from_numpy(XI)] * 5} if noisy else {}
    pair = (torch.from_numpy(X), torch.from_numpy(Y))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    trace = interpret(lowered(made), model, optimizer, iter([pair]), Recorded(drawn, {}), {})
    return float(trace.signal), model.weight.grad.numpy()


def close(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-12)


def hinge(w, z):
    """The mean of max(0, 1 + the best other class's lead), and its gradient in the weights."""
    others = np.where(np.eye(CLASSES)[Y] > 0, -np.inf, z @ w.T)
    short = 1 + others.max(axis=1) - (z @ w.T)[np.arange(N), Y]
    residual = (short > 0)[:, None] * (np.eye(CLASSES)[others.argmax(axis=1)] - np.eye(CLASSES)[Y])
    return short.clip(min=0).mean(), residual.T @ z / N


def around_data(share, lowered=lower):
    """Two moves, the mean of their points: (1 - share) (L(z1) + L(z2)) / 2 + share CE(x)."""
    z1 = X + STEP * cross_entropy(W, X)[2]
    z2 = z1 + STEP * cross_entropy(W, z1)[2]
    for kind, loss in (("cross_entropy", cross_entropy), ("margin", hinge)):
        at_points = [(1 - share) * (loss(W, z1)[i] + loss(W, z2)[i]) / 2 for i in (0, 1)]
        expected = [at_points[i] + share * cross_entropy(W, X)[i] for i in (0, 1)]
        close(executed(recipe(share, CHAIN, kind=kind), lowered), expected)


def signal(w, share):
    at_noise, at_x = cross_entropy(w, X + SD * XI), cross_entropy(w, X)
    return [(1 - share) * at_noise[i] + share * at_x[i] for i in (0, 1)]


def around_weights(share, lowered=lower):
    """The weights descend the signal, clean part included, and hand it on at both their points, 1/4 and 1/2 of it."""
    w1 = W - RATE * signal(W, share)[1]
    w2 = w1 - RATE * signal(w1, share)[1]
    expected = [0.25 * signal(w1, share)[i] + 0.5 * signal(w2, share)[i] for i in (0, 1)]
    close(executed(recipe(share, LOCAL, NOISY), lowered), expected)


def around_points(share, lowered=lower):
    """The same inside the points of data, which are drawn once."""
    w1 = W - RATE * signal(W, share)[1]
    once = {**LOCAL, "moves": 1, "averaging": {"kind": "exponential", "alpha": 0.25}}
    close(executed(recipe(share, NOISY, once), lowered), [0.25 * signal(w1, share)[i] for i in (0, 1)])


CASES = [around_data, around_weights, around_points]


SHARES = st.sampled_from([0.0, 0.25, 1 / 3, 0.999]) | st.floats(0, 1, exclude_max=True)


@given(SHARES)
@settings(max_examples=25)
def test_it_enters_once_beside_all_points_of_data(share):
    around_data(share)


@given(SHARES)
@settings(max_examples=25)
def test_it_enters_wherever_weights_move_along_or_hand_on_the_signal(share):
    around_weights(share)
    around_points(share)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("c * (1 - self._clean), at", "c, at"),
        ("mode, X, c * self._clean", "mode, X, self._clean"),
        ("mode, X, c * self._clean", "mode, X, c * (1 - self._clean)"),
        ("            self._clean_part(c, mode)\n        elif", "        elif"),
        ("        else:\n            self._clean_part(c, mode)\n", ""),
        ("self._clean_part(c, mode)\n        elif", "self._clean_part(ONE, mode)\n        elif"),
        ('Call("objectives", "cross_entropy"), mode', "self._objective, mode"),
        ("if self._clean and not self._drawing:", "if self._clean and not self._aside:"),
        ("self._clean_part(c, mode)\n        elif", 'self._clean_part(c, "eval")\n        elif'),
    ],
)
def test_a_lowering_that_adds_it_otherwise_is_caught(old, new):
    mutant = edited(LOWERING, old, new).lower
    caught = []
    for case in CASES:
        try:
            case(0.25, mutant)
        except (AssertionError, PlanError):
            caught.append(case)
    assert caught


@pytest.mark.parametrize("case", CASES)
def test_without_an_edit_nothing_is_caught(case):
    case(0.25, edited(LOWERING, "ONE, Points(X)", "Fraction(1), Points(X)").lower)


def test_coefficients_are_exact_and_sum_to_one():
    found = [o.coefficient for o in lower(recipe(0.1, {**CHAIN, "restarts": 3})).flat() if isinstance(o, Evaluate)]
    assert [c for c in found if c is not None] == [Fraction(3, 20)] * 6 + [Fraction(1, 10)]


@pytest.mark.parametrize(("name", "without"), [("pgd_at_linf", 23), ("atent_linf", 25), ("trades_linf", 27)])
def test_it_costs_three_units_and_leaves_the_other_passes_as_they_were(name, without):
    plain, added = atentdsl.load(name), atentdsl.load(name, ["objective.clean=0.25"])
    cost = {made.digest(): units(optimised(lower(made), made.compile)) for made in (plain, added)}
    assert [cost[plain.digest()], cost[added.digest()]] == [without, without + 3]
    assert units_as_usually_written(lower(added)) == units_as_usually_written(lower(plain)) + 3


@pytest.mark.parametrize("samplers", [(CHAIN,), (LOCAL, NOISY), (NOISY,)])
def test_the_points_that_are_drawn_are_those_of_the_objective_without_it(samplers):
    """Under a sampler of weights they are drawn at other weights, since the clean part is in its target."""
    plain, added = (lower(recipe(share, *samplers), "draw") for share in (0, 0.25))
    if LOCAL in samplers:
        targets = [[o.coefficient for o in plan.flat() if isinstance(o, Evaluate)] for plan in (plain, added)]
        assert targets == [[1, 1], [Fraction(3, 4), Fraction(1, 4)] * 2]
    else:
        assert added == plain


AWP = {"space": "weights", "moves": 1, "mode": "frozen", "target": {"loss": "signal", "direction": "ascend"}}
AROUND = {
    "merged": [{**CHAIN, "mode": "train", "start": {"kind": "uniform", "radius": 0.2}}],
    "worst of restarts": [{**CHAIN, "restarts": 2, "averaging": {"kind": "mean", "over_restarts": "worst"}}],
    "fresh batches": [{**LOCAL, "batch": "fresh"}, {**CHAIN, "mode": "train"}],
    "perturbed weights": [CHAIN, {**AWP, "kernel": {"step_size": 0.05, "drift": "layer"}}],
}


@pytest.mark.parametrize("objective", [{"kind": "cross_entropy"}, {"kind": "mart", "beta": 2.0}])
@pytest.mark.parametrize("smoothed", [{}, {"smoothing": {"sigma": 0.1, "draws": 2, "redraw": "evaluation"}}])
@pytest.mark.parametrize("name", AROUND)
def test_interpreter_and_compiled_step_agree(name, smoothed, objective):
    whole = {**TABLES, **smoothed, "sampler": AROUND[name], "objective": {**objective, "clean": 1 / 3}}
    made, model, batches = atentdsl.load(whole), network(dropout=0.4, batch_norm=True), [batch(seed=1), batch(seed=2)]
    module = as_module(generate(made).text, "clean_part")
    best = interpreted(optimised(lower(made), made.compile), model, batches, seed=5)
    assert differences(best, run_module(module, model, batches, seed=5)) == []


def test_beside_cross_entropy_that_is_clean_already_it_is_refused():
    with pytest.raises(RecipeError) as caught:
        recipe(0.25)
    (mistake,) = caught.value.diagnostics
    assert (mistake.code, mistake.help) == ("inconsistent", "drop `clean`, or add a `[[sampler]]` of data")
    assert recipe(0.25, kind="margin").objective.clean == 0.25
    assert recipe(0.0).objective.clean == 0


@pytest.mark.parametrize("share", ["1.0", "-0.1", '"much"'])
def test_a_share_is_from_0_to_below_1(share):
    with pytest.raises(RecipeError):
        atentdsl.load("pgd_at_linf", [f"objective.clean={share}"])
