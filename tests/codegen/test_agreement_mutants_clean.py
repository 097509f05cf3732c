"""What the agreement check is worth where losses read the clean logits: text, lowering and runtime with one edit."""

from __future__ import annotations

import importlib
from functools import cache

import pytest
from codegen.agreement_recipes import BATCHES, MODEL, TABLES, TOLERANCE

import atentdsl
from atentdsl.codegen import as_module, generate, statements
from atentdsl.codegen import module as codegen_module
from atentdsl.passes import share_clean_forward
from atentdsl.plan import PlanError, lower
from atentdsl.recipe.tables import Compile
from atentdsl.runtime import network as passes_of_the_network
from atentdsl.testing import differences, edited, interpreted, run_module

SETTINGS = Compile()

CHAIN = {
    "name": "attack",
    "moves": 3,
    "target": {"loss": "kl_to_clean"},
    "start": {"kind": "gaussian", "sd": 0.1},
    "kernel": {"step_size": 0.1, "drift": "l2"},
}
WEIGHTS = {
    "space": "weights",
    "moves": 2,
    "mode": "frozen",
    "target": {"loss": "signal", "direction": "ascend"},
    "kernel": {"step_size": 0.05, "drift": "layer"},
}
BETA = {"kind": "piecewise", "over": "steps", "at": [1, 2], "value": [2.0, 5.0]}
MEAN = {"kind": "mean"}
# The chain hoisted, with restarts whose losses read the clean logits too, and a beta that changes; a chain in train
# mode under MART, whose every point is handed on; one in frozen mode; and weights that climb the divergence, and
# TRADES, on a chain's points.
RECIPES = {
    "hoisted": TABLES
    | {
        "sampler": [{**CHAIN, "restarts": 2, "averaging": {"kind": "last", "over_restarts": "worst"}}],
        "objective": {"kind": "trades", "beta": BETA},
    },
    "in train mode": TABLES
    | {"sampler": [{**CHAIN, "mode": "train", "averaging": MEAN}], "objective": {"kind": "mart", "beta": 3.0}},
    "in frozen mode": TABLES | {"sampler": [{**CHAIN, "mode": "frozen"}], "objective": {"kind": "trades", "beta": 3.0}},
    "around": TABLES
    | {
        "sampler": [
            {**CHAIN, "averaging": MEAN},
            {**WEIGHTS, "mode": "train", "target": {"loss": "kl_to_clean", "direction": "ascend"}},
            {**WEIGHTS, "name": "again"},
        ],
        "objective": {"kind": "trades", "beta": 2.0},
    },
}


@cache
def recipe(name):
    return atentdsl.load(RECIPES[name])


@cache
def text(name):
    return generate(recipe(name)).text


@cache
def meant(name):
    """The literal plan's execution, after the pass that rounds."""
    return interpreted(share_clean_forward.apply(lower(recipe(name)), SETTINGS), MODEL, BATCHES, seed=5)


def agrees(name, module):
    return differences(meant(name), run_module(module, MODEL, BATCHES, seed=5), TOLERANCE) == []


@pytest.mark.parametrize("name", RECIPES)
def test_without_an_edit_they_agree_to_the_last_bit(name):
    module = as_module(text(name), name)
    assert differences(meant(name), run_module(module, MODEL, BATCHES, seed=5)) == []


KEPT = 'clean = clean_logits(model, x, rng, mode="eval")'
TEXT = {
    "the clean logits of the start": ("hoisted", "clean_logits(model, x, rng", "clean_logits(model, z, rng"),
    "clean logits in train mode": ("hoisted", KEPT, KEPT.replace("eval", "train")),
    "losses against labels": (
        "hoisted",
        "example_losses(model, z, clean, kl_to_clean",
        "example_losses(model, z, y, cross_entropy",
    ),
    "the divergence the other way": (
        "hoisted",
        "return kl_divergence(clean.detach(), logits)",
        "return kl_divergence(logits, clean.detach())",
    ),
    "the outer divergence the other way": (
        "hoisted",
        "kl_divergence(clean_again, logits)",
        "kl_divergence(logits, clean_again)",
    ),
    "a clean branch that is detached": ("hoisted", "kl_divergence(clean_again,", "kl_divergence(clean_again.detach(),"),
    "cross entropy at the point": ("hoisted", "cross_entropy(clean, y)", "cross_entropy(logits, y)"),
    "two forwards": ("hoisted", "reads=2", "reads=2, forwards=2"),
    "clean inputs that are points": ("hoisted", "clean=x", "clean=z"),
    "beta of the first step": ("hoisted", "beta=piecewise(rng.step,", "beta=piecewise(1,"),
    "no beta": ("hoisted", "beta * kl", "kl"),
    "clean logits in eval mode": (
        "in train mode",
        'clean = clean_logits(model, x, rng, mode="train")',
        'clean = clean_logits(model, x, rng, mode="eval")',
    ),
    "statistics of the clean inputs left alone": (
        "in train mode",
        'clean = clean_logits(model, x, rng, mode="train")',
        'clean = clean_logits(model, x, rng, mode="frozen")',
    ),
    "the wrong class for the label": ("in train mode", ".scatter(1, y[:, None], 0.0)", ""),
    "a weight that is detached": ("in train mode", "1.0000001 - confident", "1.0000001 - confident.detach()"),
    "no weight": ("in train mode", "* (1.0000001 - confident)", ""),
    "nothing but the label": ("in train mode", " - torch.log(1.0001 - likeliest_wrong(logits, y) + 1e-12)", ""),
    "another beta": ("in train mode", "OBJECTIVE_BETA = 3.0", "OBJECTIVE_BETA = 3.5"),
    "statistics of the frozen clean inputs": (
        "in frozen mode",
        'clean_logits(model, x, rng, mode="frozen")',
        'clean_logits(model, x, rng, mode="train")',
    ),
    "clean logits of before the weights moved": (
        "around",
        'clean = clean_logits(model, x, rng, mode="train")',
        "clean = clean",
    ),
}


@pytest.mark.parametrize("edit", TEXT)
def test_an_edited_module_is_caught(edit):
    name, old, new = TEXT[edit]
    assert old in text(name), text(name)
    assert old != new
    assert not agrees(name, as_module(text(name).replace(old, new), name))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "hoisted",
            "clean = [_logits(model, x, x, rng, mode, noise, average) for",
            "clean = [_logits(model, z, point, rng, mode, noise, average) for",
        ),
        (
            "in train mode",
            "clean = [_logits(model, x, x, rng, mode, noise, average) for",
            'clean = [_logits(model, x, x, rng, "eval", noise, average) for',
        ),
        (
            "hoisted",
            "clean = [_logits(model, x, x, rng, mode, noise, average) for",
            "clean = [_logits(model, x, x, rng, mode, noise, average).detach() for",
        ),
        ("hoisted", "(clean,) * forwards", "(clean,) * 2"),
        (
            "in train mode",
            "with torch.no_grad(), _in_mode(model, mode):",
            'with torch.no_grad(), _in_mode(model, "frozen"):',
        ),
        ("in train mode", "return _logits(model, x, x, rng", "return _logits(model, x.clone(), x, rng"),
        (
            "in train mode",
            "_losses(model, z, z.detach(), y, loss, rng, mode, noise, average, inputs",
            "_losses(model, z, z.detach(), y, loss, rng, mode, [i.clone() for i in inputs]",
        ),
        ("in frozen mode", '_buffers_apart(model, mode == "frozen")', "_buffers_apart(model, False)"),
        ("around", '_buffers_apart(model, mode == "frozen")', "_buffers_apart(model, False)"),
    ],
)
def test_an_edited_network_pass_is_caught(name, old, new):
    mutant, module = edited(passes_of_the_network, old, new), as_module(text(name), name)
    assert agrees(name, module)
    vars(module).update({key: value for key, value in vars(mutant).items() if key in vars(module) and callable(value)})
    try:
        assert not agrees(name, module)
    except TypeError:  # more clean logits than the loss takes
        return


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("hoisted", ', reads={len(call.clean)}"', ', reads=2, forwards=2"'),
        ("in train mode", 'operation.clean not in {0, "kept"}', "False"),
        ("in train mode", "[self._clean(operation)] if", '[self._clean(operation).replace("train", "eval")] if'),
        ("around", "[self._clean(operation)] if", '[self._clean(operation).replace("train", "frozen")] if'),
    ],
)
def test_a_compiler_that_writes_other_statements_is_caught(name, old, new, monkeypatch):
    monkeypatch.setattr(codegen_module, "Statements", edited(statements, old, new).Statements)
    try:
        assert not agrees(name, as_module(generate(recipe(name)).text, "mutant"))
    except NameError:  # nothing has made the clean logits
        return


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "hoisted",
            'loss, origin = Call("targets", sampler.target.loss)',
            'loss, origin = Call("targets", "cross_entropy")',
        ),
        (
            "in train mode",
            'call("objectives", objective, self._lengths(None))',
            'Call("objectives", "cross_entropy")',
        ),
        (
            "around",
            'weight, at, Call("targets", sampler.target.loss), sampler.mode',
            "weight, at, self._objective, sampler.mode",
        ),
    ],
)
def test_a_compiler_that_lowers_otherwise_is_caught(name, old, new, monkeypatch):
    mutant = edited(importlib.import_module("atentdsl.plan.lower"), old, new)
    try:
        assert mutant.lower(recipe(name)) != lower(recipe(name))
    except PlanError:
        return
    monkeypatch.setattr(codegen_module, "lower", mutant.lower)
    assert not agrees(name, as_module(generate(recipe(name)).text, "mutant"))
