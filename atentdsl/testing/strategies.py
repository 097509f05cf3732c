"""Draws recipes over the whole grammar. What can be written is read off the tables' own models, so that a new primitive
is drawn as soon as its file is there.
"""

from __future__ import annotations

from typing import Any

from annotated_types import Ge
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from atentdsl.primitives import registry
from atentdsl.primitives.samplers import chain, margin_search
from atentdsl.recipe import load
from atentdsl.recipe.tables import (
    OBJECTIVE,
    OPTIMIZER,
    SAMPLER,
    SCHEMA,
    Compile,
    Data,
    Evaluate,
    Header,
    Model,
    Smoothing,
)
from atentdsl.source import RecipeError
from atentdsl.testing.fields import APART, DEPENDENT, OFTEN, Table, field_of, number_of, slot_of, table_of


def recipes() -> st.SearchStrategy[Table]:
    """Valid recipes as dicts: every kind of every family, every option, up to six moves and three projections.

    Numbers are of the inputs' magnitude, zeros among them where zero is allowed. Nothing in them is slow to run but
    `[model]`, which may name any network that is installed.

    >>> recipe = sample(recipes(), 1)[0]
    >>> load(recipe).name == recipe["recipe"]["name"]
    True
    """
    return _recipes().filter(_consistent)


def sample(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """The same `count` values of a strategy every time, for checks that take many at once.

    >>> len(sample(recipes(), 3)), sample(recipes(), 3) == sample(recipes(), 3)
    (3, True)
    """
    found: list[Any] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found[:count]


def _consistent(recipe: Table) -> bool:
    """Whether the checks find no two parameters at odds: those of a primitive that this file has never heard of."""
    try:
        load(recipe)
    except RecipeError as error:
        if any(mistake.code != "inconsistent" for mistake in error.diagnostics):
            raise
        return False
    return True


@st.composite
def _recipes(draw: st.DrawFn) -> Table:
    count = draw(st.sampled_from([0, 1, 1, 1, 1, 2, 2, 3]))
    samplers = [draw(slot_of(SAMPLER)) for _ in range(count)] if draw(st.integers(0, 7)) < 7 else [draw(_search())]
    whole: Table = {
        "schema": SCHEMA,
        "recipe": draw(table_of(Header, extends=None)),
        "data": draw(table_of(Data)),
        "model": draw(table_of(Model)),
        "optimizer": draw(slot_of(OPTIMIZER)),
        "compile": draw(table_of(Compile)),
        "evaluate": draw(_evaluate(samplers)),
    }
    if samplers and samplers[0].get("kind") == "margin_search":
        whole["sampler"] = samplers
        whole["optimizer"].pop("restore", None)
    elif samplers:
        whole["sampler"] = _composed(samplers, whole)
    else:
        whole["optimizer"].pop("restore", None)
    if draw(OFTEN):
        whole["objective"] = draw(slot_of(OBJECTIVE))
        if all(sampler.get("space") == "weights" for sampler in samplers):
            whole["objective"] = _of_labels_alone(whole["objective"])
    if not draw(OFTEN) and not any(sampler.get("kernel", {}).get("kind") == "mala" for sampler in samplers):
        whole["smoothing"] = draw(table_of(Smoothing, draws=st.integers(1, 3)))
    average = whole["optimizer"].get("weight_averaging", {})
    if average.get("from_epoch", 1) > whole["optimizer"]["epochs"]:
        average["from_epoch"] = whole["optimizer"]["epochs"]
    if samplers or "smoothing" in whole:
        _without_bounds(whole)
    if not whole["compile"].get("place", True) and whole["compile"].get("precision") == "bfloat16":
        whole["compile"]["precision"] = "float32"
    clocked: Table = _without_moves(whole)
    return clocked


def _composed(samplers: list[Table], whole: Table) -> list[Table]:
    """Samplers that can stand beside each other: names of their own, and no more work than a test has time for."""
    seen: list[Any] = []
    for sampler in samplers:
        while sampler.get("name", sampler.get("space", "data")) in seen:
            sampler["name"] = f"also_{len(seen)}"
        seen.append(sampler.get("name", sampler.get("space", "data")))
        sampler["restarts"] = min(sampler.get("restarts", 1), 3 if len(samplers) == 1 else 2)
        if len(samplers) > 1:
            sampler["moves"] = min(sampler["moves"], 4 - len(samplers) // 3 * 2)
            burn_in = sampler.get("averaging", {}).get("burn_in", 0)
            if burn_in >= sampler["moves"]:
                sampler["averaging"] = {"kind": "mean"}
    for i, sampler in enumerate(samplers):
        if sampler.get("start", {}).get("kind") == "carry":
            sampler["restarts"] = 1
            if i:
                sampler.pop("start")
    for sampler in samplers[:-1]:
        if sampler.get("averaging", {}).get("of") == "displacement":
            sampler["target"] = {"direction": "descend"} | sampler.get("target", {}) | {"loss": "signal"}
            if not sampler["moves"]:
                sampler["averaging"].pop("of")
                sampler["averaging"].pop("gain", None)
    for i, sampler in enumerate(samplers):
        of_data = [before for before in samplers[: i + 1] if before.get("space", "data") == "data"]
        if not registry.primitive("targets", sampler.get("target", {}).get("loss", "cross_entropy")).clean:
            continue
        if not of_data:
            sampler["target"].pop("loss")  # the weights have no gradient at the clean inputs themselves
        elif of_data == [sampler] and sampler.get("start", {}).get("kind", "zero") in {"zero", "carry"}:
            sampler["start"] = {"kind": "gaussian", "sd": 0.1}  # nor has the point
            if sampler.get("kernel", {}).get("kind") == "mala" and sampler.get("projection"):
                sampler["start"]["projected"] = True
    of_weights = [sampler for sampler in samplers if sampler.get("space") == "weights"]
    for i, sampler in enumerate(samplers):
        after_data = any(before.get("space", "data") == "data" for before in samplers[:i])
        if sampler.get("batch") == "fresh" and (after_data or whole["data"].get("repeat", 1) > 1):
            sampler["batch"] = "same"
    displaced = any(sampler.get("averaging", {}).get("of") == "displacement" for sampler in of_weights)
    if len(of_weights) != 1 or displaced:
        whole["optimizer"].pop("restore", None)
    return samplers


def _of_labels_alone(objective: Table) -> Table:
    """The objective where the clean inputs are the only points: nothing is compared with them, or added beside."""
    kind = objective.get("kind", "cross_entropy")
    if registry.primitive("objectives", kind).clean or kind == "cross_entropy":
        return {"kind": "cross_entropy"}
    return objective


def _without_bounds(whole: Table) -> None:
    """Interval bounds stand alone: beside samplers or a smoothing the objective that reads them is cross entropy."""
    if registry.primitive("objectives", whole.get("objective", {}).get("kind", "cross_entropy")).bounded:
        whole["objective"] = {"kind": "cross_entropy"}


def _without_moves(value: Any, inside: bool = False) -> Any:
    """No schedule over moves but in a sampler's target, kernel and projections."""
    if isinstance(value, dict):
        moving = {"target", "kernel", "projection"}
        changed = {key: _without_moves(child, inside or key in moving) for key, child in value.items()}
        if changed.get("over") == "moves" and not inside:
            changed["over"] = "epochs"
        return changed
    return [_without_moves(child, inside) for child in value] if isinstance(value, list) else value


@st.composite
def _chain(draw: st.DrawFn, table: st.SearchStrategy[Table]) -> Table:
    """A chain that moves has a kernel, and a burn-in shorter than itself; what belongs to one space stays there."""
    sampler = draw(table)
    moves = sampler["moves"]
    if moves and "kernel" not in sampler:
        sampler["kernel"] = draw(field_of(chain.Parameters, "kernel"))
    averaging, target, kernel = (sampler.get(key, {}) for key in ("averaging", "target", "kernel"))
    burn_in = averaging.get("burn_in", 0)
    if burn_in and burn_in >= moves:
        averaging["burn_in"] = draw(st.integers(0, max(0, moves - 1)))
    if sampler.get("space") == "weights":
        if moves:
            target = sampler.setdefault("target", {})
            target.setdefault("direction", draw(st.sampled_from(["ascend", "descend"])))
        target.pop("reduction", None)
        if kernel.get("drift") == "sparse":
            kernel["drift"] = "l2"
        sampler["projection"] = [p for p in sampler.get("projection", []) if p["kind"] != "box"]
        averaging.pop("over_restarts", None)
    else:
        sampler.pop("batch", None)
        averaging.pop("of", None)
        if target.get("loss") == "signal":
            target.pop("loss")
        if kernel.get("drift") == "layer":
            kernel["drift"] = "l2"
    if sampler.get("kernel", {}).get("kind") == "mala":
        _tested(sampler, draw(st.sampled_from([None, "l2", "linf"])))
    if averaging.get("of") != "displacement":
        averaging.pop("gain", None)
    return sampler


def _tested(sampler: Table, pull: str | None) -> None:
    """What a Metropolis test asks of a chain, which may be pulled beside; of weights, it is not asked for one."""
    kernel, target = sampler["kernel"], sampler.setdefault("target", {})
    if sampler.get("space") == "weights":
        kernel["kind"] = "langevin"
        return
    sampler.pop("mode", None)
    for key in ("drift", "covers", "momentum"):
        kernel.pop(key, None)
    target.pop("reduction", None)
    sets = [p for p in sampler.get("projection", []) if p["kind"] != "increment_clip"]
    for projection in sets:
        projection.pop("when", None)
        if isinstance(projection.get("radius"), dict):
            projection["radius"].pop("over", None)
    sampler["projection"] = sets
    if sets and sampler.get("start", {}).get("kind", "zero") != "zero":
        sampler["start"]["projected"] = True
    coupling = target.get("coupling", {})
    coupling.pop("per", None)
    if not coupling.get("gamma") and (pull or not sets):
        target["coupling"] = {"kind": pull or "l2", "gamma": 0.75}


@st.composite
def _search(draw: st.DrawFn) -> Table:
    """A margin search: it stands alone, and climbs a loss of the label."""
    table: Table = draw(table_of(margin_search.Parameters, bisections=st.integers(1, 4)))
    largest = table["max_radius"] = min(table["max_radius"], 1.0)
    table["initial_radius"] = min(table["initial_radius"], largest)
    loss = table.get("target", {}).get("loss", "cross_entropy")
    if loss == "signal" or registry.primitive("targets", loss).clean:
        table["target"].pop("loss")
    return {"kind": "margin_search", **table}


@st.composite
def _evaluate(draw: st.DrawFn, samplers: list[Table]) -> Table:
    """An attack has a radius, its own or the sampler's; robust accuracy has an attack."""
    attacks = st.sampled_from(["pgd-1", "pgd-5", "fgsm", "pgd-2,restarts=2,loss=margin"])
    table: Table = draw(table_of(Evaluate, attacks=st.lists(attacks, max_size=2, unique=True)))
    balls = [p for sampler in samplers for p in sampler.get("projection", []) if p.get("kind") == "linf_ball"]
    ball = bool(balls) and isinstance(balls[0]["radius"], float)
    if table.get("attacks") == []:
        table["select"] = draw(st.sampled_from(["clean", "last"]))
    elif not ball:
        table.setdefault("radius", 0.25)
    if table.get("select") == "last":
        table.pop("patience", None)
    return table


@st.composite
def _piecewise(draw: st.DrawFn, table: st.SearchStrategy[Table]) -> Table:
    """One value for each beginning, the first of them at 1, rising."""
    later = draw(st.lists(st.integers(2, 9), max_size=3, unique=True))
    values = st.lists(number_of([Ge(0)]), min_size=1 + len(later), max_size=1 + len(later))
    return {**draw(table), "at": [1, *sorted(later)], "value": draw(values)}


@st.composite
def _with_length(draw: st.DrawFn, table: st.SearchStrategy[Table]) -> Table:
    """Over steps it needs a length."""
    drawn = draw(table)
    if drawn.get("over") == "steps":
        drawn.setdefault("length", 4)
    return drawn


@st.composite
def _sgd(draw: st.DrawFn, table: st.SearchStrategy[Table]) -> Table:
    """Nesterov's look-ahead needs a momentum."""
    drawn = draw(table)
    if drawn.get("nesterov") and not isinstance(drawn.get("momentum", 0.0) or None, float):
        drawn["momentum"] = 0.9
    return drawn


APART.add(("samplers", "margin_search"))
DEPENDENT.update(
    {
        ("samplers", "chain"): _chain,
        ("schedules", "piecewise"): _piecewise,
        ("schedules", "cosine"): _with_length,
        ("schedules", "cyclic"): _with_length,
        ("schedules", "linear"): _with_length,
        ("optimizers", "sgd"): _sgd,
    }
)
