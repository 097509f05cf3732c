"""Diagnostics as text: for a person, for an editor, for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import attrs

from atentdsl.source.display import excerpt, visible
from atentdsl.source.span import Lines, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atentdsl.source.diagnostic import Diagnostic, RecipeError

Format = Literal["full", "concise", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)

_ERROR, _CONTEXT, _GUTTER, _HELP, _STRONG = "1;31", "1;34", "1;34", "1;36", "1"


def render(error: RecipeError, format: Format = "full", colour: bool = False) -> str:  # noqa: A002  (the option's name)
    r"""Write the diagnostics of an error as text, without a line feed at the end.

    `full` shows the lines with carets; `concise` is a line a diagnostic, `file:line:column: code: message (help)`;
    `json` is a list of objects with code, message, file, line, column, length, label and help, null where there is no
    place. `colour` is for `full` only. Nothing of a file reaches a terminal unescaped.

    >>> from atentdsl.source import Diagnostic, RecipeError
    >>> mistake = Diagnostic("unknown-key", "unknown key `lr`", Span("r.toml", 2, 1, 2), "not a parameter of `sgd`")
    >>> print(render(RecipeError([mistake], {"r.toml": "[optimizer]\nlr = 0.1"})))
    error[unknown-key]: unknown key `lr`
     --> r.toml:2:1
      |
    2 | lr = 0.1
      | ^^ not a parameter of `sgd`
    <BLANKLINE>
    1 error

    Raises:
        ValueError: the format is not one of `FORMATS`.
    """
    if format == "full":
        return _full(error, colour)
    if format == "concise":
        return "\n".join(map(_concise, error.diagnostics))
    if format == "json":
        return _json(error.diagnostics)
    raise ValueError(f"format is {format!r}; accepted: {', '.join(FORMATS)}")


def _concise(mistake: Diagnostic) -> str:
    place = f"{_place(mistake.span)}: " if mistake.span else ""
    mend = f" ({visible(mistake.help.replace(chr(10), ' '))})" if mistake.help else ""
    return f"{place}{mistake.code}: {visible(mistake.message)}{mend}"


def _json(diagnostics: tuple[Diagnostic, ...]) -> str:
    import json

    nowhere = dict.fromkeys(("file", "line", "column", "length"))
    objects = [
        {"code": mistake.code, "message": mistake.message}
        | (attrs.asdict(mistake.span) if mistake.span else nowhere)
        | {"label": mistake.label, "help": mistake.help}
        for mistake in diagnostics
    ]
    return json.dumps(objects, indent=2, ensure_ascii=True)  # so that controls and surrogates can be printed


def _place(span: Span) -> str:
    return f"{visible(span.file)}:{span.line}:{span.column}"


def _full(error: RecipeError, colour: bool) -> str:
    page = _Page(error.sources, colour)
    blocks = ["\n".join(page.diagnostic(mistake)) for mistake in error.diagnostics]
    count = len(blocks)
    blocks.append(page.paint(f"{count} error" + "s" * (count > 1), _STRONG))
    return "\n\n".join(blocks)


@attrs.frozen
class _Mark:
    """A span with its label, under carets or, for context, under dashes."""

    span: Span
    label: str
    sign: str
    style: str


class _Page:
    def __init__(self, sources: Mapping[str, str], colour: bool) -> None:
        self._sources = sources
        self._lines: dict[str, Lines] = {}
        self._colour = colour

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour and text else text

    def diagnostic(self, mistake: Diagnostic) -> Iterator[str]:
        yield self.paint(f"error[{mistake.code}]", _ERROR) + self.paint(f": {visible(mistake.message)}", _STRONG)
        marks = []
        if mistake.span:
            marks.append(_Mark(mistake.span, mistake.label, "^", _ERROR))
        if mistake.context:
            marks.append(_Mark(*mistake.context, "-", _CONTEXT))
        margin = max((len(str(mark.span.line)) for mark in marks), default=0)
        for file in dict.fromkeys(mark.span.file for mark in marks):
            yield from self.block([mark for mark in marks if mark.span.file == file], margin)
        if mistake.help:
            if marks:
                yield self.gutter(margin)
            yield from self.help(mistake.help)

    def block(self, marks: list[_Mark], margin: int) -> Iterator[str]:
        """Show the marks in one file: its name, then each marked line with what stands under it."""
        yield f"{' ' * margin}{self.paint('-->', _GUTTER)} {_place(marks[0].span)}"
        shown = [mark for mark in marks if self.line(mark.span) is not None]
        if shown:
            yield self.gutter(margin)
        previous: _Mark | None = None
        printed = ""
        for mark in sorted(shown, key=lambda mark: mark.span.line):  # stable: on one line the mistake precedes
            span = mark.span
            here = excerpt(self.line(span) or "", span.column, span.length)
            if previous and span.line - previous.span.line > 1:
                yield " " * (margin + 1) + self.paint("...", _GUTTER)
            if not previous or previous.span.line != span.line or printed != here.line:
                yield self.gutter(margin, str(span.line), here.line)
            under = self.paint(f"{mark.sign * here.under} {visible(mark.label)}".rstrip(), mark.style)
            yield self.gutter(margin, "", " " * here.before + under)
            previous, printed = mark, here.line

    def gutter(self, margin: int, number: str = "", text: str = "") -> str:
        bar = self.paint(f"{number:>{margin}} |", _GUTTER)
        return f"{bar} {text}".rstrip()

    def help(self, text: str) -> Iterator[str]:
        head, *rest = text.split("\n")
        yield self.paint("help", _HELP) + f": {visible(head)}"
        for line in rest:
            yield f"      {visible(line)}".rstrip()

    def line(self, span: Span) -> str | None:
        if span.file not in self._sources:
            return None
        if span.file not in self._lines:
            self._lines[span.file] = Lines(self._sources[span.file])
        lines = self._lines[span.file]
        return lines[span.line] if span.line <= len(lines) else None
