"""`extends`: the files that a recipe is laid over, read one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import attrs

from atentdsl.source import Diagnostic, Document, RecipeError, read

_PATH = ("recipe", "extends")


@attrs.frozen
class Layers:
    """A recipe's documents.

    Attributes:
        documents: the recipe's own first, then what it extends, then what that extends.
        wrong: why the next one could not be read; empty where every layer is there.
        sources: the texts that `wrong` points into, beside the documents'.
    """

    documents: tuple[Document, ...]
    wrong: tuple[Diagnostic, ...] = ()
    sources: dict[str, str] = attrs.field(factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every layer is there; one whose `extends` is no name is not followed."""
        last = self.documents[-1]
        return not self.wrong and (not last.has(_PATH) or isinstance(last.data["recipe"]["extends"], str))


def layers(document: Document, file: Path | None) -> Layers:
    """The recipe and what it extends.

    Args:
        document: the recipe.
        file: where it was read; None for one that is no file, whose `extends` is relative to the current folder.
    """
    found = [document]
    try:
        found += _extended(document, file, found)
    except RecipeError as error:
        return Layers(tuple(found), error.diagnostics, dict(error.sources))
    return Layers(tuple(found))


def _extended(document: Document, file: Path | None, found: list[Document]) -> Iterator[Document]:
    """What a document extends, from near to far. Each one is added to `found` as it comes, by who asks."""
    folder = file.parent if file else Path()
    names = {_real(file): document.name} if file else {}
    while document.has(_PATH):
        base = document.data["recipe"]["extends"]
        if not isinstance(base, str):
            return  # the validation of `[recipe]` says what is wrong with it
        file = folder / base
        if _real(file) in names:
            circle = " -> ".join([*names.values()][[*names].index(_real(file)) :])
            raise _refused(document, "extends-cycle", f"a recipe extends itself: {circle} -> {names[_real(file)]}")
        name = str(Path(document.name).parent / base)
        document = _read(file, name, document)
        names[_real(file)] = name
        folder = file.parent
        yield document


def _read(file: Path, name: str, by: Document) -> Document:
    try:
        return read(file, name)
    except RecipeError as error:
        first = error.diagnostics[0]
        if first.span is None:
            raise _refused(by, first.code, first.message, first.help) from None
        context = by.value(_PATH), "extended here"
        placed = [d if d.context else attrs.evolve(d, context=context) for d in error.diagnostics]
        raise RecipeError(placed, error.sources) from None


def _refused(document: Document, code: str, message: str, mend: str | None = None) -> RecipeError:
    mend = "let one of them stand on its own" if code == "extends-cycle" else mend
    return RecipeError([Diagnostic(code, message, document.value(_PATH), "extended here", help=mend)], {})


def _real(file: Path) -> str:
    try:
        return os.path.realpath(file)
    except (OSError, ValueError):  # a NUL in the name: reading it says so
        return str(file)
