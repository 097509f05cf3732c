"""Fold projections: one clamp is a ball and a box, to the last bit, and where it takes their place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import atentdsl
from atentdsl.passes import fold_projections
from atentdsl.plan import lower, verify
from atentdsl.plan.metropolis import Accept
from atentdsl.plan.operations import Between, Bounds, Project
from atentdsl.primitives.projections.box import box
from atentdsl.primitives.projections.linf_ball import linf_ball
from atentdsl.primitives.tensors import between, bounds_in_box
from atentdsl.recipe.tables import Compile
from atentdsl.testing import batch, differences, edited, interpreted, network, recipes

SETTINGS = Compile()
BALL = {"kind": "linf_ball", "radius": 0.2}


def numbers(width):
    return arrays.arrays(
        np.float32 if width == 32 else np.float64, (2, 3), elements=st.floats(-3, 3, width=width, allow_subnormal=True)
    )


@pytest.mark.parametrize("width", [32, 64])
@given(data=st.data())
@settings(max_examples=200)
def test_one_clamp_is_both_for_every_point_anchor_and_radius(width, data):
    """In the box or outside of it; the zeros' signs too."""
    z, x = (torch.from_numpy(data.draw(numbers(width))) for _ in range(2))
    radius = data.draw(st.floats(0, 2, width=width) | st.sampled_from([0.0, 0.3, 1e-3]))
    both = box(linf_ball(z, x, radius))
    assert torch.equal(between(z, *bounds_in_box(x, radius)), both)


def test_a_point_that_is_no_number_stays_none():
    z = torch.tensor([[float("nan")]])
    assert between(z, *bounds_in_box(torch.zeros(1, 1), 0.1)).isnan().all()


def with_projections(*projections, goal="train", **sampler):
    whole = atentdsl.load("pgd_at_linf", ["sampler.attack.moves=3"]).values()
    whole["sampler"][0] |= {"projection": list(projections), **sampler}
    return lower(atentdsl.load(whole), goal)


def kinds(plan):
    return [o.call.kind if isinstance(o, Project) else "clamp" for o in plan.flat() if isinstance(o, Project | Between)]


BOX = {"kind": "box"}


@pytest.mark.parametrize(
    ("projections", "wanted"),
    [
        ([BALL, BOX], ["clamp"] * 4),  # three moves and the projected start
        ([BALL, BOX, {"kind": "l2_ball", "radius": 1.0}], ["clamp", "l2_ball"] * 4),
        ([BALL, BOX, BALL, BOX], ["clamp", "clamp"] * 4),
        ([BALL, BOX, BALL | {"radius": 0.1}, BOX], ["clamp", "linf_ball", "box"] * 4),
        ([BALL | {"when": "last"}, BOX | {"when": "last"}], ["clamp"] * 2),
        ([BALL | {"when": "last"}, BOX], ["clamp", "box", "box", "clamp"]),
    ],
)
def test_a_ball_before_a_box_is_folded(projections, wanted):
    plan = with_projections(*projections)
    made = verify(fold_projections.apply(plan, SETTINGS))
    assert kinds(made) == wanted
    assert sum(isinstance(o, Bounds) for o in made.flat()) == 1
    assert fold_projections.why_not(plan, SETTINGS) is None


@pytest.mark.parametrize(
    "projections",
    [
        [BOX, BALL],
        [BALL, {"kind": "l2_ball", "radius": 1.0}, BOX],
        [BALL, BOX | {"when": "last"}],
        [BALL | {"radius": {"kind": "linear", "over": "moves", "start": 0.1, "end": 0.2}}, BOX],
    ],
)
def test_what_is_no_ball_before_a_box_at_the_same_moments_is_left(projections):
    plan = with_projections(*projections, start={"kind": "zero"})
    assert fold_projections.apply(plan, SETTINGS) == plan
    assert "no box directly follows" in fold_projections.why_not(plan, SETTINGS)


def test_a_ball_that_ends_the_plan_has_no_box_after_it():
    changes = {"start": {"kind": "zero"}, "moves": 1, "averaging": {"kind": "first"}}
    plan = with_projections(BALL, goal="draw", **changes)
    assert isinstance(plan.operations[-1], Project)
    assert fold_projections.apply(plan, SETTINGS) == plan


def test_without_a_ball_or_a_box_that_is_the_reason():
    assert (
        fold_projections.why_not(with_projections(BALL), SETTINGS) == "there is no l-infinity ball with a box after it"
    )


def test_a_support_stays_the_sets_that_it_is():
    """Moves that are accepted or rejected are not projected; their start is."""
    plan = with_projections(BALL, BOX, kernel={"kind": "mala", "step_size": 0.1, "noise": 0.1}, mode="eval")
    made = verify(fold_projections.apply(plan, SETTINGS))
    assert kinds(made) == ["clamp"]
    assert [[inside.kind for inside in o.support] for o in made.flat() if isinstance(o, Accept)] == [
        ["linf_ball", "box"]
    ] * 3


def test_a_radius_that_changes_from_epoch_to_epoch_is_folded():
    schedule = {"kind": "linear", "over": "epochs", "start": 0.1, "end": 0.2}
    assert set(kinds(fold_projections.apply(with_projections(BALL | {"radius": schedule}, BOX), SETTINGS))) == {"clamp"}


@given(recipes(), st.sampled_from(["train", "draw"]))
@settings(max_examples=30)
def test_every_bit_is_kept(recipe, goal):
    literal = lower(atentdsl.load(recipe), goal)
    made = verify(fold_projections.apply(literal, SETTINGS))
    model, pairs = network(dropout=0.4, batch_norm=True), [batch(seed=1), batch(count=3, seed=2)]
    assert differences(interpreted(literal, model, pairs), interpreted(made, model, pairs)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(centre - radius).clamp(0, 1)", "(centre - radius)"),
        ("(centre + radius).clamp(0, 1)", "(centre + radius).clamp(max=1)"),
        ("(centre - radius).clamp(0, 1), (centre", "(centre + radius).clamp(0, 1), (centre"),
    ],
)
def test_other_bounds_are_noticed(old, new):
    """The box's side that is forgotten; for anchors outside of it as well."""
    from atentdsl.primitives import tensors

    mutant = edited(tensors, old, new)
    z, x = torch.linspace(-2, 2, 50).view(1, -1), torch.linspace(1.5, -1.5, 50).view(1, -1)
    assert not torch.equal(between(z, *mutant.bounds_in_box(x, 0.3)), box(linf_ball(z, x, 0.3)))
