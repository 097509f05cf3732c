"""Schedules in place of numbers: where they may stand, what is said of wrong ones, and what needs a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recipe.recipe_texts import TEXT

from atentdsl.codegen import generate
from atentdsl.recipe import load
from atentdsl.recipe.threat import threat
from atentdsl.source import Diagnostic, RecipeError

PLACES = {
    "step_size": ("step_size = 0.01", "step_size = {}", ("sampler", 0, "kernel", "step_size")),
    "noise": ("noise = 1e-3", "noise = {}", ("sampler", 0, "kernel", "noise")),
    "mu": ('drift = "sign"', "momentum.mu = {}", ("sampler", 0, "kernel", "momentum", "mu")),
    "radius of a ball": (
        '"linf_ball"\nradius = 0.1',
        '"linf_ball"\nradius = {}',
        ("sampler", 0, "projection", 0, "radius"),
    ),
    "radius of a start": ('"corner"\nradius = 0.1', '"corner"\nradius = {}', ("sampler", 0, "start", "radius")),
    "gamma": ("gamma = 0.5", "gamma = {}", ("sampler", 0, "target", "coupling", "gamma")),
    "beta": ("[sampler.target]", "[sampler.target]\nbeta = {}", ("sampler", 0, "target", "beta")),
    "momentum": ("momentum = 0.9", "momentum = {}", ("optimizer", "momentum")),
    "clip": ("momentum = 0.9", "clip = {}", ("optimizer", "clip")),
    "weight_decay": ("momentum = 0.9", "weight_decay = {}", ("optimizer", "weight_decay")),
}
RADIUS = ("[evaluate]", "[evaluate]\nradius = 0.1")  # a ball that changes gives the attacks none
MOVING = {"step_size", "noise", "mu", "radius of a ball", "gamma", "beta"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edited(*pairs: tuple[str, str]) -> str:
    text = TEXT
    for before, after in pairs:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    Path("mine.toml").write_text(text, encoding="utf-8")
    return "mine.toml"


def wrong(*pairs: tuple[str, str]) -> Diagnostic:
    with pytest.raises(RecipeError) as caught:
        load(edited(*pairs))
    (mistake,) = caught.value.diagnostics
    return mistake


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


SCHEDULES = {
    "constant": ('{ kind = "constant", value = 0.5 }', {"kind": "constant", "over": "epochs", "value": 0.5}),
    "linear": (
        '{ kind = "linear", start = 0, end = 0.9, over = "steps", length = 7 }',
        {"kind": "linear", "over": "steps", "start": 0.0, "end": 0.9, "length": 7},
    ),
    "cosine": ('{ kind = "cosine", start = 0.9 }', {"kind": "cosine", "over": "epochs", "start": 0.9, "end": 0.0}),
    "piecewise": (
        '{ kind = "piecewise", at = [1, 2], value = [0.9, 0.1] }',
        {"kind": "piecewise", "over": "epochs", "at": [1, 2], "value": [0.9, 0.1]},
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_stands_in_place_of_a_number(place, schedule):
    (before, after, path), (text, value) = PLACES[place], SCHEDULES[schedule]
    recipe = load(edited((before, after.format(text)), RADIUS))
    assert at(recipe.values(), path) == value
    assert load(recipe.values()).values() == recipe.values()
    assert generate(recipe).text


@pytest.mark.parametrize("place", PLACES)
def test_over_moves_where_something_moves(place):
    before, after, path = PLACES[place]
    pairs = (before, after.format('{ kind = "linear", start = 0.1, end = 0.2, over = "moves" }')), RADIUS
    if place in MOVING:
        recipe = load(edited(*pairs))
        assert at(recipe.values(), path)["over"] == "moves"
        assert generate(recipe).text
        assert generate(load(recipe, ["sampler.attack.moves=0", "sampler.attack.averaging={kind='last'}"])).text
    else:
        mistake = wrong(*pairs)
        assert (mistake.code, mistake.message) == ("inconsistent", f"`{path[-1]}` does not change from move to move")
        assert mistake.help == 'write `over = "epochs"`'


@pytest.mark.parametrize("place", PLACES)
def test_a_lone_number_is_no_table(place):
    before, after, path = PLACES[place]
    assert at(load(edited((before, after.format("0.5")), RADIUS)).values(), path) == 0.5


# Each with what it makes of `step_size`, in line 20: code, column, message, label, help.
WRONG = {
    "a kind unknown": (
        '{ kind = "lineer", start = 0.1, end = 0.2 }',
        ("unknown-value", 22, 'unknown schedule `kind`: `"lineer"`', ""),
        "did you mean `linear`?  accepted: constant, cosine, cyclic, linear, piecewise",
    ),
    "a kind forgotten": (
        "{ start = 0.1, end = 0.2 }",
        ("missing-key", 1, "`[sampler.kernel.step_size]` needs `kind`", ""),
        "add `kind = …`, one of: constant, cosine, cyclic, linear, piecewise",
    ),
    "a key unknown": (
        '{ kind = "linear", start = 0.1, ends = 0.2 }',
        ("unknown-key", 45, "unknown key `ends` in schedule `linear`", "not a parameter of `linear`"),
        "did you mean `end`?  accepted: over, start, end, length",
    ),
    "a key of another kind": (
        '{ kind = "linear", start = 0.1, end = 0.2, value = 3 }',
        ("unknown-key", 56, "unknown key `value` in schedule `linear`", "not a parameter of `linear`"),
        "`value` is a parameter of `constant` and `piecewise`.  accepted: over, start, end, length",
    ),
    "a key missing": (
        '{ kind = "linear", start = 0.1 }',
        ("missing-key", 1, "schedule `linear` needs `end`", ""),
        "add `end = …`: the number after `length`",
    ),
    "a word unknown": (
        '{ kind = "cosine", start = 0.1, over = "epoch" }',
        ("unknown-value", 52, 'unknown `over`: `"epoch"`', ""),
        "did you mean `epochs`?  accepted: epochs, steps, moves",
    ),
    "a number below zero": (
        '{ kind = "linear", start = -0.1, end = 0.2 }',
        ("out-of-range", 40, "`start` must be at least 0", ""),
        "accepted: start >= 0",
    ),
    "a number that is not one": (
        '{ kind = "linear", start = 0.1, end = nan }',
        ("out-of-range", 51, "`end` must be a finite number", "this is not"),
        "accepted: end >= 0",
    ),
    "a number too large": (
        '{ kind = "linear", start = 0.1, end = 1e39 }',
        ("out-of-range", 51, "`end` is too large to compute with", ""),
        "accepted: end <= 1e+30",
    ),
    "a number in quotes inside it": (
        '{ kind = "linear", start = "0.1", end = 0.2 }',
        ("wrong-type", 40, "`start` must be a number", "this is a string"),
        "write 0.1 without quotes",
    ),
    "steps without a length": (
        '{ kind = "linear", start = 0.1, end = 0.2, over = "steps" }',
        ("inconsistent", 56, "a line over steps needs a length", ""),
        "set `length`, the number of steps it takes",
    ),
    "entries that do not rise": (
        '{ kind = "piecewise", at = [1, 1], value = [0.1, 0.2] }',
        ("inconsistent", 35, "the entries of `at` rise", ""),
        "write `at = [1]`",
    ),
    "a number in quotes": (
        '"0.1"',
        ("wrong-type", 13, "`step_size` must be a number", "this is a string"),
        "write 0.1 without quotes",
    ),
    "a word": ('"linear"', ("wrong-type", 13, "`step_size` must be a number", "this is a string"), "numbers stand"),
    "an array": ("[0.1]", ("wrong-type", 13, "`step_size` must be a number", "this is an array"), "write a number"),
    "a truth value": ("true", ("wrong-type", 13, "`step_size` must be a number", "this is a truth value"), "write a"),
    "zero": ("0", ("out-of-range", 13, "`step_size` must be above 0", ""), "accepted: step_size > 0"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_schedule_is_one_diagnostic_at_its_place(case):
    value, (code, column, message, label), mend = case
    mistake = wrong(("step_size = 0.01", f"step_size = {value}"))
    assert (mistake.code, mistake.message, mistake.label) == (code, message, label)
    assert mistake.span is not None
    assert (mistake.span.file, mistake.span.line, mistake.span.column) == ("mine.toml", 20, column)
    assert mistake.help is not None
    assert mistake.help.startswith(mend)


@pytest.mark.parametrize(
    ("value", "column"),
    [
        ('{ kind = "linear", start = 0.5, end = 1.5 }', 51),
        ('{ kind = "linear", length = 2, start = 2, end = 0 }', 52),
        ('{ kind = "cosine", start = 1.0, over = "moves" }', 40),
        ('{ kind = "constant", value = 1 }', 42),
        ('{ kind = "piecewise", at = [1, 3], value = [0.9, 1.5] }', 62),
    ],
)
def test_a_bound_holds_at_every_end_of_a_schedule(value, column):
    mistake = wrong(('drift = "sign"', f"momentum.mu = {value}"))
    assert (mistake.code, mistake.message) == ("out-of-range", "`mu` must be below 1")
    assert (mistake.label, mistake.help) == ("its schedule says this", "accepted: 0 <= mu < 1")
    assert mistake.span is not None
    assert (mistake.span.line, mistake.span.column) == (22, column + 2)


def test_a_bound_holds_for_a_schedule_that_an_override_sets():
    with pytest.raises(RecipeError) as caught:
        load(edited(), ["optimizer.momentum={kind='linear', start=0.5, end=1.5}"])
    (mistake,) = caught.value.diagnostics
    assert mistake.span is not None
    assert mistake.message == "`momentum` must be below 1"
    assert (mistake.span.file[:6], mistake.span.line) == ("--set ", 1)
    recipe = load(edited(), ["optimizer.momentum={kind='linear', start=0.5, end=0.9}", "optimizer.momentum.end=0.8"])
    assert recipe.optimizer.momentum.end == 0.8


def test_a_schedule_may_end_at_zero_where_a_number_may_not_be_zero():
    recipe = load(edited(("step_size = 0.01", 'step_size = { kind = "cosine", start = 0.1, over = "moves" }')))
    assert recipe.samplers[0].kernel.step_size.end == 0


def test_a_schedule_merges_with_one_of_its_kind_and_replaces_a_number():
    edited(("step_size = 0.01", 'step_size = { kind = "linear", start = 0.1, end = 0.2 }'))
    over = 'schema = 1\n[recipe]\nname = "own"\nextends = "mine.toml"\n[[sampler]]\nname = "attack"\n[sampler.kernel]\n'
    Path("own.toml").write_text(f"{over}step_size.end = 0.3\nnoise = {{ kind = 'cosine', start = 1 }}\n")
    kernel = load("own.toml").samplers[0].kernel
    assert (kernel.step_size.start, kernel.step_size.end, kernel.noise.kind) == (0.1, 0.3, "cosine")
    Path("own.toml").write_text(f"{over}step_size = 0.5\n")
    assert load("own.toml").samplers[0].kernel.step_size == 0.5


def test_look_ahead_needs_a_momentum_that_is_a_number():
    schedule = ("momentum = 0.9", 'momentum = { kind = "linear", start = 0, end = 0.9 }\nnesterov = true')
    mistake = wrong(schedule)
    assert (mistake.code, mistake.span and mistake.span.line) == ("inconsistent", 34)
    assert mistake.help == "write `momentum` as a number, or drop `nesterov`"
    assert load(edited(("momentum = 0.9", "momentum = 0.9\nnesterov = true"))).optimizer.nesterov


GROWING = ('"linf_ball"\nradius = 0.1', '"linf_ball"\nradius = { kind = "linear", start = 0, end = 0.1 }')


def test_a_ball_that_changes_gives_the_attacks_no_radius():
    mistake = wrong(GROWING)
    assert (mistake.code, mistake.message) == (
        "inconsistent",
        "the attacks have no radius: the sampler's ball changes its own",
    )
    assert mistake.span is not None
    assert mistake.context is not None
    assert (mistake.span.file, mistake.span.line, mistake.span.column) == ("mine.toml", 35, 1)
    assert (mistake.context[0].line, mistake.context[1]) == (25, "this is a schedule")
    assert mistake.help == 'set `radius` in `[evaluate]`, or both `attacks = []` and `select = "clean"`'
    recipe = load(edited(GROWING, RADIUS))
    ball = threat(recipe.evaluate, recipe.samplers)
    assert ball is not None
    assert (ball.norm, ball.radius) == ("linf", 0.1)
    assert load(edited(GROWING, ('attacks = ["pgd-20"]', 'attacks = []\nselect = "clean"'))).evaluate.attacks == []


def test_without_a_table_evaluate_it_is_asked_for_at_the_top():
    mistake = wrong(GROWING, ('[evaluate]\nattacks = ["pgd-20"]\n', ""))
    assert mistake.message == "the attacks have no radius: the sampler's ball changes its own"
    assert (mistake.span and mistake.span.line, mistake.context and mistake.context[0].line) == (1, 25)


def test_a_second_ball_that_stays_gives_the_radius():
    second = ("[sampler.averaging]", '[[sampler.projection]]\nkind = "linf_ball"\nradius = 0.3\n[sampler.averaging]')
    recipe = load(edited(GROWING, second))
    ball = threat(recipe.evaluate, recipe.samplers)
    assert ball is not None
    assert (ball.norm, ball.radius, ball.path) == ("linf", 0.3, ("sampler", 0, "projection", 1, "radius"))


def test_a_ball_of_weights_is_no_threat():
    weights = '[[sampler]]\nspace = "weights"\nmoves = 1\ntarget.direction = "ascend"\nkernel.step_size = 0.1\n'
    weights += '[[sampler.projection]]\nkind = "linf_ball"\nradius = 0.7\n[[sampler]]\nname'
    recipe = load(edited(("[[sampler]]\nname", weights)))
    ball = threat(recipe.evaluate, recipe.samplers)
    assert ball is not None
    assert (ball.radius, ball.path[:2]) == (0.1, ("sampler", 1))
    assert recipe.samplers[0].projection[0].radius == 0.7
    mistake = wrong(("[[sampler]]\nname", weights), ('[[sampler.projection]]\nkind = "linf_ball"\nradius = 0.1\n', ""))
    assert (
        mistake.message == "the attacks have no radius: no sampler of data projects onto an l-infinity, l2 or l1 ball"
    )
