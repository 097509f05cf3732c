"""What the agreement check is worth: lowering, passes and names with one edit that must be caught."""

from __future__ import annotations

import importlib
from itertools import pairwise

import pytest
from codegen.agreement_recipes import BATCHES, OWN, TOLERANCE, agrees, recipe

import atentdsl
from atentdsl.codegen import as_module, generate, statements
from atentdsl.codegen import module as codegen_module
from atentdsl.codegen import names as shipped_names
from atentdsl.passes import fold_projections, freeze_weights, merge_evaluations, roll, stages
from atentdsl.plan import PlanError, lower, verify
from atentdsl.recipe.tables import Compile
from atentdsl.source import RecipeError
from atentdsl.testing import differences, edited, interpreted, network

SETTINGS = Compile()


WHOLE = "self._go_on(i + 1, ONE, points, sampler.mode)"
DRAWN_ONCE = f"""begin, again = len(self.operations), any(isinstance(o, Gather) for o in self.operations)
            {WHOLE}
            drawn = self.operations[begin:]
            kept = [o for o in drawn if isinstance(o, Recall) or getattr(o, "wants", "") == "weights"]
            self.operations[begin:] = kept if again else drawn"""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("full", 'moment == "every" and projection.when != "every"', "False"),
        ("full", 'moment == "every" and projection.when != "every"', 'projection.when != "every"'),
        ("full", "after(c * weights[k] / sampler", "after(c * (weights[k - 1] or weights[k]) / sampler"),
        ("full", 'descend=target.direction == "descend"', 'descend=target.direction != "descend"'),
        ("full", 'batch_mean=target.reduction == "batch_mean"', "batch_mean=False"),
        ("full", 'if getattr(sampler.start, "projected", False)', "if False"),
        ("full", "coupling=coupling if coupling.primitive.function is not None else None", "coupling=None"),
        ("full", "covers=kernel.covers", 'covers="loss"'),
        ("composed", WHOLE, DRAWN_ONCE),  # later samplers are not drawn again
        ("composed", WHOLE, "self._go_on(len(self._samplers), ONE, points, sampler.mode)"),  # nor at all
        ("composed", WHOLE, "self._go_on(i + 1, ONE / 2, points, sampler.mode)"),
        ("composed", WHOLE, 'self._go_on(i + 1, ONE, points, "eval")'),
        ("composed", "        if self._kept_perturbed != i:\n", "        if False:\n"),  # never restored
        ("composed", "number(averaging.gain, self._lengths(i))", "1.0"),
        ("composed", "hand_on(k + 1)", "hand_on(k)"),  # coefficients off by one
        ("composed", "c * weights[k] / sampler.restarts\n", "c * weights[k]\n"),
        ("composed", "Momentum(mu, momentum.nesterov, momentum.normalise) if momentum else None", "None"),
        ("composed", "Momentum(mu, momentum.nesterov,", "Momentum(mu, False,"),
        ("composed", 'descend=target.direction == "descend"', 'descend=target.direction != "descend"'),
        ("composed", "index=k if indexed else None", "index=0 if indexed else None"),
        ("composed", "index=k if indexed else None", "index=k + 1 if indexed else None"),
        ("composed", 'if sampler.averaging.over_restarts == "mean" or sampler.restarts == 1', "if True"),
        (
            "composed",
            "handed = tuple(weight for weight in weights if weight)",
            "handed = tuple(ONE / 3 for _ in range(2))",
        ),
        ("composed", 'sampler.name, "worst", k,', 'sampler.name, "worst", 0,'),
        ("composed", 'Evaluate("loss", loss, sampler.mode', 'Evaluate("loss", loss, "eval"'),
        (
            "composed",
            'if sampler.space == "weights":\n                self._add(Load',
            "if False:\n                self._add(Load",
        ),
        (
            "around",
            "                self._restore(i)\n            self._start(i, anchor)",
            "                pass\n            self._start(i, anchor)",
        ),
        (
            "around",
            'how: Literal["anchor", "subtract"] = "anchor") -> None:\n',
            'how: Literal["anchor", "subtract"] = "anchor") -> None:\n        how = "anchor"\n',
        ),
        ("around", WHOLE, 'self._go_on(i + 1, ONE, points, "train")'),
        ("around", "self._go_on(i + 1, weight, points, mode)", "self._go_on(i + 1, weight, points, sampler.mode)"),
        ("around", "momentum.normalise)", '"none")'),
        ("around", 'if sampler.start.kind == "carry"', "if False"),
        ("around", "Carry(sampler.name, anchor,", "Carry(sampler.name, sampler.name,"),
        (
            "around",
            "yield k + 1\n        self._carry(i, at)",
            "yield k + 1\n            if not k:\n                self._carry(i, at)",
        ),
        ("carried weights", "            self._carry(i, anchor)\n", "            pass\n"),
        ("around", "index = k if over_moves(projected) else None", "index = 0 if over_moves(projected) else None"),
        ("around", "drift=drift if drift.primitive.function is not None else None", "drift=None"),
        ("around", 'Recall(points.at, "points", k,', 'Recall(points.at, "points", 0,'),
    ],
)
def test_a_compiler_that_lowers_otherwise_is_caught(name, old, new, monkeypatch):
    """By what its text does, which is made from the edited lowering's plan, or already by the plan's rules."""
    lowering = importlib.import_module("atentdsl.plan.lower")  # the package offers a function of the same name
    mutant, literal = edited(lowering, old, new), lower(recipe(name))
    try:
        assert mutant.lower(recipe(name)) != literal
    except PlanError:
        return
    monkeypatch.setattr(codegen_module, "lower", mutant.lower)
    assert not agrees(literal, as_module(generate(recipe(name)).text, "mutant"))


@pytest.mark.parametrize(
    ("shipped", "name", "old", "new"),
    [
        (
            roll,
            "full",
            "tuple(turn[listed[0]] for turn in coefficients)",
            "tuple(turn[listed[0]] for turn in coefficients[::-1])",
        ),
        (roll, "full", "Repeat(count, tuple(_rolled(body))", "Repeat(count, tuple(_rolled(body)[::-1])"),
        (roll, "full", "i += length * count if loop", "i += length * (count + 1) if loop"),
        (
            roll,
            "composed",
            "Repeat(count, tuple(_rolled(body)), over, first",
            "Repeat(count, tuple(_rolled(body)), over[::-1], first",
        ),
        (roll, "composed", "over, first, origin", "over, None if first is None else first + 1, origin"),
        (roll, "around", "over, first, origin", "over, None if first is None else 1 - first, origin"),
        (roll, "around", "if seen in places", "if seen + 1 in places"),
        (freeze_weights, "full", "result += [*_region(run), operation]", "result += [operation, *_region(run)]"),
        (freeze_weights, "full", "Frozen(tuple(run[first:end])", "Frozen(tuple(run[first : end - 1])"),
        (freeze_weights, "full", "return [*run[:first], Frozen", "return [Frozen"),
        (freeze_weights, "composed", 'operation.wants in {"input", "density"}', 'operation.wants != "loss"'),
        (freeze_weights, "around", "run = []\n    return", "pass\n    return"),
        (merge_evaluations, "full", "coefficient=of_weights.coefficient", "coefficient=of_input.coefficient"),
        (merge_evaluations, "full", 'wants="both"', 'wants="weights"'),
        (merge_evaluations, "full", "result[-1] = _merged(plan.operations[place - 1], operation)", "pass"),
        (merge_evaluations, "full in eval mode", "elif one.mode != other.mode:", "elif False:"),
        (
            fold_projections,
            "two balls",
            "Between(operation.sampler, operation.after",
            'Between(operation.sampler, "start"',
        ),
        (fold_projections, "two balls", "_bounds(ball, operation.anchor)", "_bounds(ball, operation.sampler)"),
        (fold_projections, "two balls", "operation.call == ball.call", "operation.call.kind == BALL"),
        (
            fold_projections,
            "two balls",
            "            folded = False  # the box, which is folded in\n",
            "            pass\n",
        ),
    ],
)
def test_an_edited_pass_is_caught(shipped, name, old, new):
    """By its effect on the points or the gradients, or already by the plan's rules.

    Without batch norm, whose running statistics are the one thing that merging changes.
    """
    literal, model = lower(recipe(name)), network(dropout=0.4)
    means = interpreted(literal, model, BATCHES)
    assert not differences(means, interpreted(shipped.apply(literal, SETTINGS), model, BATCHES), TOLERANCE)
    plan = edited(shipped, old, new).apply(literal, SETTINGS)
    assert plan != shipped.apply(literal, SETTINGS)
    try:
        verify(plan)
    except PlanError:
        return
    assert differences(means, interpreted(plan, model, BATCHES), TOLERANCE)


def called(name, *names):
    """The recipe with its samplers called so."""
    whole = OWN[name]
    return atentdsl.load(whole | {"sampler": [s | {"name": n} for s, n in zip(whole["sampler"], names, strict=True)]})


NAMES = {
    "the batch's variable": ("nested", "x", "inner"),
    "the batch's variable, for the one inside": ("nested", "outer", "x"),
    "a part of the batch's register": ("nested", "batch", "x"),
    "a point's variable": ("nested", "z_b", "b"),
    "a weights' point": ("both", "moved_b", "b"),
    "a weights' point, the other way round": ("both", "b", "moved_b"),
    "a weights' anchor": ("both", "w_b", "b"),
    "a momentum": ("both", "velocity_b", "b"),
    "a target's gradient": ("both", "aside_b", "b"),
    "the batch": ("both", "x", "y"),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_sampler_may_be_called_what_a_variable_is(case):
    """Its plan and its module mean what they mean under other names; nothing is drawn that a name would change."""
    name, *names = NAMES[case]
    made = as_module(generate(called(name, *names)).text, "named")
    assert agrees(lower(called(name, *names)), made)
    assert agrees(lower(recipe(name)), made)


def test_no_sampler_is_called_what_a_register_is():
    for register in ("batch.x", "b.anchor"):
        with pytest.raises(RecipeError):
            called("nested", register, "b")


@pytest.mark.parametrize(
    ("case", "old", "new"),
    [
        ("the batch's variable", "if register == X:", 'if register in {X, "x"}:'),
        ("a weights' point", '"weights": "moved"', '"weights": "w_moved"'),
        ("a weights' point", 'word if sampler in self._alone else f"{word}_{sampler}"', "word"),
        ("a weights' anchor", '"weights": "moved"', '"weights": "w_w"'),
    ],
)
def test_variables_that_meet_are_caught(case, old, new, monkeypatch):
    name, *names = NAMES[case]
    monkeypatch.setattr(statements, "Names", edited(shipped_names, old, new).Names)
    assert not agrees(lower(recipe(name)), as_module(generate(called(name, *names)).text, "mutant"))


@pytest.mark.parametrize("name", ["full", "composed", "around", "nested"])
def test_the_literal_plan_and_every_stage_of_a_full_recipe_are_different_plans(name):
    """Otherwise the checks above would compare a plan with itself."""
    found = stages(lower(recipe(name)), recipe(name).compile)
    changed = {after.name for before, after in pairwise(found) if after.plan != before.plan}
    assert changed == {"freeze weights", "roll", "place"}
