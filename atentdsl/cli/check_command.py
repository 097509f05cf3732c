"""`atentdsl check`: say everything that is wrong with recipes."""

from __future__ import annotations

import sys

import click

from atentdsl.cli import options


@click.command("check")
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True)
@options.overrides
@click.option(
    "--format",
    "format_",
    type=click.Choice(["full", "concise", "json"]),
    default="full",
    show_default=True,
    help="How findings are written; concise and json are for editors and CI.",
)
@click.pass_context
def command(ctx: click.Context, recipes: tuple[str, ...], overrides: tuple[str, ...], format_: str) -> None:
    """Say everything that is wrong with each RECIPE, at once; writes nothing, loads no torch."""
    from atentdsl.recipe import load
    from atentdsl.source import RecipeError, render

    found: list[RecipeError] = []
    for recipe in recipes:
        try:
            checked = load(recipe, overrides)
        except RecipeError as error:
            found.append(error)
            if format_ == "full":
                click.echo(render(error, colour=sys.stderr.isatty()), err=True)
        else:
            click.echo(f"{recipe}: fine, the recipe `{checked.name}`", err=format_ != "full")
    if format_ == "json" and not found:
        click.echo("[]")
    elif format_ != "full" and found:
        sources = {name: text for error in found for name, text in error.sources.items()}
        diagnostics = [diagnostic for error in found for diagnostic in error.diagnostics]
        click.echo(render(RecipeError(diagnostics, sources), format_))  # type: ignore[arg-type]
    ctx.exit(2 if found else 0)
