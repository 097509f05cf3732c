"""What the agreement check is worth where the network is smoothed: text, runtime and statements with one edit."""

from __future__ import annotations

import importlib
from functools import cache

import pytest
import torch
from codegen.agreement_recipes import BATCHES, MODEL, TABLES, TOLERANCE
from codegen.test_agreement_dropout import Masks

import atentdsl
from atentdsl.codegen import as_module, generate, smoothing
from atentdsl.codegen import module as codegen_module
from atentdsl.passes import optimised
from atentdsl.plan import lower
from atentdsl.runtime import network as passes_of_the_network
from atentdsl.testing import batch, differences, edited, interpreted, network, run_module

RUNTIME = importlib.import_module("atentdsl.runtime.smoothing")
STATEMENTS = importlib.import_module("atentdsl.codegen.statements")

CHAIN = {
    "name": "attack",
    "moves": 3,
    "start": {"kind": "gaussian", "sd": 0.1},
    "kernel": {"step_size": 0.1, "drift": "l2"},
    "projection": [{"kind": "box"}],
}
MEAN = {"kind": "mean"}
WORST = {"kind": "last", "over_restarts": "worst"}
DIVERGENCE = {"target": {"loss": "kl_to_clean"}}
SIGMA = {"kind": "piecewise", "over": "steps", "at": [1, 2], "value": [0.4, 0.3]}
# As published; with draws of its own for every evaluation; merged; and with clean logits, of losses or probabilities.
RECIPES = {
    "as published": {"sampler": [CHAIN], "smoothing": {"sigma": SIGMA, "draws": 2}},
    "redrawn": {
        "sampler": [{**CHAIN, "mode": "train", "averaging": MEAN}],
        "smoothing": {"sigma": 0.4, "draws": 3, "redraw": "evaluation"},
    },
    "merged": {
        "sampler": [{**CHAIN, "mode": "train", "averaging": MEAN}],
        "smoothing": {"sigma": 0.4, "draws": 2, "target": "losses"},
        "compile": {"tolerance": 0.0},
    },
    "of losses": {
        "sampler": [CHAIN | DIVERGENCE | {"restarts": 2, "averaging": WORST}],
        "smoothing": {"sigma": 0.4, "draws": 2, "target": "losses"},
        "objective": {"kind": "mart", "beta": 3.0},
    },
    "of probabilities": {
        "sampler": [CHAIN | DIVERGENCE | {"mode": "frozen", "averaging": MEAN}],
        "smoothing": {"sigma": 0.4, "draws": 2, "objective": "probabilities"},
        "objective": {"kind": "mart", "beta": 3.0},
    },
}


@cache
def recipe(name):
    return atentdsl.load(TABLES | RECIPES[name])


@cache
def text(name):
    return generate(recipe(name)).text


@cache
def meant(name):
    plan = lower(recipe(name))
    return interpreted(optimised(plan, recipe(name).compile) if name == "merged" else plan, MODEL, BATCHES, seed=5)


def agrees(name, module):
    return differences(meant(name), run_module(module, MODEL, BATCHES, seed=5), TOLERANCE) == []


@pytest.mark.parametrize("name", RECIPES)
def test_without_an_edit_they_agree_to_the_last_bit(name):
    module = as_module(text(name), name)
    assert differences(meant(name), run_module(module, MODEL, BATCHES, seed=5)) == []


DRAWN = 'noise = smoothing_noise(rng, "smoothing.noise", x, '
GRADIENT = 'g = input_gradient(model, z, y, cross_entropy, rng, mode="eval", noise=noise, average="probabilities")'
OUTER = 'rng, weight=1.0 / n, noise=noise, average="losses")'
TEXT = {
    "the chain's noise forgotten": ("as published", GRADIENT, GRADIENT.replace("noise=noise", "noise=[]")),
    "the signal's noise forgotten": ("as published", OUTER, OUTER.replace("noise=noise, ", "")),
    "one copy of two": ("as published", GRADIENT, GRADIENT.replace("noise=noise", "noise=noise[:1]")),
    "the chain's average": ("as published", GRADIENT, GRADIENT.replace('"probabilities"', '"losses"')),
    "the signal's average": ("as published", OUTER, OUTER.replace('"losses"', '"probabilities"')),
    "noise that is kept": ("as published", GRADIENT, f"z = z + noise[0]\n            {GRADIENT}"),
    "sigma of the first step": ("as published", "piecewise(rng.step,", "piecewise(1,"),
    "sigma squared": ("merged", "SIGMA = 0.4", "SIGMA = 0.4**2"),
    "another stream": ("as published", '"smoothing.noise"', '"noise"'),
    "no noise": ("merged", "SIGMA = 0.4", "SIGMA = 0.0"),
    "one draw more": ("as published", "DRAWS = 2", "DRAWS = 3"),
    "the signal on the chain's stream": ("redrawn", '"smoothing.signal"', '"smoothing.noise"'),
    "noise of the last evaluation": (
        "redrawn",
        'noise = smoothing_noise(rng, "smoothing.signal"',
        '_ = smoothing_noise(rng, "smoothing.signal"',
    ),
    "clean logits without noise": (
        "of losses",
        'clean = clean_logits(model, x, rng, mode="eval", noise=noise',
        'clean = clean_logits(model, torch.cat([x, x]), rng, mode="eval", noise=[]',
    ),
    "losses without noise": (
        "of losses",
        'example_losses(model, z, clean, kl_to_clean, rng, mode="eval", noise=noise',
        'example_losses(model, z, clean[: len(z)], kl_to_clean, rng, mode="eval", noise=[]',
    ),
    "clean probabilities of one copy": (
        "of probabilities",
        'mode="frozen", noise=noise, average="probabilities")\n',
        'mode="frozen", noise=noise[:1], average="probabilities")\n',
    ),
}


@pytest.mark.parametrize("edit", TEXT)
def test_an_edited_module_is_caught(edit):
    name, old, new = TEXT[edit]
    assert old in text(name), text(name)
    assert old != new
    assert not agrees(name, as_module(text(name).replace(old, new), name))


NETWORK = passes_of_the_network


@pytest.mark.parametrize(
    ("name", "module", "old", "new"),
    [
        ("as published", RUNTIME, "z + each for each", "z for each"),
        ("as published", RUNTIME, "z + each for each", "(z + each).clamp(0, 1) for each"),
        ("as published", RUNTIME, "z + each for each", "z + noise[0] for each"),
        ("as published", RUNTIME, "z + each for each", "z - each for each"),
        ("as published", RUNTIME, "sigma * rng.normal", "sigma**2 * rng.normal"),
        ("redrawn", RUNTIME, "for _ in range(draws)]", "for _ in range(1)] * draws"),
        ("as published", RUNTIME, "torch.logsumexp(each, dim=0)", "each.mean(dim=0)"),
        ("of losses", RUNTIME, "mean(dim=0)", "sum(dim=0)"),
        ("of losses", RUNTIME, "mean(dim=0)", "amax(dim=0)"),
        ("of losses", RUNTIME, "view(draws, -1).mean(dim=0)", "view(-1, draws).mean(dim=1)"),
        ("merged", RUNTIME, "torch.cat([y] * draws)", "y.repeat_interleave(draws)"),
        ("as published", NETWORK, "seen = copies(point, noise)", "seen = copies(point.clamp(0.1, 0.9), noise)"),
        ("of probabilities", NETWORK, "rng, mode, noise, average) for x in", "rng, mode, noise[:1], average) for x in"),
        ("redrawn", NETWORK, "with rng.same_masks(z):", "if True:"),
    ],
)
def test_an_edited_runtime_is_caught(name, module, old, new):
    mutant, own = edited(module, old, new), as_module(text(name), name)
    assert agrees(name, own)
    network_ = mutant if module is NETWORK else edited(NETWORK, '"""The network passes', '"""Network passes')
    if module is RUNTIME:
        vars(network_).update({key: vars(mutant)[key] for key in mutant.__all__ if key in vars(network_)})
        own.smoothing_noise = mutant.smoothing_noise
    vars(own).update({key: value for key, value in vars(network_).items() if key in vars(own) and key.islower()})
    assert not agrees(name, own)


@pytest.mark.parametrize(
    ("name", "module", "old", "new"),
    [
        ("as published", smoothing, "operation.smoothed.average", '"losses"'),
        ("redrawn", smoothing, "{noise.stream}", "smoothing.noise"),
        ("of losses", STATEMENTS, "{smoothing.told(operation)})", ")"),
        (
            "as published",
            STATEMENTS,
            'mode = told if operation.mode == "train"',
            'mode = "" if operation.mode == "train"',
        ),
    ],
)
def test_a_compiler_that_writes_other_statements_is_caught(name, module, old, new, monkeypatch):
    mutant = edited(module, old, new)
    if module is smoothing:
        monkeypatch.setattr(STATEMENTS, "smoothing", mutant)
    else:
        monkeypatch.setattr(codegen_module, "Statements", mutant.Statements)
    try:
        assert not agrees(name, as_module(generate(recipe(name)).text, "mutant"))
    except RuntimeError:  # logits of one row an example where one a copy is compared
        return


@pytest.mark.parametrize("execution", ["interpreted", "compiled"])
def test_the_copies_of_a_point_have_one_mask_together_and_it_is_drawn_again(execution):
    checked = atentdsl.load(TABLES | RECIPES["redrawn"])
    model = network()
    model.insert(3, Masks(0.5))
    Masks.drawn.clear()
    pairs = [batch(count=8)]
    if execution == "interpreted":
        interpreted(lower(checked), model, pairs)
    else:
        run_module(as_module(generate(checked).text, "masks"), model, pairs)
    masks = Masks.drawn
    assert [len(mask) for mask in masks] == [24] * 6  # z^0, then z^1 and z^2 twice each, z^3 once
    for i in (1, 3):
        assert torch.equal(masks[i], masks[i + 1])
    assert not torch.equal(masks[1], masks[3])
    assert not torch.equal(masks[1][:8], masks[1][8:16])


@pytest.mark.parametrize("execution", ["interpreted", "compiled"])
def test_batch_statistics_in_train_mode_are_those_of_all_copies(execution):
    """The running mean after one step: a tenth of the mean of what the first layer makes of all noisy copies."""
    checked = atentdsl.load("sgd", ["smoothing.sigma=0.5", "smoothing.draws=3", "optimizer.lr=1e-300"])
    model, pair = network(batch_norm=True), batch()
    seen = []
    model[1].register_forward_hook(lambda layer, inputs, output: seen.append(output.detach()))
    if execution == "interpreted":
        after = interpreted(lower(checked), model, [pair]).weights
    else:
        after = run_module(as_module(generate(checked).text, "statistics"), model, [pair]).weights
    (output,) = seen
    assert len(output) == 3 * len(pair[0])
    torch.testing.assert_close(after["2.running_mean"], 0.1 * output.mean(dim=0), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(after["2.running_var"], 0.9 + 0.1 * output.var(dim=0), rtol=1e-12, atol=1e-14)
