"""An attack breaks a linear classifier at a hundredth beyond the exact least perturbation, and never below it."""

from __future__ import annotations

import functools

import attrs
import numpy
import pytest
import torch
from evaluation.exact import Linear, just_inside, shortest
from scipy.optimize import linprog

import atentdsl
from atentdsl.codegen import as_module
from atentdsl.evaluation import attacks, sampling
from atentdsl.recipe import Threat, attack_name
from atentdsl.testing.mutants import edited

# Far from the box's faces, and in the whole box: (norm, inside, radius, deviation of a weight, step size in radii).
CASES = [
    ("linf", True, 0.05, 2.5 / 40),
    ("l2", True, 0.25, 2.5 / 40),
    ("l1", True, 0.6, 2.5 / 40),
    ("linf", False, 0.08, 2.5 / 40),
    ("l2", False, 0.4, 0.25),  # along a face the last hundredth takes a longer way
    ("l1", False, 0.8, 2.5 / 40),
]


def attack(text: str):
    return attacks(atentdsl.load("sgd", [f"evaluate.attacks=['{text}']"]), 10)[0]


@functools.cache
def network(classes: int, inside: bool, *, seed: int = 0, scale: float = 1.0) -> tuple[Linear, torch.Tensor]:
    """A classifier of 36 pixels and thousands of images; of several classes each pair's weights differ by as much."""
    generator = torch.Generator().manual_seed(seed)
    row = torch.randn(36, generator=generator)
    w = torch.stack([row.roll(36 // classes * i) for i in range(classes)]) if classes > 2 else torch.stack([-row, row])
    x = torch.rand(8_000, 1, 6, 6, generator=generator)
    x = 0.3 + 0.4 * x if inside else x
    b = -(x.flatten(1) @ w.T).median(dim=0).values
    return Linear(scale * w, scale * b), x


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_exact_length_is_what_a_solver_finds(norm):
    """Linear programs for l-infinity and l1; for l2 the conditions of Karush, Kuhn and Tucker."""
    generator = numpy.random.default_rng(0)
    for _ in range(20):
        a, x = generator.normal(size=9), generator.random(9)
        need = float(generator.uniform(0.2, 0.9) * (numpy.abs(a) * numpy.where(a > 0, 1 - x, x)).sum())
        found = float(shortest(torch.tensor(a)[None], torch.tensor(x)[None], torch.tensor([need]), norm)[0])
        if norm == "l2":
            room = numpy.where(a > 0, 1 - x, x)
            grid = [numpy.minimum(room, t * numpy.abs(a)) for t in numpy.linspace(0, 10, 1_001)]
            best = min(numpy.linalg.norm(d) for d in grid if (numpy.abs(a) * d).sum() >= need)
            assert best - 0.05 < found < best + 1e-9
            continue
        # d, and above it the magnitudes: one for all pixels, or one for each.
        k = 1 if norm == "linf" else 9
        bound = numpy.ones((9, 1)) if norm == "linf" else numpy.eye(9)
        eye, zeros = numpy.eye(9), numpy.zeros((1, k))
        below = numpy.vstack(
            [numpy.hstack([eye, -bound]), numpy.hstack([-eye, -bound]), numpy.hstack([-a[None], zeros])]
        )
        limits = [(-x[i], 1 - x[i]) for i in range(9)] + [(0, None)] * k
        cost = numpy.concatenate([numpy.zeros(9), numpy.ones(k)])
        solved = linprog(cost, below, numpy.concatenate([numpy.zeros(18), [-need]]), bounds=limits)
        assert found == pytest.approx(solved.fun, rel=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
@pytest.mark.parametrize(("norm", "inside", "radius", "share"), CASES)
def test_two_classes(norm, inside, radius, share, loss):
    model, images = network(2, inside)
    x, y, falls = just_inside(model, images, norm, radius)
    assert 10 <= falls.sum() <= len(x) - 10
    found = attack(f"pgd-200,norm={norm},radius={radius},loss={loss},step_size={share * radius:.6g}")
    assert torch.equal(found.withstands(model, x, y, 0), ~falls)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
@pytest.mark.parametrize(("norm", "inside", "radius", "share"), CASES)
def test_the_nearest_of_three_classes(norm, inside, radius, share, loss):
    """Where the two other classes meet, the ratio's steps may change between them: of its images one may stand."""
    model, images = network(3, inside, scale=10.0)
    x, y, falls = just_inside(model, images, norm, radius / 2, 30, apart=1.5)
    assert 5 <= falls.sum() <= len(x) - 5
    found = attack(f"pgd-200,norm={norm},radius={radius / 2},loss={loss},step_size={share * radius / 2:.6g}")
    held = found.withstands(model, x, y, 0)
    assert held[~falls].all()
    assert held[falls].sum() <= (loss == "dlr")


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_of_many_classes_none_falls_below(norm, loss):
    model, images = network(12, inside=False)
    x = images[:300]
    y = model(x).argmax(dim=1)
    radius = {"linf": 0.04, "l2": 0.2, "l1": 0.4}[norm]
    least = model.pairs(x, y, norm).amin(dim=1)
    found = attack(f"pgd-20,norm={norm},radius={radius},loss={loss}").withstands(model, x, y, 0)
    assert found[least > 1.001 * radius].all()
    assert (found & (least < radius)).sum() < 0.1 * (least < radius).sum(), "and most of those above do"


def test_carlini_and_wagners_margin_in_l_infinity():
    for classes, radius in ((2, 0.08), (3, 0.04)):
        model, images = network(classes, False, scale=10.0)
        x, y, falls = just_inside(model, images, "linf", radius, apart=1.5 if classes > 2 else 1.0)
        found = attack(f"cw,norm=linf,radius={radius}")
        assert found.settings()["loss"] == "margin"
        assert torch.equal(found.withstands(model, x, y, 0), ~falls)


def test_margins_reach_it_where_cross_entropy_saturates():
    """At logits in the thousands the gradient of cross entropy is gone; the other two do not depend on the scale."""
    model, images = network(3, False, scale=3000.0)
    x, y, falls = just_inside(model, images, "linf", 0.04, apart=1.5)
    for loss in ("margin", "dlr"):
        found = attack(f"pgd-200,norm=linf,radius=0.04,loss={loss},step_size=0.0025")
        assert torch.equal(found.withstands(model, x, y, 0), ~falls)
    assert attack("pgd-200,norm=linf,radius=0.04").withstands(model, x, y, 0)[falls].float().mean() > 0.5


@pytest.mark.parametrize("restarts", [1, 3])
def test_in_l1_the_steps_that_are_not_set_reach_it(restarts):
    model, images = network(2, inside=False)
    x, y, falls = just_inside(model, images, "l1", 0.8)
    found = attack(f"pgd-40,norm=l1,radius=0.8,restarts={restarts}")
    assert torch.equal(found.withstands(model, x, y, 0), ~falls)
    assert found.settings()["start"] == ("zero" if restarts == 1 else "zero, then uniform")
    first, second, third = (found.perturbed(model, x, y, 0, restart) for restart in range(3))
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    assert torch.equal(first, found.perturbed(model, x, y, 1)), "from the image itself nothing is drawn"


# What each edit of a shipped attack's text is to spoil: "reaches" leaves images standing, "claims" breaks too many.
MUTANTS = {
    "descends": ("drift = sparse(g, z)", "drift = sparse(-g, z)", "reaches"),
    "a radius a twentieth short": ("L1_BALL_RADIUS = 0.8", "L1_BALL_RADIUS = 0.76", "reaches"),
    "a radius a twentieth long": ("L1_BALL_RADIUS = 0.8", "L1_BALL_RADIUS = 0.84", "claims"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_attack_is_seen(name):
    old, new, spoils = MUTANTS[name]
    shipped = attack("pgd-40,norm=l1,radius=0.8")
    assert shipped.compiled.text.count(old) == 1
    mutant = attrs.evolve(shipped, module=as_module(shipped.compiled.text.replace(old, new), "mutant"), confined=False)
    model, images = network(2, inside=False)
    x, y, falls = just_inside(model, images, "l1", 0.8)
    if spoils == "claims":  # what stands is outside of the ball, which alone keeps it from counting
        mutant = attrs.evolve(mutant, ball=attrs.evolve(mutant.ball, radius=1.0))
        assert not mutant.withstands(model, x, y, 0)[~falls].any()
    else:
        assert mutant.withstands(model, x, y, 0)[falls].any()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"sparse", ("box", "l1_ball", "box")', '"sparse", ("l1_ball", "box")'),
        ('"value": [0.0, radius]', '"value": [radius, radius]'),
    ],
)
def test_in_l1_the_start_and_the_order_of_projections_matter(old, new):
    """The mutants: what sticks out of the box is lost, and what a random start spends comes back slowly."""
    model, images = network(2, inside=False)
    x, y, falls = just_inside(model, images, "l1", 1.5)
    recipe, name = atentdsl.load("sgd"), attack_name("pgd-40,norm=l1,radius=1.5")
    within = Threat("l1", 1.5, ())
    shipped = sampling.gradient_attack(recipe, name, within)
    mutant = edited(sampling, old, new).gradient_attack(recipe, name, within)
    assert torch.equal(shipped.withstands(model, x, y, 0), ~falls)
    assert mutant.withstands(model, x, y, 0)[falls].float().mean() > 0.3
