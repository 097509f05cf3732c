"""A plan that asks for interval bounds: what it says and costs, two epochs by hand, agreement, and what is refused."""

from __future__ import annotations

import re

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import optimised
from atentdsl.plan import PlanError, interpret, lower, units, verify, worst_case
from atentdsl.plan.dump import dump
from atentdsl.plan.operations import Evaluate, Place
from atentdsl.plan.values import Call, Smoothed
from atentdsl.primitives.objectives import interval_bound
from atentdsl.recipe.tables import Compile
from atentdsl.runtime import interval_bounds, models
from atentdsl.runtime import network as passes_of_the_network
from atentdsl.runtime.policy import Policy
from atentdsl.runtime.precision import prepared
from atentdsl.runtime.streams import Streams
from atentdsl.source import RecipeError
from atentdsl.testing import batch, differences, edited, interpreted, network, run_module
from atentdsl.testing.fields import table_of

TABLES = {
    "schema": 1,
    "recipe": {"name": "bounded"},
    "data": {"name": "digits", "batch": 4},
    "model": {"name": "mlp"},
    "optimizer": {"kind": "sgd", "epochs": 3, "lr": 0.5},
    "evaluate": {"attacks": [], "select": "clean"},
}
BATCHES = [batch(seed=1), batch(count=3, seed=2)]
TO_ROUNDING = 1e-10  # the interpreter's bounds are its own, of least and largest values


def recipe(kappa=0.25, radius=0.125, **tables):
    return atentdsl.load(
        {**TABLES, **tables, "objective": {"kind": "interval_bound", "kappa": kappa, "radius": radius}}
    )


def schedule(start, end, over="steps"):
    return {"kind": "ramp", "over": over, "start": start, "end": end, "after": 0, "length": 1}


def drawn_objectives():
    """Every table of the objective without a clean part, which is evaluated beside it; nothing changes by the move."""

    def by_epochs(table):
        numbers = {key: {**value, "over": "epochs"} for key, value in table.items() if isinstance(value, dict)}
        return {"kind": "interval_bound", **table, **numbers}

    return table_of(interval_bound.Parameters, clean=None).map(by_epochs)


def bounded(plan):
    (found,) = (o for o in plan.flat() if isinstance(o, Evaluate))
    return found


def test_one_evaluation_asks_for_the_bounds_and_says_so():
    plan = lower(recipe())
    assert bounded(plan).radius == 0.125
    assert bounded(plan).loss == Call("objectives", "interval_bound", (("kappa", 0.25),))
    assert "interval_bound at batch.x, train mode, worst logits within 0.125 by interval bounds" in dump(plan)
    assert units(plan) == 9


def test_cross_entropy_alone_asks_for_none():
    plan = lower(recipe(kappa=1.0))
    assert bounded(plan).radius is None
    assert bounded(plan).loss.kind == "cross_entropy"
    assert units(plan) == 3


@given(drawn_objectives(), table_of(Compile))
def test_passes_leave_it_as_it_is_but_for_its_place(objective, settings):
    settings.pop("precision", None)
    checked = atentdsl.load({**TABLES, "objective": objective, "compile": settings})
    plan, best = lower(checked), optimised(lower(checked), checked.compile)
    assert [o for o in best.operations if not isinstance(o, Place)] == list(plan.operations)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"radius": None}, "losses of interval bounds, and they alone, have a radius"),
        ({"loss": Call("objectives", "cross_entropy")}, "losses of interval bounds, and they alone, have a radius"),
        ({"wants": "both"}, "asked for the weights' gradient alone"),
        ({"wants": "loss", "coefficient": None}, "asked for the weights' gradient alone"),
        ({"smoothed": Smoothed(2, "losses")}, "without smoothing noise"),
    ],
)
def test_a_plan_that_asks_for_them_otherwise_is_refused(change, says):
    plan = lower(recipe())
    operations = [attrs.evolve(o, **change) if isinstance(o, Evaluate) else o for o in plan.operations]
    with pytest.raises(PlanError, match=says):
        verify(attrs.evolve(plan, operations=tuple(operations)))


def cross_entropy(logits, label):
    return np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label]


def by_hand(weight, x, y, kappa, radius):
    """The mean loss of one layer without bias: each lead at the corner of its own row of differences."""
    total = 0.0
    for row, label in zip(x, y, strict=True):
        ahead = weight - weight[label]
        near, far = np.maximum(row - radius, 0), np.minimum(row + radius, 1)
        worst = np.where(ahead > 0, ahead * far, ahead * near).sum(axis=1)
        total += kappa * cross_entropy(weight @ row, label) + (1 - kappa) * cross_entropy(worst, label)
    return total / len(x)


def two_epochs(execute):
    """The signal of a step in epochs 1 and 2, and by hand; kappa falls from 1 to 1/2, the radius grows to 1/5."""
    checked = recipe(schedule(1.0, 0.5, "epochs"), schedule(0.0, 0.2, "epochs"))
    rng = np.random.default_rng(3)
    weight, x, y = rng.normal(size=(3, 4)), rng.uniform(size=(5, 4)), np.array([0, 1, 2, 1, 0])
    found = []
    for epoch in (1, 2):
        model = nn.Linear(4, 3, bias=False).double()
        model.weight.data.copy_(torch.from_numpy(weight))
        streams = Streams(0, epoch, torch.device("cpu"), epoch)
        pair = torch.from_numpy(x), torch.from_numpy(y)
        found.append(float(execute(checked, model, iter([pair]), streams)))
    return found, [by_hand(weight, x, y, 1.0, 0.0), by_hand(weight, x, y, 0.5, 0.2)]


def compiled_step(checked, model, batches, rng):
    module = as_module(generate(checked).text, "two")
    return module.train_step(model, module.make_optimizer(model.parameters()), batches, rng, {})


def interpreted_step(checked, model, batches, rng):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return interpret(lower(checked), model, optimizer, batches, rng, {}).signal


@pytest.mark.parametrize("execute", [compiled_step, interpreted_step])
def test_schedules_of_kappa_and_radius_take_effect_by_the_epoch(execute):
    found, wanted = two_epochs(execute)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@given(drawn_objectives(), st.booleans(), st.booleans())
def test_a_drawn_objective_compiles_to_what_it_means(objective, dropout, batch_norm):
    """Networks of linear layers, tanh, dropout and batch norm, whose gains are of both signs."""
    checked = atentdsl.load({**TABLES, "objective": objective})
    model = network(dropout=0.4 if dropout else 0.0, batch_norm=batch_norm)
    assert differences(*both(checked, model, generate(checked).text), TO_ROUNDING) == []


def both(checked, model, text, execute=interpret):
    means = interpreted(lower(checked), model, BATCHES, seed=5, execute=execute)
    return means, run_module(as_module(text, "bounded"), model, BATCHES, seed=5)


FULL = recipe(schedule(0.75, 0.5), schedule(0.1, 0.3))
MODEL = network(dropout=0.4, batch_norm=True)
TEXT = {
    "kappa of the first step": ("kappa=ramp(rng.step,", "kappa=ramp(1,"),
    "a radius of the first step": ("radius=ramp(rng.step,", "radius=ramp(1,"),
    "the shares exchanged": ("kappa * cross_entropy(logits, y) + (1 - kappa)", "(1 - kappa) * cross_entropy(logits, y)"
    " + kappa"),
    "another radius": ("OBJECTIVE_RADIUS_END = 0.3", "OBJECTIVE_RADIUS_END = 0.2"),
    "bounds in train mode's place": ("weight=1.0 / n,", 'weight=1.0 / n, mode="eval",'),
}  # fmt: skip
WORST = "worst_logits(model, z, y, radius)"
RUNTIME = {
    "no gradient through the bounds": (WORST, f"{WORST}.detach()"),
    "bounds at half the radius": (WORST, WORST.replace("radius", "radius / 2")),
    "the wrong labels": (WORST, WORST.replace(" y,", " y.flip(0),")),
    "bounds before the logits": (
        "    if radius is not None:\n        loss = _bounded(model, z.detach(), loss, radius)\n",
        "    if radius is not None:\n        first, plain = worst_logits(model, z, y, radius), loss\n"
        "        loss = lambda logits, y: plain(logits, y, first)\n",
    ),
}  # fmt: skip
OWN = {
    "the parts exchanged": ("function(self.low, above, bias", "function(self.high, above, bias"),
    "one end alone": ("one, other = function(self.low), function(self.high)", "one = other = function(self.high)"),
    "ends that are not sorted": (
        "Between(torch.minimum(one, other), torch.maximum(one, other))",
        "Between(one, other)",
    ),
    "no box": ("(x - radius).clamp(0, 1)", "x - radius"),
    "no differences": ("_parts(weight - weight[label])", "_parts(weight)"),
}


@pytest.mark.parametrize("name", TEXT)
def test_an_edit_of_the_compiled_step_is_noticed(name):
    text = re.sub(r"ramp\(\s+", "ramp(", generate(FULL).text)
    old, new = TEXT[name]
    assert text.count(old) == 1
    assert differences(*both(FULL, MODEL, text), TO_ROUNDING) == []
    assert differences(*both(FULL, MODEL, text.replace(old, new)), TO_ROUNDING) != []


@pytest.mark.parametrize("name", RUNTIME)
def test_an_edit_of_the_network_passes_is_noticed(name):
    mutant = edited(passes_of_the_network, *RUNTIME[name])
    means = interpreted(lower(FULL), MODEL, BATCHES, seed=5)
    module = as_module(generate(FULL).text, "bounded")
    module.weight_gradient = mutant.weight_gradient
    assert differences(means, run_module(module, MODEL, BATCHES, seed=5), TO_ROUNDING) != []


def apart(module):
    """Whether the interpreter's bounds, from this module, differ from what compiled steps have; gains of both signs."""
    x, y = batch(seed=4)
    model = network(batch_norm=True).eval()
    with torch.no_grad():
        model[2].weight[::2] = -1.0
        own = module.worst_logits(model, x, y, 0.2)
        theirs = interval_bounds.worst_logits(model, x, y, 0.2)
    return not torch.allclose(own, theirs, rtol=1e-10, atol=1e-10)


def test_the_interpreters_bounds_are_those_of_compiled_steps():
    assert not apart(worst_case)


@pytest.mark.parametrize("name", OWN)
def test_an_edit_of_the_interpreters_bounds_is_noticed(name):
    assert apart(edited(worst_case, *OWN[name]))


def test_a_step_that_is_placed_in_bfloat16_means_the_same_to_rounding():
    """As `atentdsl bench` times both: the loss at the image is rounded, the bounds are not."""
    x, y = batch(count=4, shape=(1, 8, 8), classes=10)
    signals = []
    for execute in (interpreted_step, compiled_step):
        model = prepared(models.build("small_cnn", (1, 8, 8), 10, [0.3], [0.4]), Policy("bfloat16", channels_last=True))
        streams = Streams(0, 1, torch.device("cpu"))
        signals.append(float(execute(recipe(kappa=0.0), model, iter([(x.float(), y)]), streams)))
    assert signals[0] == pytest.approx(signals[1], rel=1e-5)


SAMPLER = {"moves": 1, "kernel": {"step_size": 0.1}}


@pytest.mark.parametrize(
    ("tables", "says", "mend"),
    [
        ({"sampler": [SAMPLER]}, "reads no sampler's points", "drop every `[[sampler]]`, or write"),
        ({"sampler": [SAMPLER, {**SAMPLER, "name": "two"}]}, "reads no sampler's points", "drop every `[[sampler]]`"),
        ({"smoothing": {"sigma": 0.1}}, "not one under Gaussian noise", "drop `[smoothing]`, or write"),
    ],
)
def test_samplers_and_a_smoothing_beside_it_are_refused_with_the_mend(tables, says, mend):
    with pytest.raises(RecipeError) as caught:
        recipe(**tables)
    (mistake,) = caught.value.diagnostics
    assert mistake.code == "inconsistent"
    assert says in mistake.message
    assert mistake.help.startswith(mend)
    atentdsl.load({**TABLES, **tables, "objective": {"kind": "cross_entropy"}})
