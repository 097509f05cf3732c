"""Projected gradient descent breaks the same images as foolbox's, from the same starts, with the same settings."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn

import atentdsl
from atentdsl.codegen import as_module
from atentdsl.evaluation import attacks
from atentdsl.runtime.streams import Streams, key

foolbox = pytest.importorskip("foolbox")
SETTINGS = {"linf": (0.03, "LinfPGD"), "l2": (0.25, "L2PGD")}


@pytest.fixture(scope="module")
def network():
    """A random network of two layers and the labels it gives 200 images."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)).eval()
    x = torch.rand(200, 1, 8, 8)
    return model, x, model(x).argmax(dim=1).detach()


def theirs(norm: str, model: nn.Module, x: torch.Tensor, y: torch.Tensor, start: torch.Tensor, steps: int, size: float):
    """The library's last points; it draws no start, but takes this one."""
    made = getattr(foolbox.attacks, SETTINGS[norm][1])(abs_stepsize=size, steps=steps, random_start=True)
    made.get_random_start = lambda x0, epsilon: type(x0)(start)
    subject = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    return made.run(subject, x, foolbox.Misclassification(y), epsilon=SETTINGS[norm][0])


def starts(norm: str, x: torch.Tensor, seed: int) -> torch.Tensor:
    """The first chain's random start, drawn again."""
    rng, radius = Streams(seed, 0, x.device), SETTINGS[norm][0]
    if norm == "linf":
        return x + radius * (2 * rng.uniform("attack.start", x) - 1)
    direction = rng.normal("attack.start", x).flatten(1)
    share = rng.uniform("attack.start", x).flatten(1)[:, :1]
    return x + (radius * share * direction / direction.norm(dim=1, keepdim=True)).view_as(x)


@pytest.mark.parametrize("steps", [1, 7, 20])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_same_images_fall(network, norm, steps):
    model, x, y = network
    radius = SETTINGS[norm][0]
    text = f"pgd-{steps},norm={norm},radius={radius},step_size={2.5 * radius / steps:.6f}"
    (ours,) = attacks(atentdsl.load("sgd", [f"evaluate.attacks=['{text}']"]), 10)
    start = starts(norm, x, key(5, text))
    size = ours.settings()["step_size"]
    z = theirs(norm, model, x, y, start, steps, size)
    held = ours.withstands(model, x, y, 5)
    assert 0.2 < held.float().mean() < 0.8
    assert torch.equal(held, model(z).argmax(dim=1) == y)
    torch.testing.assert_close(ours.perturbed(model, x, y, key(5, text)), z, rtol=0, atol=1e-4)


MUTANTS = {
    "another norm's step": ("drift = sign(g)", "drift = g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)"),
    "half the step": ("drift = sign(g)", "drift = sign(g) / 2"),
    "a move too many": ("range(TURNS)", "range(TURNS + 1)"),
    "another start": ("START_RADIUS)", "-START_RADIUS)"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_has_other_points(network, name):
    model, x, y = network
    radius = SETTINGS["linf"][0]
    (ours,) = attacks(
        atentdsl.load("sgd", [f"evaluate.attacks=['pgd-3,norm=linf,radius={radius},step_size=0.01']"]), 10
    )
    z = theirs("linf", model, x, y, starts("linf", x, key(5, ours.name)), 3, 0.01)
    torch.testing.assert_close(ours.perturbed(model, x, y, key(5, ours.name)), z, rtol=0, atol=1e-4)
    assert ours.compiled.text.count(MUTANTS[name][0]) == 1
    mutant = attrs.evolve(ours, module=as_module(ours.compiled.text.replace(*MUTANTS[name]), "mutant"))
    assert (mutant.perturbed(model, x, y, key(5, ours.name)) - z).abs().max() > 1e-3
