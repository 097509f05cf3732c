"""`atentdsl run`: train what a recipe says, and evaluate it; or go on with a run that was interrupted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atentdsl.cli import options

if TYPE_CHECKING:
    from atentdsl.api import Run

# What a resumed run takes from its own directory, and how that is said on the command line.
ITS_OWN = {
    "recipe": "RECIPE",
    "overrides": "--set",
    "out": "--out",
    "seed": "--seed",
    "max_steps": "--max-steps",
    "new": "--new",
}


@click.command("run")
@click.argument("recipe", metavar="RECIPE", required=False)
@options.overrides
@options.data_root
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to compute; a GPU if there is one.")
@options.user_code
@options.trust
@click.option("--out", metavar="DIR", show_default="runs", help="Where run directories are made.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the recipe's.")
@click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Stop after N outer steps.")
@click.option(
    "--resume", type=click.Path(), metavar="RUN", help="Go on with this run, to the same weights bit for bit."
)
@click.option("--new", is_flag=True, help="Begin anew without asking, if a run of this recipe was interrupted.")
@click.option("--skip-damaged", is_flag=True, help="With --resume: go on from the newest good checkpoint.")
@click.option("--other-version", is_flag=True, help="With --resume: torch or atentdsl may be another version.")
@click.option("--checkpoint-steps", type=click.IntRange(min=1), metavar="N", help="Write a checkpoint every N steps.")
@click.option(
    "--checkpoint-minutes",
    type=click.FloatRange(min=0),
    default=1.0,
    metavar="M",
    show_default=True,
    help="Else every M minutes, for at most 1 % of the time.",
)
def command(
    recipe: str | None,
    resume: str | None,
    new: bool,
    skip_damaged: bool,
    other_version: bool,
    overrides: tuple[str, ...],
    out: str | None,
    seed: int | None,
    max_steps: int | None,
    device: str | None,
    **shared: Any,
) -> None:
    """Train what RECIPE says and evaluate it on the test split; the last line is the run's directory.

    A run that was interrupted goes on with --resume RUN.
    """
    from atentdsl import api
    from atentdsl.cli.tables import evaluation_table
    from atentdsl.runtime.interruption import interruptions_heeded

    shared["command"] = ["atentdsl", *sys.argv[1:]]
    if resume is not None:
        given = {
            "recipe": recipe,
            "overrides": overrides or None,
            "out": out,
            "seed": seed,
            "max_steps": max_steps,
            "new": new or None,
        }
        for name, value in given.items():
            if value is not None:
                raise click.UsageError(f"--resume takes {ITS_OWN[name]} from the run itself: leave it out")
    elif recipe is None:
        raise click.UsageError("Missing argument 'RECIPE': name one, or a run to go on with by --resume")
    elif skip_damaged or other_version:
        raise click.UsageError("--skip-damaged and --other-version go with --resume")
    # Signals are heeded before torch is loaded, which takes a while; at a question they end the command as ever.
    if recipe is not None and not new:
        resume = _offered(recipe, overrides, seed, max_steps, out or "runs")
    if resume is not None:
        run = _resumed(resume, skip_damaged, other_version=other_version, device=device, **shared)
    else:
        assert recipe is not None, "asked for above"
        with interruptions_heeded():
            run = api.train(
                recipe,
                overrides=overrides,
                out=out or "runs",
                seed=seed,
                max_steps=max_steps,
                device=device or "auto",
                **shared,
            )
    click.echo(evaluation_table(run.recipe.name, run.evaluation))
    click.echo(run.path)


def _offered(recipe: str, overrides: tuple[str, ...], seed: int | None, max_steps: int | None, out: str) -> str | None:
    """An interrupted run of the same recipe that the user wants to go on with; without a terminal it is only named."""
    from atentdsl import api

    found = api.interrupted(recipe, overrides, seed=seed, max_steps=max_steps, out=out)
    if not found:
        return None
    last = found[-1]
    click.echo(f"a run of this recipe was interrupted after step {last.step:,}: {last.path}", err=True)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        click.echo(f"a new one begins; go on with that one by `atentdsl run --resume {last.path}`", err=True)
        return None
    return str(last.path) if click.confirm("go on with it?", default=True, err=True) else None


def _resumed(run: str, skip_damaged: bool, **options: Any) -> Run:
    """Goes on with a run; at a damaged checkpoint a user at a terminal is asked whether to take the one before it."""
    from atentdsl import api
    from atentdsl.runtime.errors import CheckpointBroken
    from atentdsl.runtime.interruption import interruptions_heeded

    try:
        with interruptions_heeded():
            return api.resume(Path(run), skip_damaged=skip_damaged, **options)
    except CheckpointBroken as error:
        if error.previous is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        click.echo(str(error), err=True)
        if not click.confirm("go on from there?", default=True, err=True):
            raise
    with interruptions_heeded():
        return api.resume(Path(run), skip_damaged=True, **options)
