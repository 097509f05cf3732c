"""`atentdsl.evaluate` with attacks in the place of the recipe's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import atentdsl
from atentdsl.api import attacking
from atentdsl.recipe import shipped
from atentdsl.runtime.errors import UnsuitedAttack
from atentdsl.source import RecipeError
from atentdsl.testing.mutants import edited


@pytest.fixture(scope="module")
def subject() -> dict[str, object]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
    x = torch.rand(60, 1, 8, 8)
    return {"model": model, "data": TensorDataset(x, model(x).argmax(dim=1))}


def test_names_and_recipes_stand_in_the_recipes_place_in_one_report(subject):
    asked = ["pgd-2,restarts=2", "pgd_at_linf,sampler.attack.moves=2", "fgsm"]
    said = atentdsl.evaluate("atent_linf", attacked_by=asked, **subject)
    assert list(said["attacks"]) == ["pgd-2,restarts=2", "fgsm", "pgd_at_linf,sampler.attack.moves=2"]
    assert said["attacks"]["pgd-2,restarts=2"]["restarts"] == 2
    assert said["attacks"]["fgsm"]["after"] == ["pgd-2,restarts=2"]
    assert said["attacks"]["pgd_at_linf,sampler.attack.moves=2"]["recipe"] == "pgd_at_linf"
    assert list(atentdsl.evaluate("atent_linf", **subject)["attacks"]) == ["pgd-20"]


def test_what_is_set_in_the_evaluation_holds_for_them(subject):
    said = atentdsl.evaluate(
        "atent_linf",
        attacked_by=["pgd-2", "fgsm"],
        overrides=["evaluate.radius=0.03", "evaluate.independent=true", "evaluate.precision=bfloat16"],
        **subject,
    )
    assert said["precision"] == "bfloat16"
    assert {one["radius"] for one in said["attacks"].values()} == {0.03}
    right = round(60 * said["clean_accuracy"])
    assert [one["attacked"] for one in said["attacks"].values()] == [right, right]


def test_only_a_recipe_that_attacks(subject):
    said = atentdsl.evaluate("atent_linf", attacked_by=["atent_linf,sampler.attack.moves=1"], **subject)
    assert list(said["attacks"]) == ["atent_linf,sampler.attack.moves=1"]


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ("pdg-20", RecipeError, "there is no attack `pdg-20`"),
        ("atent_lnf", RecipeError, "atent_lnf"),
        ("nowhere/mine.toml", RecipeError, "nowhere/mine.toml"),
        ("atent_linf,sampler.attack.movs=1", RecipeError, "movs"),
        ("pgd-20,restarts=x", RecipeError, "cannot be `x`"),
        ("sgd", UnsuitedAttack, "it attacks by its samplers, and there is none"),
    ],
)
def test_what_cannot_attack_is_said(subject, asked, error, said):
    with pytest.raises(error, match=said):
        atentdsl.evaluate("atent_linf", attacked_by=[asked], **subject)


def test_two_wrong_names_are_said_at_once(subject):
    with pytest.raises(RecipeError) as caught:
        atentdsl.evaluate("atent_linf", attacked_by=["pdg-20", "fgsm,restarts=2"], **subject)
    assert len(caught.value.diagnostics) == 2
    assert all(d.help for d in caught.value.diagnostics)


def test_a_name_is_told_from_a_recipe():
    assert all(attacking.is_recipe(name) for name in shipped.names())
    assert all(attacking.is_recipe(f"{name},evaluate.batch=3") for name in shipped.names())
    assert not any(attacking.is_recipe(name) for name in ("pgd-20", "fgsm", "table2-pgd", "autoattack", "", "é"))
    mutant = edited(attacking, 'source = text.split(",")[0]', "source = text")
    assert not mutant.is_recipe("sgd,evaluate.batch=3")
