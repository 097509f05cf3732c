"""Names of attacks: what they say, what is said of wrong ones, and the ball that each is confined to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recipe.recipe_texts import TEXT

from atentdsl.evaluation import attacks
from atentdsl.evaluation.sampling import SamplerAttack
from atentdsl.recipe import attack_names, load, threat_of
from atentdsl.recipe.attack_names import (
    KEYS,
    KNOWN_NORMS,
    NORMS,
    OWN,
    PRESETS,
    WRITTEN,
    NotAnAttack,
    attack_name,
    names,
)
from atentdsl.source import RecipeError
from atentdsl.testing.mutants import edited


def wrong(text: str, file: str = "mine.toml") -> RecipeError:
    Path(file).write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load(file)
    return caught.value


def evaluating(table: str) -> str:
    assert TEXT.count('attacks = ["pgd-20"]') == 1
    return TEXT.replace('attacks = ["pgd-20"]', table)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The published settings, written out: kind, steps, norm, radius, step size, restarts.
PUBLISHED = {
    "table1-pgd": ("pgd", 40, "l2", 2.0, 0.25, 10),
    "table1-cw": ("cw", 0, "l2", 2.0, None, None),
    "table2-pgd": ("pgd", 20, "linf", 0.3, 0.01, None),
    "table2-pgd-code": ("pgd", 40, "linf", 0.3, 0.01, None),
    "table2-cw": ("cw", 0, "linf", 0.3, None, None),
    "table3-pgd": ("pgd", 20, "linf", 0.031, 0.003, None),
    "table3-cw": ("cw", 0, "linf", 0.031, None, None),
    "table3-deepfool": ("deepfool", 0, "linf", 0.031, None, None),
    "table4-pgd": ("pgd", 10, "l2", 0.5, 0.125, None),
    "table4-pgd-1": ("pgd", 10, "l2", 1.0, 0.25, None),
    "table6-pgd-2": ("pgd", 20, "linf", 0.00784, 0.003, None),
    "table6-pgd-4": ("pgd", 20, "linf", 0.01569, 0.003, None),
    "table6-pgd-8": ("pgd", 20, "linf", 0.03137, 0.003, None),
    "table6-pgd-12": ("pgd", 20, "linf", 0.04706, 0.003, None),
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_as_published_and_compiles_whatever_the_recipe_is_evaluated_by(name):
    said = attack_name(name)
    assert (said.kind, said.steps, said.norm, said.radius, said.step_size, said.restarts) == PUBLISHED[name]
    assert said.text == name
    for overrides in ([], ["evaluate.radius=0.07", "evaluate.norm=l1"]):
        recipe = load("atent_linf", [f"evaluate.attacks=['{name}']", "evaluate.select=last", *overrides])
        if said.kind == "deepfool" or (said.kind, said.norm) == ("cw", "l2"):
            pytest.importorskip("foolbox")
        (made,) = attacks(recipe, 10)
        assert (made.ball.norm, made.ball.radius) == PUBLISHED[name][2:4]
        if isinstance(made, SamplerAttack):
            assert f"Compiled from {name} by" in made.compiled.text
            assert made.settings()["steps"] == (said.steps or 100)


def test_no_preset_is_left_out_here():
    assert set(PUBLISHED) == set(PRESETS)


@pytest.mark.parametrize("kind", [name for name in names() if name not in PRESETS])
@pytest.mark.parametrize("norm", NORMS)
def test_every_kind_in_every_norm_parses_and_checks_or_says_why_not(kind, norm):
    text = f"{kind.replace('N', '3')},norm={norm},radius=0.5"
    evaluated = "atent_linf" if kind == OWN else "sgd"  # which has no samplers of its own
    if norm not in KNOWN_NORMS.get(kind, NORMS):
        with pytest.raises(NotAnAttack, match=r"`norm` of .* cannot be `l1`") as caught:
            attack_name(text)
        assert caught.value.mend == "write one of: linf, l2"
        return
    recipe = load(evaluated, [f"evaluate.attacks=['{text}']", "evaluate.select=last"])
    (made,) = attacks(recipe, 10)
    assert (made.name, made.ball.norm, made.ball.radius) == (text, norm, 0.5)


WORDS = [
    "norm",
    "radius",
    "loss",
    "restarts",
    "step_size",
    "l2",
    "linf",
    "dlr",
    "0.3",
    "1e-3",
    "nan",
    "inf",
    "-1",
    "1001",
]
MARKS = ["=", ",", "-", "", " ", "é", "\n"]
pieces = st.sampled_from([*KEYS, *PRESETS, "pgd-", "pgd-7", "pgd-0", *WORDS, *MARKS, *MARKS])


@settings(max_examples=500)
@given(st.one_of(st.text(max_size=30), st.lists(pieces, max_size=9).map("".join)))
@example("pgd-20,radius=0.1,radius=0.2")
@example("pgd-20,restarts=1.5")
@example("pgd-20,radius=nan")
def test_any_text_is_an_attack_or_is_refused_with_a_mend(text):
    try:
        said = attack_name(text)
    except NotAnAttack:
        with pytest.raises(NotAnAttack, match=r"\S") as caught:
            attack_name(text)
        assert caught.value.mend
        return
    assert said.kind in KEYS
    assert said.text == text
    assert said.radius is None or 0 <= said.radius <= 1000
    assert said.step_size is None or 0 < said.step_size <= 1000
    assert said.restarts is None or 1 <= said.restarts <= 1000
    assert said.norm is None or said.norm in KNOWN_NORMS.get(said.kind, NORMS)
    assert (said.steps > 0) == (said.kind in ("pgd", "fgsm"))


@settings(max_examples=100)
@given(
    st.integers(1, 9999),
    st.permutations(["norm", "radius", "step_size", "restarts", "loss"]),
    st.integers(0, 5),
    st.floats(1e-6, 1000),
)
def test_settings_are_read_in_any_order(steps, order, many, number):
    values = {"norm": "l2", "radius": number, "step_size": number / 2, "restarts": 7, "loss": "dlr"}
    kept = order[:many]
    said = attack_name(f"pgd-{steps}" + "".join(f",{key}={values[key]}" for key in kept))
    assert said.steps == steps
    for key, value in values.items():
        assert getattr(said, key) == (value if key in kept else "cross_entropy" if key == "loss" else None)
    assert bool(WRITTEN.fullmatch(said.text)), "what is an attack can be written in a recipe"


@pytest.mark.parametrize(
    ("text", "said", "mend"),
    [
        ("pdg-20", "there is no attack `pdg-20`", "there are: pgd-N, fgsm, cw, deepfool, sampler, autoattack"),
        ("pgd", "there is no attack `pgd`", "did you mean `pgd-20`?"),
        ("pgd-0", "there is no attack `pgd-0`", "did you mean `pgd-20`?"),
        ("autoatack", "there is no attack `autoatack`", "did you mean `autoattack`?"),
        ("pgd-20,restart=3", "`pgd` has no setting `restart`", "did you mean `restarts`?"),
        ("fgsm,restarts=3", "`fgsm` has no setting `restarts`", "it has: norm, radius, loss"),
        ("pgd-20,loss=ce", "`loss` of `pgd` cannot be `ce`", "write one of: cross_entropy, dlr, margin"),
        ("pgd-20,restarts=0", "`restarts` of `pgd` cannot be `0`", "write a number above 0 to 1,000"),
        ("pgd-20,radius=-1", "`radius` of `pgd` cannot be `-1`", "write a number from 0 to 1,000"),
        ("pgd-20,radius=0.1,radius=0.2", "`pgd-20` is given `radius` twice", "write it once"),
        ("deepfool,norm=l1", "`norm` of `deepfool` cannot be `l1`", "write one of: linf, l2"),
    ],
)
def test_what_is_said_of_a_wrong_name(text, said, mend):
    with pytest.raises(NotAnAttack) as caught:
        attack_name(text)
    assert str(caught.value) == said
    assert caught.value.mend.startswith(mend)


def test_a_presets_setting_may_be_replaced_once():
    assert attack_name("table1-pgd,restarts=2").restarts == 2
    with pytest.raises(NotAnAttack, match="twice"):
        attack_name("table1-pgd,restarts=2,restarts=3")
    mutant = edited(attack_names, "settings = own + settings", "settings = settings + own")
    assert mutant.attack_name("table1-pgd,restarts=2").restarts == 10


def test_all_that_is_wrong_is_said_at_once_with_its_place_and_mend(here):
    """The table begins in line 34 of the recipe, so the list does in line 35."""
    names_ = '["pgd-20", "pdg-20", "fgsm,restarts=2", "cw,norm=l1", "deepfool,radius=x"]'
    error = wrong(evaluating(f"attacks = {names_}"))
    line = f"attacks = {names_}"
    found = [(d.span.line, d.span.column) for d in error.diagnostics]
    expected = ("pdg-20", "fgsm,restarts=2", "cw,norm=l1", "deepfool,radius=x")
    assert sorted(found) == [(35, line.index(f'"{text}"') + 1) for text in expected]
    assert all(d.code == "unknown-value" and d.help for d in error.diagnostics)


@pytest.mark.parametrize(
    ("table", "said", "mend"),
    [
        (
            'attacks = ["deepfool"]\nnorm = "l1"\nradius = 1.0\nselect = "last"',
            "`deepfool` knows no perturbations in l1",
            "write `deepfool,norm=linf,radius=…`, or take another attack",
        ),
        (
            'attacks = ["pgd-20", "pgd-20,norm=l2"]\nradius = 0.1',
            "`pgd-20,norm=l2` has no radius: `[evaluate]` has one in linf",
            "write `pgd-20,norm=l2,radius=…`",
        ),
        (
            'attacks = ["pgd-20,radius=8"]',
            "the radius of `pgd-20,radius=8` is larger than the inputs' range",
            "inputs are in [0, 1]: for 8/255 write 0.031372549",
        ),
        (
            'attacks = ["pgd-20", "mine/atent.toml"]',
            '`attacks[1]` cannot be `"mine/atent.toml"`',
            "write a name of `atentdsl list attacks`, settings behind it as in `pgd-9,restarts=2`; the recipe's own "
            "samplers are `sampler`, and another's attack by `--attack`",
        ),
        ('attacks = ["fgsm", "fgsm"]', "an attack is named twice", "name each attack once"),
        (
            'attacks = ["autoattack"]\nselect = "robust"',
            "robust accuracy cannot select a checkpoint without an attack that training can be watched by",
            'name a `pgd-N` or `fgsm` among the attacks, or set `select = "clean"`',
        ),
    ],
)
def test_what_is_said_of_attacks_that_nothing_confines(here, table, said, mend):
    error = wrong(evaluating(table))
    assert [(d.message, d.help) for d in error.diagnostics] == [(said, mend)]
    assert error.diagnostics[0].span.line >= 35


BALLS = """
[[sampler.projection]]
kind = "l2_ball"
radius = 0.7
"""


def ball(attack: str, evaluate: str = "", samplers: str = "") -> tuple[str, float]:
    text = evaluating(f'attacks = []\nselect = "last"\n{evaluate}')
    text = text.replace("[sampler.averaging]", samplers + "[sampler.averaging]")
    Path("mine.toml").write_text(text)
    recipe = load("mine.toml")
    found = threat_of(attack_name(attack), recipe.evaluate, recipe.samplers)
    assert found is not None
    return found.norm, found.radius


def test_the_ball_is_its_own_or_all_attacks_or_the_samplers_of_its_norm(here):
    assert ball("pgd-20") == ("linf", 0.1)
    assert ball("pgd-20,radius=0.3") == ("linf", 0.3)
    assert ball("pgd-20,norm=l2,radius=0.3") == ("l2", 0.3)
    assert ball("pgd-20", "radius = 0.2") == ("linf", 0.2)
    assert ball("pgd-20", 'norm = "l1"\nradius = 3.0') == ("l1", 3.0)
    assert ball("pgd-20,norm=linf", 'norm = "l1"\nradius = 3.0') == ("linf", 0.1)
    assert ball("pgd-20,radius=0.0", "radius = 0.2") == ("linf", 0.0)
    assert ball("pgd-20", "", BALLS) == ("linf", 0.1)
    assert ball("pgd-20,norm=l2", "", BALLS) == ("l2", 0.7)
    assert ball("pgd-20,norm=l2", "radius = 0.2", BALLS) == ("l2", 0.7)
    assert ball("pgd-20", 'norm = "l2"', BALLS) == ("l2", 0.7)
    assert ball("pgd-20,norm=linf", 'norm = "l2"', BALLS) == ("linf", 0.1)
