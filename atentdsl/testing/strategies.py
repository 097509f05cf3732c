"""Draws recipes over the whole grammar. What can be written is read off the tables' own models, so that a new primitive
is drawn as soon as its file is there.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from atentdsl.primitives import registry
from atentdsl.primitives.samplers import chain
from atentdsl.primitives.slots import NameOf, OneOf, Schedulable
from atentdsl.recipe import load
from atentdsl.recipe.tables import (
    CODE,
    OBJECTIVE,
    OPTIMIZER,
    SAMPLER,
    SCHEMA,
    Compile,
    Data,
    Evaluate,
    Header,
    Installed,
    Model,
    Smoothing,
)
from atentdsl.source import RecipeError

Table = dict[str, Any]

LARGEST = 2.0  # of a number without an upper bound: inputs are in [0, 1]
LONGEST = 6  # of a whole number: moves above all

_often = st.sampled_from([True, True, True, False])


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
    samplers = [draw(_slot(SAMPLER)) for _ in range(count)]
    whole: Table = {
        "schema": SCHEMA,
        "recipe": draw(_table(Header, extends=None)),
        "data": draw(_table(Data)),
        "model": draw(_table(Model)),
        "optimizer": draw(_slot(OPTIMIZER)),
        "compile": draw(_table(Compile)),
        "evaluate": draw(_evaluate(samplers)),
    }
    if samplers:
        whole["sampler"] = _composed(samplers, whole)
    else:
        whole["optimizer"].pop("restore", None)
    if draw(_often):
        whole["objective"] = draw(_slot(OBJECTIVE))
        if all(sampler.get("space") == "weights" for sampler in samplers):
            whole["objective"] = _of_labels_alone(whole["objective"])
    if not draw(_often) and not any(sampler.get("kernel", {}).get("kind") == "mala" for sampler in samplers):
        whole["smoothing"] = draw(_table(Smoothing, draws=st.integers(1, 3)))
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
    """The objective, or cross entropy where it compares points with clean inputs and there are no others."""
    kind = objective.get("kind", "cross_entropy")
    return {"kind": "cross_entropy"} if registry.primitive("objectives", kind).clean else objective


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
        sampler["kernel"] = draw(_field(chain.Parameters, "kernel"))
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
def _evaluate(draw: st.DrawFn, samplers: list[Table]) -> Table:
    """An attack has a radius, its own or the sampler's; robust accuracy has an attack."""
    attacks = st.sampled_from(["pgd-1", "pgd-5", "fgsm", "pgd-2,restarts=2,loss=margin"])
    table: Table = draw(_table(Evaluate, attacks=st.lists(attacks, max_size=2, unique=True)))
    balls = [p for sampler in samplers for p in sampler.get("projection", []) if p.get("kind") == "linf_ball"]
    ball = bool(balls) and isinstance(balls[0]["radius"], float)
    if table.get("attacks") == []:
        table["select"] = draw(st.sampled_from(["clean", "last"]))
    elif not ball:
        table.setdefault("radius", 0.25)
    return table


@st.composite
def _piecewise(draw: st.DrawFn, table: st.SearchStrategy[Table]) -> Table:
    """One value for each beginning, the first of them at 1, rising."""
    later = draw(st.lists(st.integers(2, 9), max_size=3, unique=True))
    values = st.lists(_number([Ge(0)]), min_size=1 + len(later), max_size=1 + len(later))
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


# The primitives whose parameters depend on one another.
DEPENDENT: dict[tuple[str, str], Callable[[st.SearchStrategy[Table]], st.SearchStrategy[Table]]] = {
    ("samplers", "chain"): _chain,
    ("schedules", "piecewise"): _piecewise,
    ("schedules", "cosine"): _with_length,
    ("schedules", "cyclic"): _with_length,
    ("schedules", "linear"): _with_length,
    ("optimizers", "sgd"): _sgd,
}


@st.composite
def _table(draw: st.DrawFn, /, model: type[BaseModel], **chosen: st.SearchStrategy[Any] | None) -> Table:
    """A table of that model: what it requires, and much of what it does not; a field that is chosen None stays out."""
    drawn: Table = {}
    for name, field in model.model_fields.items():
        stays_out = name == "kind" or (name in chosen and chosen[name] is None)
        if not stays_out and (field.is_required() or draw(_often)):
            own = chosen.get(name)
            drawn[name] = draw(_field(model, name) if own is None else own)
    return drawn


@cache
def _field(model: type[BaseModel], name: str) -> st.SearchStrategy[Any]:
    field = model.model_fields[name]
    return _value(field.annotation, field.metadata)


def _slot(annotation: Any) -> st.SearchStrategy[Any]:
    return _value(annotation, [])


def _value(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    """What a field of this type takes. A type that is not known here is an error: something would never be drawn."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        flat = [m for entry in more for m in (entry.metadata if isinstance(entry, FieldInfo) else [entry])]
        return _value(inner, [*flat, *metadata])
    if get_origin(annotation) in {Union, types.UnionType}:
        (inner,) = [choice for choice in get_args(annotation) if choice is not type(None)]  # TOML writes no null
        return _value(inner, metadata)
    for entry in metadata:
        if isinstance(entry, OneOf):
            return _primitive(entry)
        if isinstance(entry, NameOf):
            return st.sampled_from(registry.kinds(entry.family))
        if isinstance(entry, Installed):
            code = st.from_regex(CODE, fullmatch=True).filter(lambda text: len(text) <= 80)
            return st.sampled_from(entry.names()) | code if entry.code else st.sampled_from(entry.names())
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is list:
        (inner,) = get_args(annotation)
        shortest, longest = _bound(metadata, MinLen, "min_length", 0), _bound(metadata, MaxLen, "max_length", 3)
        return st.lists(_value(inner, []), min_size=int(shortest), max_size=int(longest))
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        least = int(_bound(metadata, Ge, "ge", 0))
        return st.integers(least, least + int(min(_bound(metadata, Le, "le", LONGEST), LONGEST)))
    if annotation is float:
        return _number(metadata) if Schedulable() not in metadata else _scheduled(metadata)
    if annotation is str and (pattern := next((m.pattern for m in metadata if hasattr(m, "pattern")), None)):
        longest = _bound(metadata, MaxLen, "max_length", 80)
        return st.from_regex(pattern, fullmatch=True).filter(lambda text: len(text) <= longest)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _table(annotation)
    raise TypeError(f"no strategy draws a {annotation!r}")


@st.composite
def _primitive(draw: st.DrawFn, slot: OneOf) -> Any:
    """A table of any kind of the family; its default kind may go unsaid, and a lone number may stand for it."""
    kind = draw(st.sampled_from(registry.kinds(slot.family)))
    parameters = registry.primitive(slot.family, kind).parameters
    unsaid = kind == slot.default and not draw(_often)
    if unsaid and slot.number:
        return draw(_field(parameters, slot.number))
    table = _table(parameters)
    dependent = DEPENDENT.get((slot.family, kind))
    drawn = draw(table if dependent is None else dependent(table))
    return drawn if unsaid else {"kind": kind, **drawn}


@st.composite
def _scheduled(draw: st.DrawFn, metadata: list[Any]) -> Any:
    """A number, or now and then a schedule that stays below the number's bound."""
    if draw(st.integers(0, 7)):
        return draw(_number(metadata))
    table = draw(_primitive(Schedulable().slot))
    if _bound(metadata, Lt, "lt", 0.0):
        below = {key: table[key] / 4 for key in ("start", "peak", "end") if key in table}
        table |= below | ({"value": _quarter(table["value"])} if "value" in table else {})
    return table


def _quarter(value: Any) -> Any:
    return [number / 4 for number in value] if isinstance(value, list) else value / 4


def _number(metadata: list[Any]) -> st.SearchStrategy[float]:
    """Thousandths up to `LARGEST`, and what rounds badly; the ends where they are allowed."""
    low, high = _bound(metadata, Ge, "ge", 0.0), min(_bound(metadata, Le, "le", LARGEST), LARGEST)
    return _between(low, high, _bound(metadata, Gt, "gt", -1.0), _bound(metadata, Lt, "lt", LARGEST + 1))


@cache
def _between(low: float, high: float, below: float, beyond: float) -> st.SearchStrategy[float]:
    thousandths = [number / 1000 for number in range(int(1000 * LARGEST) + 1)]
    lists = ([low, high, 1e-3, 0.1, 1 / 3, 0.9], thousandths)
    allowed = [[x for x in numbers if low <= x <= high and below < x < beyond] for numbers in lists]
    return st.one_of([st.sampled_from(numbers) for numbers in allowed])


def _bound(metadata: list[Any], kind: Any, attribute: str, default: float) -> float:
    found = [getattr(entry, attribute) for entry in metadata if isinstance(entry, kind)]
    return float(found[0]) if found else default
