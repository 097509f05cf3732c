"""`atentdsl compile`: write a recipe's generated module."""

from __future__ import annotations

from pathlib import Path

import click

from atentdsl.cli import options


@click.command("compile")
@click.argument("recipe", metavar="[RECIPE]", required=False)
@options.overrides
@click.option("--all", "all_", is_flag=True, help="Every shipped recipe.")
@click.option("--check", "check_", is_flag=True, help="With --all: only say whether the folder is in sync.")
@click.option("--out", default="generated", metavar="DIR", show_default=True, help="Where modules are written.")
@click.option("--stdout", is_flag=True, help="Print the module instead.")
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str | None,
    overrides: tuple[str, ...],
    all_: bool,
    check_: bool,
    out: str,
    stdout: bool,
) -> None:
    """Write the Python module that RECIPE compiles to; the last line is its path. Loads no torch."""
    from atentdsl import api
    from atentdsl.codegen import sync

    if bool(recipe) == all_:
        raise click.UsageError("name one RECIPE, or pass --all")
    if check_ and not all_:
        raise click.UsageError("--check goes with --all")
    if all_ and (overrides or stdout):
        raise click.UsageError("--all takes neither --set nor --stdout")
    folder = Path(out)
    if check_:
        found = sync.differences(folder)
        for line in found:
            click.echo(line)
        click.echo("run `atentdsl compile --all`" if found else f"{folder} is in sync")
        ctx.exit(1 if found else 0)
    if all_:
        for name in sync.write(folder):
            click.echo(folder / name)
        return
    assert recipe is not None, "checked above"
    compiled = api.compile(recipe, overrides)
    if stdout:
        click.echo(compiled.text, nl=False)
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{compiled.name}.py"
    path.write_text(compiled.text, encoding="utf-8")
    click.echo(path)
