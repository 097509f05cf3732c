"""From a path, a shipped name or a dict to a checked recipe: reading, `extends`, overrides, checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import attrs

from atentdsl.recipe import from_python, shipped
from atentdsl.recipe.brackets import straightened
from atentdsl.recipe.checking import check
from atentdsl.recipe.extending import layers
from atentdsl.recipe.merging import merge, written
from atentdsl.recipe.overrides import override
from atentdsl.recipe.tables import Recipe
from atentdsl.source import Diagnostic, Document, RecipeError, read, suggest

_LONGEST_NAME = 100


def load(
    recipe: str | Path | Mapping[str, Any] | Recipe, overrides: str | Sequence[str] = (), name: str = "dict"
) -> Recipe:
    """The checked recipe.

    Args:
        recipe: a path, the name of a shipped recipe, the same tables as a dict, or a recipe already loaded.
        overrides: `key=value` texts, laid over the recipe in order.
        name: what to call a dict where its lines are cited.

    Raises:
        RecipeError: everything that is wrong with it, at once.
        TypeError: it is none of these.

    >>> load("atent_linf", ["sampler.attack.moves=5"]).samplers[0].moves
    5
    """
    overrides = [overrides] if isinstance(overrides, str) else overrides
    documents: tuple[Document, ...] = ()
    wrong: list[Diagnostic] = []
    complete = True
    if isinstance(recipe, Recipe):
        if not overrides:
            return recipe
        whole = recipe.written
        sources = {value.document.name: value.document.text for _, value in whole.walk()}
    else:
        document, file = _document(recipe, name)
        chain = layers(document, file)
        documents, wrong, complete = chain.documents, list(chain.wrong), chain.complete
        whole = reduce(merge, [straightened(written(layer), wrong) for layer in reversed(documents)])
        sources = {d.name: d.text for d in documents} | chain.sources
    for text in overrides:
        called = _called(text, sources)
        sources[called] = text
        try:
            whole = override(whole, text, called)
        except RecipeError as error:
            wrong += error.diagnostics
            sources |= error.sources
    tables, found = check(straightened(whole, wrong), documents, complete)
    wrong += found
    if wrong:
        wrong = list(dict.fromkeys(wrong))  # an override may be given twice
        raise RecipeError(wrong, sources | {value.document.name: value.document.text for _, value in whole.walk()})
    return Recipe(
        header=tables["recipe"],
        data=tables["data"],
        model=tables["model"],
        samplers=tuple(tables["sampler"]),
        objective=tables["objective"],
        smoothing=tables.get("smoothing"),
        optimizer=tables["optimizer"],
        compile=tables["compile"],
        evaluate=tables["evaluate"],
        file=whole.document.name,
        written=whole,
    )


def text_of(recipe: str | Path) -> Document:
    """The recipe's document as it is written."""
    return _document(recipe)[0]


def _document(recipe: str | Path | Mapping[str, Any], name: str = "dict") -> tuple[Document, Path | None]:
    """The recipe's own document, and its file if it has one."""
    if isinstance(recipe, Mapping):
        return from_python.document(recipe, name), None
    if not isinstance(recipe, str | Path):
        raise TypeError(f"a recipe is a path, a name, a dict or a `Recipe`, not a `{type(recipe).__name__}`")
    path, shown = shipped.find(recipe)
    try:
        return read(path, shown), path
    except RecipeError as error:
        (first,) = error.diagnostics[:1]
        near = suggest(str(recipe), shipped.names()) if first.code == "not-found" and not first.help else None
        if near is None:
            raise
        raise RecipeError([attrs.evolve(first, help=f"did you mean the shipped recipe `{near}`?")], {}) from None


def _called(text: str, sources: Mapping[str, str]) -> str:
    """What to call an override where it is cited: as it is typed, as long as nothing else is called so."""
    name = f"--set {text}"
    name = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    number = 2
    called = name
    while called in sources and sources[called] != text:
        called, number = f"{name} ({number})", number + 1
    return called
