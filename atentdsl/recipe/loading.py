"""From a path, a shipped name or a dict to a checked recipe: reading, `extends`, overrides, checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atentdsl.recipe import shipped
from atentdsl.recipe.checking import check
from atentdsl.recipe.merging import Written, merge, written
from atentdsl.recipe.overrides import override
from atentdsl.recipe.tables import Recipe
from atentdsl.source import Diagnostic, Document, RecipeError, Span, parse, read


def load(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), name: str = "dict") -> Recipe:
    """The checked recipe.

    Args:
        recipe: a path, the name of a shipped recipe, or the same tables as a dict.
        overrides: `key=value` texts, laid over the recipe in order.
        name: what to call a dict where its lines are cited.

    Raises:
        RecipeError: everything that is wrong with it, at once.

    >>> load("atent_linf", ["sampler.attack.moves=5"]).samplers[0].moves
    5
    """
    document, folder = _document(recipe, name)
    sources = {document.name: document.text}
    try:
        whole = _extended(document, folder, (), sources)
        for text in overrides:
            whole = override(whole, text)
            sources[f"--set {text}"] = text
        return check(whole, document.name)
    except RecipeError as error:
        raise RecipeError(error.diagnostics, {**sources, **error.sources}) from None


def text_of(recipe: str | Path) -> Document:
    """The recipe's document as it is written."""
    return _document(recipe)[0]


def _document(recipe: str | Path | Mapping[str, Any], name: str = "dict") -> tuple[Document, Path]:
    if not isinstance(recipe, Mapping):
        path, shown = shipped.find(recipe)
        return read(path, shown), path.parent
    import tomlkit

    try:
        text = tomlkit.dumps(_plain(recipe))
    except (TypeError, ValueError) as error:
        reason = Diagnostic("wrong-type", f"the dict cannot be written as TOML: {error}", help="use TOML's types")
        raise RecipeError([reason], {}) from None
    return parse(text, name), Path()


def _plain(value: Any) -> Any:
    """Any mapping as a dict and any sequence as a list, which TOML's writer asks for."""
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return value


def _extended(document: Document, folder: Path, below: tuple[Path, ...], sources: dict[str, str]) -> Written:
    """The document laid over the recipe that it extends, and that one over its own."""
    own = written(document)
    path = ("recipe", "extends")
    if not document.has(path):
        return own
    base = own.value["recipe"].value["extends"].value
    if not isinstance(base, str):
        return own  # the checks say what is wrong with it
    file = (folder / base).resolve()
    place: Span = document.value(path)
    if file in below:
        help_ = "let one of them stand on its own"
        raise RecipeError([Diagnostic("extends-cycle", f"`{base}` extends this recipe", place, help=help_)], sources)
    name = str(Path(document.name).parent / base)
    try:
        found = read(file, name)
    except RecipeError as error:
        reason = error.diagnostics[0]
        wrong = Diagnostic(reason.code, f"cannot extend `{base}`: {reason.message}", place, help=reason.help)
        raise RecipeError([wrong, *(d for d in error.diagnostics if d.span)], {**sources, **error.sources}) from None
    sources[found.name] = found.text
    return merge(_extended(found, file.parent, (*below, file), sources), own)
