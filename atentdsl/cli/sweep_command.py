"""`atentdsl sweep`: recipes trained with several seeds each, and compared."""

from __future__ import annotations

import shlex
import sys

import click

from atentdsl.cli import options


def seed_numbers(context: click.Context, parameter: click.Parameter, value: str) -> int | list[int]:
    """A number of seeds from 0 on, or the seeds themselves, parted by commas; `5,` is seed 5 alone."""
    parts = [part.strip() for part in value.removesuffix(",").split(",")]
    one = "," not in value
    if not all(part.isdecimal() for part in parts) or (one and int(value) < 1):
        raise click.BadParameter(f"{value!r} is neither a number of seeds nor a list such as 0,5,7", context, parameter)
    return int(value) if one else [int(part) for part in parts]


def job_number(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """A number from 1 on; None for `auto`."""
    if value == "auto":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number from 1 on nor `auto`", context, parameter)
    return int(value)


@click.command("sweep")
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True)
@click.option(
    "--seeds",
    metavar="N|A,B,…",
    callback=seed_numbers,
    default="3",
    show_default=True,
    help="How many seeds, from 0 on; or which, such as 0,5,7 or `5,`.",
)
@options.overrides
@click.option(
    "--attack",
    "attacked_by",
    metavar="NAME",
    multiple=True,
    help="Evaluate every run by this too, as `eval --attack` does, each attack on every image; compare these figures.",
)
@click.option("--first", type=click.IntRange(1), metavar="N", help="These attacks on the first N images only.")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="The sweep's folder; else one named after the recipes in runs/sweeps.",
)
@click.option(
    "--jobs",
    metavar="auto|N",
    callback=job_number,
    default="auto",
    show_default=True,
    help="Runs at once: as many as there are cores, of one thread each where OMP_NUM_THREADS says no other number, "
    "and one on a GPU.",
)
@options.data_root
@options.device
@options.user_code
@click.pass_context
def command(
    ctx: click.Context,
    recipes: tuple[str, ...],
    seeds: int | list[int],
    overrides: tuple[str, ...],
    attacked_by: tuple[str, ...],
    first: int | None,
    out: str | None,
    jobs: int | None,
    data_root: str | None,
    device: str,
    user_code: bool,
) -> None:
    """Train every RECIPE with every seed, side by side as the cores allow, and compare them in a table.

    Given again, the same command goes on: what is finished is not done again. With more seeds, or with more recipes and
    the same --out, the sweep grows by them; with other attacks its runs are evaluated by these. A run that fails stops
    no other; its reason stands at the end, and its exit code is the sweep's. The last line is the sweep's folder, which
    has the table as Markdown, CSV and a figure, the runs, and their logs.
    """
    if first is not None and not attacked_by:
        raise click.UsageError("--first is of --attack: name an attack too")
    from atentdsl import api
    from atentdsl.reporting.comparison import markdown

    done = api.sweep(
        recipes,
        seeds=seeds,
        overrides=overrides,
        attacked_by=attacked_by,
        first=first,
        out=out,
        jobs=jobs,
        data_root=data_root,
        device=device,
        user_code=user_code,
        command=shlex.join(["atentdsl", *sys.argv[1:]]),
        tell=lambda line: click.echo(line, err=True),
    )
    if done.comparison is not None:
        click.echo(markdown(done.comparison))
    click.echo(done.path)
    for failure in done.failures:
        click.echo(f"{failure.run} failed with exit code {failure.code}: {failure.reason} ({failure.log})", err=True)
    codes = {failure.code for failure in done.failures}
    ctx.exit(codes.pop() if len(codes) == 1 else min(len(codes), 1))
