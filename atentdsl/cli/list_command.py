"""`atentdsl list`: the vocabulary, the shipped recipes, the data sets and networks."""

from __future__ import annotations

import click


@click.command("list")
@click.argument("what", metavar="[WHAT]", required=False)
def command(what: str | None) -> None:
    """List what a recipe can say. WHAT is a family such as `kernels`, a kind such as `mala`, `recipes` or `attacks`."""
    from atentdsl.cli.vocabulary import attacks_text, families, family_text, kind_text, places

    if what is None:
        click.echo("\n".join([*(family_text(name) for name in families()), attacks_text()]))
    elif what == "attacks":
        click.echo(attacks_text())
    elif what in families():
        click.echo(family_text(what))
    elif places(what):
        click.echo("\n".join(kind_text(family, what) for family in places(what)))
    else:
        from atentdsl.cli.vocabulary import all_kinds
        from atentdsl.source import suggest

        near = suggest(what, [*families(), *all_kinds()])
        hint = f"did you mean `{near}`? " if near else ""
        raise click.UsageError(f"nothing is called `{what}`; {hint}families: {', '.join(families())}")
