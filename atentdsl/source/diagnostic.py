"""What is wrong with a recipe, as a value and as the one exception that carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atentdsl.source.span import Span


@attrs.frozen
class Diagnostic:
    """One mistake.

    `code` is stable and names the mistake's kind (`unknown-key`); `message` says what is wrong, `span` where, `label`
    why, next to the caret. `context` is a second place that explains the first, with its own label. `help` says how to
    mend it.
    """

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    context: tuple[Span, str] | None = None
    help: str | None = None


class RecipeError(Exception):
    """A recipe cannot be used. Carries every mistake found and the text of the files they point into.

    `diagnostics` stand in the order of the files in `sources`, then by position; those without a place come first.
    `str` of the exception is the full rendering without colour.

    >>> print(RecipeError([Diagnostic("empty", "nothing is written here")], {}))
    error[empty]: nothing is written here
    <BLANKLINE>
    1 error

    Raises:
        ValueError: there is no diagnostic.
    """

    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]

    def __init__(self, diagnostics: Iterable[Diagnostic], sources: Mapping[str, str]) -> None:
        found = tuple(diagnostics)
        if not found:
            raise ValueError("an error needs a diagnostic")
        files = dict.fromkeys(sources) | dict.fromkeys(mistake.span.file for mistake in found if mistake.span)
        order = {file: rank for rank, file in enumerate(files)}

        def place(mistake: Diagnostic) -> tuple[int, int, int]:
            span = mistake.span
            return (order[span.file], span.line, span.column) if span else (-1, 0, 0)

        self.diagnostics = tuple(sorted(found, key=place))
        self.sources = dict(sources)
        super().__init__(self.diagnostics, self.sources)  # so that it can be pickled to another process and back

    def __str__(self) -> str:
        from atentdsl.source.rendering import render  # below, not above: rendering is about errors

        return render(self)
