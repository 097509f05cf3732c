"""What holds of every attack: any network and batch, nothing disturbed, every perturbation checked."""

from __future__ import annotations

import functools
import random

import attrs
import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import atentdsl
from atentdsl.codegen import as_module
from atentdsl.evaluation import attacks, ball, evaluation
from atentdsl.evaluation.ball import Ball
from atentdsl.runtime.accuracy import accuracy
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import NotFinite, UnsuitedAttack
from atentdsl.testing.mutants import edited

OWN = [
    "pgd-3",
    "pgd-3,loss=margin",
    "pgd-3,loss=dlr",
    "pgd-3,norm=l2,radius=0.5",
    "pgd-3,norm=l1,radius=1.0,restarts=2",
    "fgsm",
    "fgsm,norm=l2,radius=0.5",
    "cw",
]


@functools.cache
def attack(text: str):
    recipe = atentdsl.load("sgd", ["evaluate.radius=0.1", f"evaluate.attacks=['{text}']"])
    return attacks(recipe, 10)[0]


class Logits(nn.Module):
    """A linear network whose logits are bent: constant, saturated, infinite or no number where an image says so."""

    def __init__(self, classes: int, kind: str) -> None:
        super().__init__()
        self.linear, self.kind = nn.Linear(16, classes), kind

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.flatten(1))
        if self.kind == "constant":
            return 0 * logits
        if self.kind == "detached":
            return torch.zeros_like(logits) + 0 * logits.detach() + 0 * x.flatten(1)[:, :1]
        if self.kind in ("huge", "tiny"):
            return logits * (1e30 if self.kind == "huge" else 1e-30)
        return logits


@settings(max_examples=60)
@given(
    st.sampled_from(OWN),
    st.integers(2, 100),
    st.sampled_from([1, 2, 3, 7, 13]),
    st.sampled_from(["plain", "constant", "detached", "huge", "tiny"]),
    st.integers(0, 10**6),
)
def test_any_number_of_classes_any_batch_and_degenerate_logits(text, classes, n, kind, seed):
    torch.manual_seed(seed)
    model = Logits(classes, kind)
    x, y = torch.rand(n, 1, 4, 4), torch.randint(0, classes, (n,))
    subject = attack(text)
    if "dlr" in text and classes < 3:
        with pytest.raises(UnsuitedAttack, match="compares 3 classes, and the network has 2"):
            subject.withstands(model, x, y, seed)
        return
    held = subject.withstands(model, x, y, seed)
    assert held.shape == (n,)
    assert held.dtype == torch.bool
    z = subject.perturbed(model, x, y, seed)
    assert subject.ball.holds(x, z).all()
    clean = model(x).argmax(dim=1) == y
    if kind in ("constant", "detached"):
        assert torch.equal(held, clean), "nothing changes what does not depend on the image"
    images = Images(x, y, classes)
    found = evaluation(model, images, [subject], "test", seed, batch=max(1, n // 2))
    assert found["attacks"][text]["attacked"] == int(clean.sum())
    assert found["attacks"][text]["robust_accuracy"] <= found["clean_accuracy"]


@settings(max_examples=30)
@given(
    st.sampled_from(OWN),
    st.integers(3, 30),
    st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1), st.integers(1, 12))),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    st.booleans(),
)
def test_logits_that_are_no_numbers_name_the_image_by_its_place_in_the_whole(text, classes, sizes, wrong, late):
    """As it is, or only off the image itself, so that the attack is what meets it; the fallen are passed over."""
    torch.manual_seed(1)
    model = Logits(classes, "plain")
    n, first, batch = sizes
    x = 0.3 + 0.3 * torch.rand(n, 1, 4, 4)
    x[first] += 0.4

    class Broken(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            moved = (z - x[first]).flatten(1).abs().amax(dim=1) > 1e-6
            at = (z.flatten(1).mean(dim=1) > 0.67) & (moved if late else True)  # of no other image's ball
            return torch.where(at[:, None], wrong, model(z) * 100)

    y = model(x).argmax(dim=1)
    with pytest.raises(NotFinite, match=f"image {first} of those evaluated are not finite"):
        accuracy(Broken(), Images(x, y, classes), [attack(text).withstands], 0, batch)


class Records(nn.Module):
    """Dropout and batch normalisation, which show in what mode they are asked."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 4))
        self.modes: set[bool] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.modes |= {part.training for part in self.layers}
        logits: Tensor = self.layers(x)
        return logits


LIBRARIES = ["deepfool", "square", "apgd-ce"]


@pytest.mark.parametrize("text", [*OWN, *LIBRARIES, "atent_linf", "smoothadv"])
def test_modes_weights_and_global_random_states_are_left_as_they_were_found(text):
    if text == "deepfool":
        pytest.importorskip("foolbox")
    recipe = atentdsl.load("sgd", ["evaluate.radius=0.1", "evaluate.select=last", "evaluate.attacks=[]"])
    named = text in ("atent_linf", "smoothadv")
    if not named:
        recipe = atentdsl.load("sgd", ["evaluate.radius=0.1", f"evaluate.attacks=['{text}']"])
    (subject,) = attacks(recipe, 4, [text] if named else [])
    model = Records().train()
    model.layers[1].eval()
    if text == "square":  # thousands of queries say no more than one image's
        model.layers[3].weight.data *= 100
    state = {key: value.clone() for key, value in model.state_dict().items()}
    n = 3 if text in LIBRARIES else 9
    x = torch.rand(n, 1, 4, 4)
    y = model.eval()(x).argmax(dim=1)
    model.train()
    model.layers[1].eval()
    model.modes.clear()
    before = torch.get_rng_state(), numpy.random.get_state()[1].copy(), random.getstate()
    evaluation(model, Images(x, y, 4), [subject], "test", 0)
    assert model.modes == {False}, "the network is attacked as it is evaluated"
    assert [part.training for part in model.layers] == [True, False, True, True]
    assert model.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert numpy.array_equal(numpy.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


def test_an_attack_that_counts_classes_does_not_train_the_network():
    model = Records().train()
    x, y = torch.rand(5, 1, 4, 4), torch.zeros(5, dtype=torch.long)
    attack("pgd-3,loss=dlr").withstands(model, x, y, 0)
    assert model.modes == {False}
    assert model.layers[1].num_batches_tracked == 0


# Each edit of an attack's text lets its points out of the ball or the box.
ESCAPES = {
    "the ball": ("pgd-3", "LINF_BALL_RADIUS = 0.1", "LINF_BALL_RADIUS = 0.11"),
    "the box": ("pgd-3", "return z.clamp(low, high)", "return z.clamp(low - 1e-3, high)"),
    "the l2 ball": ("pgd-3,norm=l2,radius=0.5", "L2_BALL_RADIUS = 0.5", "L2_BALL_RADIUS = 0.51"),
    "the l2 ball's box": ("pgd-3,norm=l2,radius=0.5", "return z.clamp(0, 1)", "return z.clamp(-1e-3, 1)"),
    "the l1 ball": ("pgd-3,norm=l1,radius=1.0,restarts=2", "L1_BALL_RADIUS = 1.0", "L1_BALL_RADIUS = 1.01"),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_an_attack_that_leaves_ball_or_box_is_refused(name):
    text, old, new = ESCAPES[name]
    shipped = attack(text)
    assert shipped.compiled.text.count(old) == 1
    mutant = attrs.evolve(shipped, module=as_module(shipped.compiled.text.replace(old, new), "mutant"))
    torch.manual_seed(0)
    model, x, y = Logits(5, "plain"), torch.rand(20, 1, 4, 4).round(decimals=1), torch.arange(20) % 5
    assert shipped.withstands(model, x, y, 0).shape == (20,)
    with pytest.raises(ValueError, match=r"image \d+ of the batch has left the ball"):
        mutant.withstands(model, x, y, 0)


@settings(max_examples=30)
@given(
    st.sampled_from(["linf", "l2", "l1"]), st.floats(0.01, 1.0), st.integers(0, 10**6), st.sampled_from([0.99, 1.01])
)
def test_a_ball_holds_what_is_inside_and_nothing_else(norm, radius, seed, share):
    generator = torch.Generator().manual_seed(seed)
    x = 0.5 + torch.zeros(4, 2, 3)
    direction = torch.randn(4, 2, 3, generator=generator)
    lengths = numpy.linalg.norm(direction.flatten(1).numpy(), ord={"linf": numpy.inf, "l2": 2, "l1": 1}[norm], axis=1)
    d = direction * (share * radius / torch.tensor(lengths))[:, None, None]
    holds = Ball(norm, radius).holds(x, x + d)
    boxed = (d.abs() <= 0.5).flatten(1).all(dim=1)
    slack = 0.01 * radius > {"linf": 1e-5, "l2": 1e-4, "l1": 1e-3}[norm]
    if share < 1 or slack:
        assert torch.equal(holds, boxed & (share < 1))
    assert not Ball(norm, 9.0).holds(x, x + torch.nan).any()
    mutant = edited(ball, "& boxed", "")
    assert mutant.Ball(norm, 99.0).holds(x, x + 1).all()
    assert not Ball(norm, 99.0).holds(x, x + 1).any()
