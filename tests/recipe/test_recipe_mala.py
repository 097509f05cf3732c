"""What a Metropolis test asks of a recipe: each breach is said once, at its place, and the mend makes it a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from atentdsl.recipe import load
from atentdsl.source import RecipeError, render

WHOLE = """\
schema = 1
[recipe]
name = "mine"
[data]
name = "digits"
batch = 64
[model]
name = "mlp"
[[sampler]]
name = "chain"
moves = 3
[sampler.target]
coupling = { kind = "l2", gamma = 0.5 }
[sampler.start]
kind = "uniform"
radius = 0.1
projected = true
[sampler.kernel]
kind = "mala"
step_size = 0.01
noise = 0.1
[[sampler.projection]]
kind = "linf_ball"
radius = 0.2
[[sampler.projection]]
kind = "box"
[optimizer]
kind = "sgd"
epochs = 1
lr = 0.1
"""
SETS = WHOLE[WHOLE.index("[[sampler.projection]]") : WHOLE.index("[optimizer]")]
SUPPORT = "under `mala` the projections name the support, "
BEFORE = """\
[[sampler]]
name = "before"
moves = 1
[sampler.kernel]
step_size = 0.1
[[sampler.projection]]
kind = "box"
when = "last"
"""
# Each with what makes it wrong, the line it is said at, the message, and the mend with what it changes.
BREACHES = {
    "a drift": (
        [("noise = 0.1", 'noise = 0.1\ndrift = "sign"')],
        22,
        "`mala` proposes along the energy's gradient as it is, and not along its `sign`",
        'write `drift = "raw"`, or take the kernel `langevin`',
        ('drift = "sign"', 'drift = "raw"'),
    ),
    "the loss alone": (
        [("noise = 0.1", 'noise = 0.1\ncovers = "loss"')],
        22,
        "`mala` proposes along the gradient of the whole energy",
        'write `covers = "energy"`, or drop it',
        ('covers = "loss"', 'covers = "energy"'),
    ),
    "momentum": (
        [("noise = 0.1", "noise = 0.1\nmomentum = { mu = 0.9 }")],
        22,
        "with momentum a proposal depends on the moves before it, and `mala` weighs it by its own two ends",
        "drop `momentum`, or take the kernel `langevin`",
        ("momentum = { mu = 0.9 }", ""),
    ),
    "train mode": (
        [("moves = 3", 'moves = 3\nmode = "train"')],
        12,
        "in `train` mode examples share batch statistics or dropout draws, and none has a density",
        'write `mode = "eval"`, or take the kernel `langevin`',
        ('mode = "train"', 'mode = "eval"'),
    ),
    "frozen statistics": (
        [("moves = 3", 'moves = 3\nmode = "frozen"')],
        12,
        "in `frozen` mode examples share batch statistics or dropout draws, and none has a density",
        'write `mode = "eval"`, or take the kernel `langevin`',
        ('mode = "frozen"', 'mode = "eval"'),
    ),
    "the batch's mean": (
        [("[sampler.target]", '[sampler.target]\nreduction = "batch_mean"')],
        13,
        "`mala` accepts or rejects each example by a density of its own",
        'write `reduction = "per_example"`',
        ('reduction = "batch_mean"', 'reduction = "per_example"'),
    ),
    "a pull per move": (
        [("gamma = 0.5 }", 'gamma = 0.5, per = "move" }')],
        13,
        "a pull per move is no gradient of a density",
        'set `per = "time"`, and `gamma` to the pull divided by the step size',
        ('per = "move"', 'per = "time"'),
    ),
    "no bound": (
        [(SETS, ""), ('coupling = { kind = "l2", gamma = 0.5 }\n', "")],
        18,
        "neither a coupling nor a projection bounds this chain, and its density has no finite mass",
        'add `coupling = { kind = "l2", gamma = 1.0 }` to `[sampler.target]`, or a projection, a ball or the box',
        ("[sampler.target]", '[sampler.target]\ncoupling = { kind = "l2", gamma = 1.0 }'),
    ),
    "a coupling that does not pull": (
        [(SETS, ""), ("gamma = 0.5", "gamma = 0")],
        19,
        "neither a coupling nor a projection bounds this chain, and its density has no finite mass",
        'add `coupling = { kind = "l2", gamma = 1.0 }` to `[sampler.target]`, or a projection, a ball or the box',
        ("gamma = 0", "gamma = 1.0"),
    ),
    "a set for the last move alone": (
        [("radius = 0.2", 'radius = 0.2\nwhen = "last"')],
        25,
        f"{SUPPORT}which holds at every move",
        'write `when = "every"`, or drop it',
        ('when = "last"', 'when = "every"'),
    ),
    "a clip of the increment": (
        [('kind = "linf_ball"', 'kind = "increment_clip"')],
        23,
        f"{SUPPORT}and `increment_clip` bounds a move, not a set",
        "take a ball or the box, or the kernel `langevin`",
        ('kind = "increment_clip"', 'kind = "l2_ball"'),
    ),
    "a set that changes within a chain": (
        [("radius = 0.2", 'radius = { kind = "linear", start = 0.1, end = 0.2, over = "moves" }')],
        24,
        f"{SUPPORT}and this one changes within a chain",
        'write a number, or `over = "epochs"`',
        ('over = "moves"', 'over = "epochs"'),
    ),
    "a start outside": (
        [("projected = true", "projected = false")],
        14,
        f"{SUPPORT}and this start may lie outside of it",
        "set `projected = true` in `[sampler.start]`",
        ("projected = false", "projected = true"),
    ),
    "weights": (
        [
            ('name = "chain"', 'name = "chain"\nspace = "weights"'),
            ("[sampler.target]", '[sampler.target]\ndirection = "descend"'),
            ('[[sampler.projection]]\nkind = "box"\n', ""),
        ],
        11,
        "`mala` accepts or rejects each example's point, and weights have one for the batch",
        'write `space = "data"`, or take the kernel `langevin`',
        ('space = "weights"', 'space = "data"'),
    ),
    "an anchor outside of the box": (
        [("[[sampler]]\nname", f"{BEFORE}[[sampler]]\nname")],
        34,
        "under `mala` the box is part of the support, and the anchor may lie outside of it",
        "end the projections of each sampler before it with a `box`, its start with `projected = true`",
        ('when = "last"\n', ""),
    ),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def edited(text, pairs):
    for before, after in pairs:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text + '[evaluate]\nattacks = []\nselect = "clean"\n'


def mistakes(text):
    Path("mine.toml").write_text(text, encoding="utf-8")
    try:
        load("mine.toml")
    except RecipeError as error:
        render(error)
        return tuple(error.diagnostics)
    return ()


def test_without_a_breach_it_is_a_recipe():
    assert mistakes(edited(WHOLE, [])) == ()
    assert mistakes(edited(WHOLE, [(SETS, "")])) == ()
    assert mistakes(edited(WHOLE, [('coupling = { kind = "l2", gamma = 0.5 }\n', "")])) == ()
    at_its_anchor = 'kind = "uniform"\nradius = 0.1\nprojected = true'
    assert mistakes(edited(WHOLE, [(at_its_anchor, 'kind = "zero"')])) == ()


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_said_once_at_its_place_and_mended(name):
    pairs, line, message, mend, change = BREACHES[name]
    text = edited(WHOLE, pairs)
    (found,) = mistakes(text)
    assert (found.code, found.message, found.help) == ("inconsistent", message, mend)
    assert found.span.line == line, text.splitlines()[found.span.line - 1]
    assert text.count(change[0]) == 1
    assert mistakes(text.replace(*change)) == ()


def test_a_temperature_of_zero_is_out_of_range():
    (found,) = mistakes(edited(WHOLE, [("noise = 0.1", "noise = 0")]))
    assert (found.code, found.span.line) == ("out-of-range", 21)


def test_several_breaches_are_said_at_once():
    pairs = [("noise = 0.1", 'noise = 0.1\ndrift = "l2"'), ("radius = 0.2", 'radius = 0.2\nwhen = "last"')]
    assert len(mistakes(edited(WHOLE, pairs))) == 2
