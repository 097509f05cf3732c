"""Recipes made wrong: valid ones with values, keys and tables exchanged at random places."""

from __future__ import annotations

import datetime
import tomllib
from typing import Any

from hypothesis import strategies as st

from atentdsl.recipe import shipped
from atentdsl.recipe.loading import load
from atentdsl.recipe.toml_text import key_text, toml_text, value_text
from atentdsl.testing import recipes, sample

Path = tuple[str | int, ...]

VALID = [tomllib.loads(load(name).resolved) for name in shipped.names()] + sample(recipes(), 40)

NUMBERS = [0, 1, -1, 2, 10**6, 2**63 - 1, -(2**63), 0.0, -0.0, 0.5, 1.0, 1e-320, 5e-324, 1e308, -1e308, 8.0]
ODD = [float("nan"), float("inf"), -float("inf"), True, False, "", "x", "0.1", "8/255", "true", "1e-3", "\x00", "é数😀"]
DATES = [datetime.date(2020, 1, 2), datetime.time(3, 4), datetime.datetime(2020, 1, 2, 3, 4)]
NESTED = [[], {}, [[]], [{}], [1, "a"], {"kind": 3}, {"kind": ["langevin"]}, {"kind": {}}, {"": 1}, {"a": {"b": {}}}]
SCHEDULES = [
    {"kind": "linear", "start": 0.5, "end": 1.5},
    {"kind": "linear", "start": "0.5", "ends": 0},
    {"kind": "cosine", "start": 0.5, "over": "moves"},
    {"kind": "cosine", "start": -1, "over": "steps"},
    {"kind": "constant", "value": 0.5},
    {"kind": "piecewise", "at": [1, 3], "value": [0.5, 2.0]},
    {"value": 0.1},
]
WORDS = [
    "linf_ball",
    "langevin",
    "gradient",
    "zero",
    "corner",
    "l2",
    "none",
    "sgd",
    "adamw",
    "cosine",
    "constant",
    "mean",
    "linear",
    "carry",
    "layer",
    "signal",
    "weights",
    "fresh",
    "frozen",
    "displacement",
    "worst",
    "moves",
    "after_update",
]
VALUES = st.sampled_from([*NUMBERS, *ODD, *DATES, *NESTED, *SCHEDULES, *WORDS]) | st.text(max_size=4).filter(
    str.isprintable
)

FAMILIAR = ["kind", "name", "schema", "extends", "sampler", "kernel", "data", "projection", "coupling", "lr", "over"]
STRANGE = ["noize", "eps", "steps", "", "a b", "a.b", "é", "x" * 200]
OFTEN = [
    "space",
    "batch",
    "restarts",
    "momentum",
    "mu",
    "of",
    "gain",
    "restore",
    "repeat",
    "end",
    "length",
    "direction",
]
KEYS = st.sampled_from([*FAMILIAR, *OFTEN, "noise", "radius", "moves", "start", "at", "value", *STRANGE])


def places(value: Any, path: Path = ()) -> list[Path]:
    """Every path of the data, its own included."""
    found = [path]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += places(child, (*path, key))
    return found


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def mutated(draw: st.DrawFn, most: int = 4) -> dict[str, Any]:
    """A valid recipe with up to so many changes, each at a place of its own choosing."""
    recipe = copied(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, most))):
        path = draw(st.sampled_from(places(recipe)[1:] or [()]))
        if not path:
            return recipe
        parent, key = at(recipe, path[:-1]), path[-1]
        match draw(
            st.sampled_from(["value", "value", "value", "key", "drop", "add", "wrap", "unwrap", "other", "twice"])
        ):
            case "value":
                parent[key] = copied(draw(VALUES))
            case "key" if isinstance(parent, dict):
                parent[draw(KEYS)] = parent.pop(key)
            case "drop":
                del parent[key]
            case "add" if isinstance(parent[key], dict):
                parent[key][draw(KEYS)] = copied(draw(VALUES))
            case "wrap":
                parent[key] = draw(st.sampled_from([[parent[key]], {"kind": parent[key]}, {"a": parent[key]}]))
            case "unwrap" if isinstance(parent[key], list) and parent[key]:
                parent[key] = parent[key][0]
            case "other":
                parent[key] = copied(at(recipe, draw(st.sampled_from(places(recipe)))))
            case "twice" if isinstance(parent, list):
                parent.append(copied(parent[key]))
    return recipe


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A mutated recipe as TOML, its tables in braces or under headers."""
    recipe = draw(mutated())
    braces = draw(st.sampled_from([0, 1, 2, 3]))
    return toml_text(recipe, inline=lambda path: braces > 0 and len(path) > braces)


@st.composite
def overrides(draw: st.DrawFn) -> tuple[dict[str, Any], list[str]]:
    """A valid recipe, and up to three overrides, of places that are there and of others."""
    recipe = draw(st.sampled_from(VALID))
    found = []
    for _ in range(draw(st.integers(1, 3))):
        chosen = draw(st.sampled_from(places(recipe)[1:]))
        path = list(chosen)
        for i, key in enumerate(chosen):
            if isinstance(key, int) and draw(st.booleans()):
                element = at(recipe, chosen[: i + 1])
                path[i] = element.get("name", element.get("kind", key)) if isinstance(element, dict) else key
        if draw(st.integers(0, 3)) == 0:
            path.append(draw(KEYS))
        if draw(st.integers(0, 5)) == 0:
            path[draw(st.integers(0, len(path) - 1))] = draw(KEYS)
        value = draw(VALUES.map(value_text) | st.text("abc019.=-+ {}[]\"'#\n,", max_size=6))
        found.append(f"{'.'.join(key_text(str(key)) for key in path)}={value}")
    return recipe, found


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: copied(child) for key, child in value.items()}
    return [copied(child) for child in value] if isinstance(value, list) else value
