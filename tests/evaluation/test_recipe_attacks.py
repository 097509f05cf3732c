"""Recipes that attack: their samplers' last points, in eval mode, as they would be drawn by hand."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch
from torch import Tensor, nn

import atentdsl
from atentdsl.codegen import as_module
from atentdsl.evaluation import attacks, evaluation, sampling
from atentdsl.evaluation.sampling import ENDED
from atentdsl.recipe import shipped
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import UnsuitedAttack
from atentdsl.runtime.streams import Streams, key
from atentdsl.source import RecipeError
from atentdsl.testing.mutants import edited

EVALUATED = atentdsl.load("sgd", ["evaluate.radius=0.15", "evaluate.attacks=[]", "evaluate.select=last"])


def attack(text: str, evaluated=EVALUATED):
    (found,) = attacks(evaluated, 10, [text])
    return found


@pytest.fixture
def network() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10)).eval()
    x = torch.rand(60, 1, 8, 8)
    return model, x, model(x).argmax(dim=1)


@pytest.mark.parametrize("restart", [0, 1])
@pytest.mark.parametrize("text", ["atent_linf", "atent_linf,sampler.attack.moves=3", "pgd_at_l2", "atent_mala"])
def test_its_points_are_those_of_its_sampler_drawn_by_hand(network, text, restart):
    model, x, y = network
    name, *overrides = text.split(",")
    recipe = atentdsl.load(name, [*overrides, "sampler.attack.mode=eval", "sampler.attack.restarts=1"])
    compiled = atentdsl.compile(recipe, goal="draw")
    epochs = recipe.optimizer.epochs
    points = as_module(compiled.text, "hand").draw(model, x, y, Streams(7, ENDED + restart, x.device, epoch=epochs))
    subject = attack(text)
    assert torch.equal(subject.perturbed(model.train(), x, y, 7, restart), points[-1][0])
    assert subject.settings()["recipe"] == recipe.name
    assert subject.settings()["steps"] == sum(sampler.moves for sampler in recipe.samplers)


def test_figures_are_of_points_in_the_ball_alone_and_of_every_restart(network):
    model, x, y = network
    text = "pgd_at_linf,sampler.attack.restarts=3,sampler.attack.projection.linf_ball.radius=0.12"
    subject = attack(text)
    assert (subject.restarts, subject.ball.radius) == (3, 0.12)
    held = torch.ones(60, dtype=torch.bool)
    alone = torch.arange(60)
    for restart in range(3):  # the fallen are not attacked again, and draws are of those that are
        z = subject.perturbed(model, x[alone], y[alone], key(1, text), restart)
        right = model.eval()(z).argmax(dim=1) == y[alone]
        held[alone[~right]] = False
        alone = alone[right]
    assert torch.equal(subject.withstands(model, x, y, 1), held)
    assert 0 < held.sum() < 60


def test_points_outside_the_evaluated_ball_count_for_nothing(network):
    """A sampler that wanders 0.4 away, against a ball of 0.15: what it breaks out there is not broken."""
    model, x, y = network
    free = "pgd_at_linf,sampler.attack.projection.linf_ball.radius=0.4,sampler.attack.kernel.step_size=0.2"
    far = attack(free)
    assert not far.withstands(model, x, y, 0).all()
    near = attrs.evolve(far, ball=attrs.evolve(far.ball, radius=0.15))
    assert near.withstands(model, x, y, 0).all()
    mutant = edited(sampling, "held |= ~self.ball.holds(x[standing], z)", "pass").SamplerAttack
    fields = {f.name.lstrip("_"): getattr(near, f.name) for f in attrs.fields(type(near))}
    assert not mutant(**fields).withstands(model, x, y, 0).all()


SCHEDULE = '{{kind="piecewise", over="{over}", at=[1, 2], value=[0.05, 0.2]}}'


@pytest.mark.parametrize("over", ["epochs", "steps"])
def test_schedules_are_read_where_training_ends(network, over):
    model, x, y = network
    kernel = "pgd_at_linf,sampler.attack.kernel.step_size"
    subject = attack(f"{kernel}={SCHEDULE.format(over=over)},sampler.attack.mode=train")  # its commas are its own
    at_end, at_first = (attack(f"{kernel}={size}").perturbed(model, x, y, 0) for size in (0.2, 0.05))
    assert torch.equal(subject.perturbed(model, x, y, 0), at_end)
    assert not torch.equal(at_end, at_first)
    early = {"epoch": 1} if over == "epochs" else {"step": 1}
    at_first = attrs.evolve(attack(f"{kernel}=0.05"), **early).perturbed(model, x, y, 0)
    assert torch.equal(attrs.evolve(subject, **early).perturbed(model, x, y, 0), at_first), "the mutant"


def test_the_ball_is_its_samplers_own_or_the_evaluations():
    assert attack("pgd_at_l2").ball.norm == "l2"
    assert attack("pgd_at_linf,sampler.attack.projection.linf_ball.radius=0.12").ball.radius == 0.12
    loose = 'pgd_at_linf,sampler.attack.projection=[{kind="box"}]'
    assert attack(loose).ball.radius == EVALUATED.evaluate.radius


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sgd", "it attacks by its samplers, and there is none: take a recipe whose samplers are of data"),
        ("entropy_sgd", "it attacks by its samplers, and one is of weights, where an attack perturbs images alone"),
        ("entropy_sgd_atent", "it attacks by its samplers, and one is of weights"),
        ("mma", "it attacks by its samplers, and a margin search ends where each image's class ends"),
    ],
)
def test_recipes_that_cannot_attack_are_refused(text, said):
    with pytest.raises(UnsuitedAttack, match=f"the attack `{text}` cannot be made: {said}"):
        attack(text)


def test_without_any_ball_it_is_refused():
    evaluated = atentdsl.load("sgd", ["evaluate.attacks=[]", "evaluate.select=last"]).values()
    del evaluated["evaluate"]["radius"]
    with pytest.raises(UnsuitedAttack, match=r"has no ball, nor has the evaluation: set `evaluate\.radius`"):
        attack('pgd_at_linf,sampler.attack.projection=[{kind="box"}]', atentdsl.load(evaluated))


@pytest.mark.parametrize("name", shipped.names())
def test_every_shipped_recipe_attacks_or_says_why_not(name):
    recipe = atentdsl.load(name)
    if recipe.samplers and all(sampler.space == "data" and sampler.kind == "chain" for sampler in recipe.samplers):
        subject = attack(name)
        assert subject.ball.radius > 0
        assert subject.settings()["recipe_sha256"] == recipe.digest()
    else:
        with pytest.raises(UnsuitedAttack):
            attack(name)


def by_its_own(name, text="sampler", *overrides):
    recipe = atentdsl.load(name, [f"evaluate.attacks=['{text}']", "evaluate.select=last", *overrides])
    (found,) = attacks(recipe, 10)
    return found


@pytest.mark.parametrize("name", shipped.names())
def test_every_shipped_recipe_is_attacked_by_its_own_samplers_or_says_why_not(name):
    recipe = atentdsl.load(name)
    if recipe.samplers and all(sampler.space == "data" and sampler.kind == "chain" for sampler in recipe.samplers):
        own = by_its_own(name)
        asked = attack(name, atentdsl.load(name, ["evaluate.attacks=[]", "evaluate.select=last"]))
        assert (own.compiled.text, own.ball, own.confined) == (asked.compiled.text, asked.ball, asked.confined)
        assert (own.name, asked.restarts) == ("sampler", own.restarts)
    else:
        with pytest.raises(RecipeError, match="`sampler` is the recipe's own samplers, and"):
            by_its_own(name)


def test_its_own_samplers_draw_what_they_draw_for_another(network):
    model, x, y = network
    own = by_its_own("atent_linf", "sampler,restarts=2", "sampler.attack.restarts=3")
    assert (own.restarts, attack("atent_linf,sampler.attack.restarts=3").restarts) == (6, 3)
    expected = attack("atent_linf").perturbed(model, x, y, 3)
    assert torch.equal(own.perturbed(model, x, y, 3), expected)
    assert not torch.equal(own.perturbed(model, x, y, 3, restart=1), expected)


def test_the_ball_of_its_own_samplers_is_theirs_but_for_one_that_the_name_says():
    """A wider ball of the evaluation would be claimed, and not be searched."""
    wider = ["evaluate.radius=0.3", "evaluate.restarts=4"]
    assert by_its_own("atent_linf", "sampler", *wider).ball.radius == 0.18
    assert by_its_own("atent_linf", "sampler", *wider).restarts == 4
    assert by_its_own("atent_linf", "sampler,radius=0.1,restarts=2", *wider).ball.radius == 0.1
    assert by_its_own("atent_linf", "sampler,radius=0.1,restarts=2", *wider).restarts == 2
    said = by_its_own("atent_linf", "sampler,norm=l2,radius=1.0").ball
    assert (said.norm, said.radius) == ("l2", 1.0)
    loose = by_its_own("atent_linf", "sampler", "evaluate.radius=0.2", 'sampler.attack.projection=[{kind="box"}]')
    assert loose.ball.radius == 0.2


def test_paths_are_relative_to_where_one_stands_and_unknown_ones_are_said(network, tmp_path, monkeypatch):
    model, x, y = network
    own = tmp_path / "recipes"
    own.mkdir()
    (own / "mine.toml").write_text(atentdsl.load("atent_linf").resolved)
    monkeypatch.chdir(tmp_path)
    subject = attack("recipes/mine.toml,sampler.attack.moves=2")
    assert subject.settings()["steps"] == 2
    expected = attack("atent_linf,sampler.attack.moves=2").perturbed(model, x, y, 3)
    assert torch.equal(subject.perturbed(model, x, y, 3), expected)
    with pytest.raises((RecipeError, FileNotFoundError), match="other"):
        attack(str(Path("recipes/other.toml")))
    with pytest.raises(RecipeError, match="movs"):
        attack("recipes/mine.toml,sampler.attack.movs=2")


def test_one_named_twice_is_made_once_and_stands_beside_the_others(network):
    model, x, y = network
    evaluated = atentdsl.load("sgd", ["evaluate.radius=0.15", "evaluate.attacks=['pgd-2']"])
    found = attacks(evaluated, 10, ["atent_linf", "pgd_at_linf", "atent_linf"])
    said = evaluation(model, Images(x, y, 10), found, "test", 0)
    assert list(said["attacks"]) == ["pgd-2", "atent_linf", "pgd_at_linf"]


def test_a_recipe_s_own_smoothing_is_part_of_its_attack_and_is_said(network):
    model, x, y = network
    own, without = attack("smoothadv"), attack("pgd_at_l2")
    assert own.settings()["smoothing"]["sigma"] == atentdsl.load("smoothadv").smoothing.sigma
    assert "smoothing" not in without.settings()
    assert not torch.equal(own.perturbed(model, x, y, 0), without.perturbed(model, x, y, 0))
