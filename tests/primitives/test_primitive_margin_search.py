"""The margin search: against closed forms on linear classifiers, and worked out by hand on three examples."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.codegen.sources import Sources
from atentdsl.primitives.samplers import margin_search
from atentdsl.primitives.samplers.margin_search import NORMS, Parameters, conflicts
from atentdsl.runtime import Batch, Streams
from atentdsl.source import RecipeError

PIXELS, MOVES, BISECTIONS, FIRST, LARGEST = 6, 4, 12, 0.05, 0.3
TABLES = {
    "schema": 1,
    "recipe": {"name": "margins"},
    "data": {"name": "digits", "batch": 3},
    "model": {"name": "mlp"},
    "optimizer": {"kind": "sgd", "epochs": 1, "lr": 1.0},
    "evaluate": {"attacks": [], "select": "clean"},
}
FUNCTIONS = [f for f in vars(margin_search).values() if getattr(f, "__module__", "") == margin_search.__name__]
FUNCTIONS = [f for f in FUNCTIONS if callable(f) and not isinstance(f, type) and not f.__name__.endswith("conflicts")]


def recipe(norm: str, **more: Any) -> Any:
    search = {"kind": "margin_search", "moves": MOVES, "norm": norm, "bisections": BISECTIONS, "random_start": False}
    return atentdsl.load(TABLES | {"sampler": [search | {"max_radius": LARGEST, "initial_radius": FIRST} | more]})


@cache
def drawing(norm: str) -> Any:
    return as_module(generate(recipe(norm), "draw").text, "drawn")


class Linear(torch.nn.Module):
    """Two classes, whose logits are 0 and w x + b."""

    def __init__(self, w: Any, b: float) -> None:
        super().__init__()
        self.w, self.b = (torch.nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in (w, b))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lead = x @ self.w + self.b
        return torch.stack([torch.zeros_like(lead), lead], dim=1)


def searched(module: Any, w: Any, b: float, x: Any, y: Any) -> tuple[Any, Any]:
    """The points handed on and their c, in numpy."""
    rng = Streams(0, 1, torch.device("cpu"))
    ((z, c),) = module.draw(Linear(w, b), torch.from_numpy(x), torch.from_numpy(y), rng)
    return z.detach().numpy(), c.numpy()


def disagrees(module: Any, norm: str, w: Any, b: float, x: Any, y: Any) -> bool:
    """Whether a point is not where the closed form says: |w x + b| / ||w||, the dual norm, within its last bracket.

    The inputs are so far inside the box that no ray leaves it.
    """
    z, c = searched(module, w, b, x, y)
    lead = (2 * y - 1) * (x @ w + b)
    margin = lead / np.linalg.norm(w, 1 if norm == "linf" else 2)
    length = np.linalg.norm(z - x, np.inf if norm == "linf" else 2, axis=1)
    width = np.where(margin <= FIRST, FIRST, LARGEST - FIRST) / 2**BISECTIONS + 1e-9
    wrong, inside = lead <= 0, margin < LARGEST
    right = np.where(wrong, length == 0, np.where(inside, (length > margin - 1e-9) & (length <= margin + width), True))
    chosen = (c == 1) == (wrong | inside)
    return not (right & chosen).all()


weights = hnp.arrays(np.float64, PIXELS, elements=st.floats(-1, 1).map(lambda x: round(x, 3)))
inputs = hnp.arrays(np.float64, (4, PIXELS), elements=st.floats(0.35, 0.65).map(lambda x: round(x, 3)))
labels = hnp.arrays(np.int64, 4, elements=st.integers(0, 1))


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60)
@given(weights, st.floats(-0.5, 0.5).map(lambda x: round(x, 3)), inputs, labels)
def test_the_margin_of_a_linear_classifier_is_found(norm: str, w: Any, b: float, x: Any, y: Any) -> None:
    """To within the last bracket, in both norms, whether the first ball reaches across the boundary or not."""
    assume(np.abs(w).max() >= 0.01)
    b = b - 0.5 * w.sum()  # the boundary is near the middle of the box
    margin = np.abs(x @ w + b) / np.linalg.norm(w, 1 if norm == "linf" else 2)
    for edge in (0, FIRST, LARGEST):
        assume((np.abs(margin - edge) > 1e-3 * LARGEST).all())  # the boundary itself belongs to neither side
    assert not disagrees(drawing(norm), norm, w, b, x, y)


CASE = (np.array([0.7, -0.2, 0.1, 0.3, -0.5, 0.9]), 0.1)
X = np.array([[0.4, 0.6, 0.5, 0.5, 0.6, 0.4], [0.6, 0.4, 0.5, 0.6, 0.4, 0.6], [0.45, 0.5, 0.5, 0.5, 0.55, 0.5]] * 2)
Y = np.array([1, 1, 1, 0, 0, 0])
SHIFTS = (-0.75, -0.1, -0.6)
MUTANTS = {
    "the other half": (
        "between, wrong = (low + high) / 2, losses >= 0",
        "between, wrong = (low + high) / 2, losses < 0",
    ),
    "not the middle": ("return on_ray(x, ray, (low + high) / 2)", "return on_ray(x, ray, (2 * low + high) / 3)"),
    "a bracket behind a point that is wrong": ("wrong, 0.0, length)", "wrong, length, length)"),
    "a bracket that ends too early": ("wrong, length, max_radius)", "wrong, length, max_radius / 2)"),
    "a ray that is too long": ("    return (z - x) / each(torch", "    return 2 * (z - x) / each(torch"),
    "beyond counts": ("(wrong | (margin < max_radius))", "(wrong | (margin <= max_radius))"),
    "wrong ones do not count": ("(wrong | (margin < max_radius))", "(~wrong & (margin < max_radius))"),
    "only wrong ones count": ("(wrong | (margin < max_radius))", "wrong"),
    "downhill": ("share * own * g.sign()", "-share * own * g.sign()"),
    "wrong ones at their margin": ("torch.where(each(wrong, x), x, on_ray(x, ray, margin))", "on_ray(x, ray, margin)"),
}


@pytest.mark.parametrize(("old", "new"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_finds_another_margin(old: str, new: str) -> None:
    text = generate(recipe("linf"), "draw").text
    assert text.count(old) == 1
    mutant = as_module(text.replace(old, new), "mutant")
    w, b = CASE
    assert not any(disagrees(drawing("linf"), "linf", w, b + shift, X, Y) for shift in SHIFTS)
    assert any(disagrees(mutant, "linf", w, b + shift, X, Y) for shift in SHIFTS)


def step(
    state: dict[str, Any], examples: list[int], x: Any, y: Any, norm: str = "linf", **more: Any
) -> tuple[float, Any, Streams]:
    """One step on one pixel, with the logits 0 and 4 (x - 1/2): the signal, its gradient, the streams."""
    module = as_module(generate(recipe(norm, **more)).text, "trained")
    model, rng = Linear([4.0], -2.0), Streams(0, 1, torch.device("cpu"))
    batch = Batch((torch.tensor(x, dtype=torch.float64), torch.tensor(y)), torch.tensor(examples), of=8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    signal = module.train_step(model, optimizer, iter([batch]), rng, state)
    return float(signal), model.w.grad, rng


@pytest.mark.parametrize("norm", NORMS)
def test_right_and_inside_right_and_beyond_and_wrong(norm: str) -> None:
    """Of label 1 is what lies above 1/2, so that the margins of 0.7, 0.9 and 0.4 are 0.2, 0.4 and none; d_max is 0.3.

    The first is trained on at 1/2, where the probability of its label is 1/2; the second not at all; the third, whose
    logits are 0 and -0.4, at 0.4 itself. The gradient of -log p in the weight of the lead is (p - 1) z.
    """
    state: dict[str, Any] = {}
    signal, gradient, _ = step(state, [5, 0, 3], [[0.7], [0.9], [0.4]], [1, 1, 1], norm)
    p = 1 / (1 + np.exp(0.4))
    assert signal == pytest.approx((-np.log(0.5) - np.log(p)) / 3, abs=1e-3)
    assert gradient.numpy() == pytest.approx(np.array([((0.5 - 1) * 0.5 + (p - 1) * 0.4) / 3]), abs=1e-3)
    (memory,) = state.values()
    assert memory.numpy() == pytest.approx([0.3, *[FIRST] * 4, 0.2, FIRST, FIRST], abs=1e-3)


def test_the_next_ball_has_the_margin_s_radius_the_first_one_s_at_least() -> None:
    """0.52 is 0.02 from the boundary, which is less than the first radius; a wrong example's radius stays as it was."""
    state = {"data.radius": torch.full((8,), 0.25, dtype=torch.float64)}
    step(state, [1, 2], [[0.52], [0.4]], [1, 1])
    assert state["data.radius"][[1, 2]].tolist() == [FIRST, 0.25]


def test_the_ball_is_that_of_the_example() -> None:
    """One move of 2.5 radii ends on the ball's boundary: at radii of 0.1 and 0.2 the first ray is behind 0.6 or 0.5."""
    module = as_module(generate(recipe("linf", moves=1, bisections=1)).text, "trained")
    seen: list[Any] = []
    own = module.example_losses

    def losses(model: Any, z: Any, *rest: Any, **named: Any) -> Any:
        seen.append(z.flatten().tolist())
        return own(model, z, *rest, **named)

    module.example_losses = losses
    state = {"data.radius": torch.tensor([0.1, 0.2], dtype=torch.float64)}
    x, y = torch.full((2, 1), 0.8, dtype=torch.float64), torch.tensor([1, 1])
    model = Linear([4.0], -2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    batch = Batch((x, y), torch.tensor([1, 0]), of=2)
    module.train_step(model, optimizer, iter([batch]), Streams(0, 1, torch.device("cpu")), state)
    assert seen[0] == pytest.approx([0.6, 0.7])
    assert seen[1] == pytest.approx([0.8 - 0.25, 0.8 - 0.2])  # the middles of [0.2, 0.3] and [0.1, 0.3]


@pytest.mark.parametrize("norm", NORMS)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1).map(lambda r: round(r, 3)), st.floats(0.1, 3))
@settings(max_examples=30)
def test_starts_and_moves_stay_in_each_example_s_ball_and_in_the_box(
    norm: str, seed: int, r: float, share: float
) -> None:
    generator = np.random.default_rng(seed)
    x = torch.from_numpy(generator.uniform(0, 1, size=(3, 2, 2)))
    radius = torch.tensor([r, r / 2, r / 8], dtype=torch.float64)
    noise = {"xi": torch.from_numpy(generator.normal(size=x.shape)), "u": torch.from_numpy(generator.random(x.shape))}
    laws = {"normal": "xi", "uniform": "u"}
    z = NORMS[norm].start(x=x, radius=radius, **{laws[law]: noise[laws[law]] for law in NORMS[norm].draws})
    for point in (z, NORMS[norm].climb(z=z, x=x, g=noise["xi"], radius=radius, share=share)):
        d = (point - x).flatten(1).numpy()
        assert (np.linalg.norm(d, np.inf if norm == "linf" else 2, axis=1) <= radius.numpy() * (1 + 1e-12)).all()
        assert ((point >= 0) & (point <= 1)).all()
        assert np.abs(d).max() > 0


def test_without_a_gradient_there_is_no_ray_and_the_margin_is_the_largest() -> None:
    """A classifier that says 1 everywhere."""
    z, c = searched(drawing("l2"), np.zeros(PIXELS), 1.0, X[:2], Y[:2])
    assert np.array_equal(z, X[:2])
    assert c.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_its_functions_can_be_taken_into_a_module(function: Any) -> None:
    assert list(Sources([function]).functions)[-1] == function.__name__


def test_there_are_functions() -> None:
    assert len(FUNCTIONS) >= 12


def test_batches_that_do_not_say_their_examples_are_refused_with_the_mend() -> None:
    module = as_module(generate(recipe("linf")).text, "trained")
    model = Linear([4.0], -2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    pair = torch.full((1, 1), 0.7, dtype=torch.float64), torch.tensor([1])
    with pytest.raises(TypeError, match=r"atentdsl\.runtime\.Batch"):
        module.train_step(model, optimizer, iter([pair]), Streams(0, 1, torch.device("cpu")), {})


REFUSED = {
    "initial_radius": {"initial_radius": 0.4},
    "max_radius": {"max_radius": 1.5},
    "target.loss": {"target": {"loss": "kl_to_clean"}},
}


@pytest.mark.parametrize(("field", "change"), REFUSED.items(), ids=REFUSED)
def test_what_a_search_cannot_be(field: str, change: dict[str, Any]) -> None:
    table = {"moves": 1, "max_radius": 0.3, "initial_radius": 0.1}
    assert conflicts(Parameters.model_validate(table).parameters()) == []
    ((found, message, mend),) = conflicts(Parameters.model_validate(table | change).parameters())
    assert (found, bool(message), bool(mend)) == (field, True, True)
    in_l2 = conflicts(Parameters.model_validate(table | change | {"norm": "l2"}).parameters())
    assert bool(in_l2) == (field != "max_radius")


@pytest.mark.parametrize("loss", ["signal", "kl_to_clean"])
def test_a_loss_that_is_none_of_the_label_is_refused(loss: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe("linf", target={"loss": loss})
    assert "climbs a loss of the label" in str(caught.value)


@pytest.mark.parametrize("first", [True, False])
def test_it_stands_alone(first: bool) -> None:
    search = {"name": "search", "kind": "margin_search", "moves": 1, "max_radius": 0.3, "initial_radius": 0.1}
    other = {"name": "other", "moves": 0}
    samplers = [search, other] if first else [other, search]
    with pytest.raises(RecipeError) as caught:
        atentdsl.load(TABLES | {"sampler": samplers})
    (mistake,) = caught.value.diagnostics
    assert mistake.code == "inconsistent"
    assert "stands alone" in mistake.message
    assert "chain" in str(mistake.help)
