"""What the agreement check is worth: shipped text and shipped source, each with one edit that must be caught."""

from __future__ import annotations

import importlib

import pytest

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.codegen import module as codegen_module
from atentdsl.passes import freeze_weights, roll, stages
from atentdsl.plan import PlanError, lower, verify
from atentdsl.runtime import network as passes_of_the_network
from atentdsl.runtime import streams
from atentdsl.testing import batch, differences, edited, interpreted, network, run_module

BATCHES = [batch(seed=1), batch(count=3, seed=2)]
MODEL = network(dropout=0.4, batch_norm=True)
TOLERANCE = 1e-10

# A recipe in which every part below is at work.
FULL = {
    "schema": 1,
    "recipe": {"name": "full"},
    "data": {"name": "digits", "batch": 4},
    "model": {"name": "mlp"},
    "sampler": [
        {
            "moves": 4,
            "mode": "train",
            "target": {"beta": 1.5, "reduction": "batch_mean", "coupling": {"kind": "l2", "gamma": 0.3}},
            "start": {"kind": "uniform", "radius": 0.2, "projected": True},
            "kernel": {"kind": "langevin", "step_size": 0.1, "noise": 0.2, "drift": "l2", "covers": "energy"},
            "projection": [
                {"kind": "linf_ball", "radius": 0.15},
                {"kind": "increment_clip", "radius": 0.02, "when": "last"},
                {"kind": "box"},
            ],
            "averaging": {"kind": "exponential", "alpha": 0.4},
        }
    ],
    "optimizer": {"kind": "sgd", "epochs": 1, "lr": 0.5, "momentum": 0.5},
    "evaluate": {"attacks": [], "select": "clean"},
}


def recipe(name):
    if name == "full in eval mode":
        return atentdsl.load(FULL, ['sampler.data.mode="eval"'])
    return atentdsl.load(FULL if name == "full" else name)


def agrees(literal, module, **named):
    one = interpreted(literal, MODEL, BATCHES, seed=5)
    return differences(one, run_module(module, MODEL, BATCHES, seed=5, **named), TOLERANCE) == []


@pytest.mark.parametrize(
    "name", ["full", "full in eval mode", "atent_linf", "atent_linf_literal", "pgd_at_linf", "sgd"]
)
@pytest.mark.parametrize("goal", ["train", "draw"])
def test_without_an_edit_they_agree(name, goal):
    made = generate(recipe(name), goal)
    assert agrees(lower(recipe(name), goal), as_module(made.text, name))


TEXT = {
    "the drift's sign": ("atent_linf", "return z + step_size * drift", "return z - step_size * drift"),
    "the drift's sign, without noise": ("pgd_at_linf", "return z + step_size", "return z - step_size"),
    "noise off by sqrt 2": ("full", "math.sqrt(2 * step_size)", "math.sqrt(step_size)"),
    "no noise": ("atent_linf", ", NOISE)", ", 0.0)"),
    "the coupling pushes": ("full", "return gamma * (anchor - z)", "return gamma * (z - anchor)"),
    "the coupling doubled": ("full", "return gamma * (anchor - z)", "return 2 * gamma * (anchor - z)"),
    "the start's radius halved": ("full", "radius * (2 * u - 1)", "radius * (u - 0.5)"),
    "another start": ("atent_linf", 'rng.normal("attack.start", x)', 'rng.normal("attack.noise", x)'),
    "coefficients off by one step": (
        "full",
        "COEFFICIENTS = (0.0864, 0.144, 0.24)",
        "COEFFICIENTS = (0.144, 0.24, 0.4)",
    ),
    "the last coefficient": ("full", "COEFFICIENT = 0.4", "COEFFICIENT = 0.24"),
    "a projection forgotten": ("atent_linf", "z = linf_ball(z, x, LINF_BALL_RADIUS)", "pass"),
    "the box forgotten": ("pgd_at_linf", "            z = box(z)", "            pass"),
    "the start not projected": ("full", "\n    z = linf_ball(z, x, LINF_BALL_RADIUS)\n", "\n"),
    "the ball around the wrong point": ("atent_linf", "z = linf_ball(z, x,", "z = linf_ball(z, z,"),
    "the clip from the wrong point": ("full", "z = increment_clip(z, old,", "z = increment_clip(z, x,"),
    "no mean over the batch in the drift": ("full", "BETA * g / n", "BETA * g"),
    "no mean over the batch in the signal": ("atent_linf", "weight=c / n", "weight=c"),
    "no beta": ("full", "BETA * g / n", "g / n"),
    "the drift covers the loss alone": (
        "full",
        "unit_l2(BETA * g / n + l2_pull(z, x, GAMMA))",
        "unit_l2(BETA * g / n) + l2_pull(z, x, GAMMA)",
    ),
    "no normalisation": ("full", "return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)", "return g"),
    "eval mode for train mode": ("atent_linf", 'mode="train"', 'mode="eval"'),
    "one move too few": ("pgd_at_linf", "TURNS = 10", "TURNS = 9"),
    "the gradient at the clean point": ("pgd_at_linf", "input_gradient(model, z, y", "input_gradient(model, x, y"),
    "the signal at the clean point": ("pgd_at_linf", "weight_gradient(model, z, y", "weight_gradient(model, x, y"),
    "no update": ("sgd", "optimizer.step()", "pass"),
    "gradients pile up": ("sgd", "optimizer.zero_grad(set_to_none=True)", "pass"),
    "no momentum": ("sgd", "MOMENTUM = 0.9", "MOMENTUM = 0.0"),
    "no weight decay": ("sgd", "WEIGHT_DECAY = 0.0005", "WEIGHT_DECAY = 0.0"),
    "another learning rate": ("full", "LR_VALUE = 0.5", "LR_VALUE = 0.25"),
    "a signal that is not added up": ("atent_linf", "signal += weight_gradient", "signal = weight_gradient"),
}
# An edit that says the same in other words: what must not be caught.
HARMLESS = {
    "other words": ("atent_linf", "weight=c / n", "weight=c * (1 / n)"),
    "nothing frozen": ("pgd_at_linf", "with weights_frozen(model):", "if True:"),
}


def mutant_of_the_text(name, old, new):
    text = generate(recipe(name)).text
    assert old in text, text
    assert old != new
    return as_module(text.replace(old, new), name)


@pytest.mark.parametrize("edit", TEXT)
def test_an_edited_module_is_caught(edit):
    name, old, new = TEXT[edit]
    assert not agrees(lower(recipe(name)), mutant_of_the_text(name, old, new))


@pytest.mark.parametrize("edit", HARMLESS)
def test_a_module_in_other_words_passes(edit):
    name, old, new = HARMLESS[edit]
    assert agrees(lower(recipe(name)), mutant_of_the_text(name, old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('if moment != "every" or projection.when == "every"', "if True"),
        ('if moment != "every" or projection.when == "every"', 'if projection.when == "every"'),
        ("_hand_on(goal, weights[k + 1]", "_hand_on(goal, weights[k] or weights[k + 1]"),
        ('scale=target.beta if target.direction == "ascend"', 'scale=-target.beta if target.direction == "ascend"'),
        ('batch_mean=target.reduction == "batch_mean"', "batch_mean=False"),
        ('if getattr(sampler.start, "projected", False)', "if False"),
    ],
)
def test_a_compiler_that_lowers_otherwise_is_caught(old, new, monkeypatch):
    """`when` ignored, a coefficient off by one step, and others: the text is made from the edited lowering's plan."""
    lowering = importlib.import_module("atentdsl.plan.lower")  # the package offers a function of the same name
    mutant = edited(lowering, old, new)
    monkeypatch.setattr(codegen_module, "lower", mutant.lower)
    module = as_module(generate(recipe("full")).text, "mutant")
    assert not agrees(lower(recipe("full")), module)


@pytest.mark.parametrize(
    ("shipped", "old", "new"),
    [
        (roll, "tuple(turn[0] for turn in listed)", "tuple(turn[0] for turn in reversed(listed))"),
        (roll, "Repeat(count, tuple(body)", "Repeat(count, tuple(reversed(body))"),
        (roll, "while shapes[i : i + length] ==", "while count < 2 or shapes[i : i + length] =="),
        (freeze_weights, "result += [*_region(run), operation]", "result += [operation, *_region(run)]"),
        (freeze_weights, "Frozen(tuple(run[first:])", "Frozen(tuple(run[first:-1])"),
        (freeze_weights, "return [*run[:first], Frozen", "return [Frozen"),
    ],
)
def test_an_edited_pass_is_caught(shipped, old, new):
    """By its effect on the points or the gradients, or already by the plan's rules."""
    literal = lower(recipe("full"))
    plan = edited(shipped, old, new).apply(literal)
    assert plan != literal
    try:
        verify(plan)
    except PlanError:
        return
    means = interpreted(literal, MODEL, BATCHES)
    assert differences(means, interpreted(plan, MODEL, BATCHES), TOLERANCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('model.train(mode == "train")', 'model.train(mode != "train")'),
        ("point, y, loss, rng, mode).sum(), point)", 'point, y, loss, rng, "eval").sum(), point)'),
        ('z.detach(), y, loss, rng, "train").sum()', 'z.detach(), y, loss, rng, "eval").sum()'),
        ('z.detach(), y, loss, rng, "train").sum()', 'z.detach(), y, loss, rng, "train").mean()'),
        ("        rng.same_masks(z)\n", "        pass\n"),
        ("            p.requires_grad_(True)", "            p.requires_grad_(False)"),
    ],
)
def test_an_edited_network_pass_is_caught(old, new):
    mutant = edited(passes_of_the_network, old, new)
    same = []
    for name in ("full", "full in eval mode"):
        module = as_module(generate(recipe(name)).text, "full")
        for function in ("input_gradient", "weight_gradient", "weights_frozen"):
            setattr(module, function, getattr(mutant, function))
        try:
            same.append(agrees(lower(recipe(name)), module))
        except RuntimeError:  # nothing asks for a gradient any more
            same.append(False)
    assert not all(same)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if z is self._point and self._masks is not None", "if False"),  # a second mask at the same point
        ("            self._point = z\n", "            self._point = z if self._point is None else self._point\n"),
        ("key(self._seed, self._step, place)", "key(self._seed, 1, place)"),
        ("key(self._seed, self._step, place)", "key(self._seed, self._step)"),
    ],
)
def test_edited_streams_are_caught(old, new):
    mutant = edited(streams, old, new)
    module = as_module(generate(recipe("full")).text, "full")
    assert agrees(lower(recipe("full")), module)
    assert not agrees(lower(recipe("full")), module, streams=mutant.Streams)


def test_the_literal_plan_and_every_stage_of_the_full_recipe_are_different_plans():
    """Otherwise the checks above would compare a plan with itself."""
    plans = [stage.plan for stage in stages(lower(recipe("full")))]
    assert len(set(plans)) == len(plans) == 3
