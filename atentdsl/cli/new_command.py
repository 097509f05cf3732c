"""`atentdsl new`: begin a recipe from another."""

from __future__ import annotations

import re
from pathlib import Path

import click


@click.command("new")
@click.argument("name")
@click.option("--from", "source", metavar="RECIPE", required=True, help="The recipe to begin with.")
def command(name: str, source: str) -> None:
    """Write NAME.toml here, a copy of another recipe under its own name; the last line is its path."""
    from atentdsl.recipe import load, text_of

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise click.UsageError(f"`{name}` cannot name a recipe: use letters, digits, `.`, `_` and `-`")
    checked = load(source)
    path = Path(f"{name}.toml")
    document = text_of(source)
    if document.has(("recipe", "extends")):
        text = load(source, [f'recipe.name="{name}"']).resolved
    else:
        span = document.value(("recipe", "name"))
        lines = document.text.splitlines(keepends=True)
        line = lines[span.line - 1]
        lines[span.line - 1] = f'{line[: span.column - 1]}"{name}"{line[span.column - 1 + span.length :]}'
        text = "".join(lines)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.UsageError(f"{path} exists; choose another name, or remove it") from None
    click.echo(f"a copy of `{checked.name}`; next: atentdsl check {path}", err=True)
    click.echo(path)
