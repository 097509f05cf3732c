"""`atentdsl compare`: finished runs in one table."""

from __future__ import annotations

import json
import shlex
import sys

import click


@click.command("compare")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option(
    "--out", type=click.Path(), metavar="STEM", help="Write STEM.md, STEM.csv, and the figure as STEM.png and STEM.svg."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with each seed's figures.")
def command(folders: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Compare the finished runs in every DIR: a sweep, a run, or a folder of runs. Loads no torch.

    A row a recipe, with means and sample deviations over its seeds; a column an attack, whose whole setting stands
    below. Unlike things are never averaged: recipes that share a name have a row each, and settings that share an
    attack's name a column each.
    """
    from atentdsl import api
    from atentdsl.reporting.comparison import markdown

    found = api.compare(folders, out=out, command=shlex.join(["atentdsl", *sys.argv[1:]]))
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else markdown(found).rstrip("\n"))
