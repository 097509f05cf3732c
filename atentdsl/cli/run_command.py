"""`atentdsl run`: train what a recipe says, and evaluate it."""

from __future__ import annotations

import sys

import click

from atentdsl.cli import options


@click.command("run")
@options.recipe
@options.overrides
@options.data_root
@options.device
@click.option("--out", default="runs", metavar="DIR", show_default=True, help="Where run directories are made.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the recipe's.")
@click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Stop after N outer steps.")
def command(
    recipe: str,
    overrides: tuple[str, ...],
    data_root: str | None,
    device: str,
    out: str,
    seed: int | None,
    max_steps: int | None,
) -> None:
    """Train what RECIPE says and evaluate it on the test split; the last line is the run's directory."""
    from atentdsl import api
    from atentdsl.cli.tables import evaluation_table

    run = api.train(
        recipe,
        overrides=overrides,
        data_root=data_root,
        device=device,
        out=out,
        seed=seed,
        max_steps=max_steps,
        command=["atentdsl", *sys.argv[1:]],
    )
    click.echo(evaluation_table(run.recipe.name, run.evaluation))
    click.echo(run.path)
