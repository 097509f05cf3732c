"""`atentdsl bench`: how far a compiled step is from its limit, and what an epoch adds to its steps."""

from __future__ import annotations

import json
from typing import Any

import click

from atentdsl.cli import options


@click.command("bench")
@options.recipe
@options.overrides
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.option("--epoch", is_flag=True, help="A training epoch against the sum of its steps.")
@click.option("--eval", "attack", is_flag=True, help="An evaluation's PGD-20 against its network passes.")
@click.option("--rounds", type=click.IntRange(min=1), metavar="N", help="Timed rounds: 20; with --epoch 5.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="With --epoch: at most N steps an epoch.")
@options.device
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads to compute with on a CPU.")
@options.user_code
def command(
    recipe: str, as_json: bool, epoch: bool, attack: bool, rounds: int | None, steps: int | None, **shared: Any
) -> None:
    """Time the training step of RECIPE against the network passes it is made of: the limit.

    Literal plan, compiled step and limit take turns in one run, on random weights and images, so no data set has to be
    there; where it can run the recipe, so does the schedule of the published ATENT code.
    """
    from atentdsl import api
    from atentdsl.cli.tables import attack_table, epoch_table, step_table

    if steps is not None and not epoch:
        raise click.UsageError("--steps goes with --epoch")
    if epoch and attack:
        raise click.UsageError("--epoch and --eval measure different things: say one of them")
    if rounds is not None:
        shared["rounds"] = rounds
    if epoch:
        found, table = api.bench_epoch(recipe, steps=steps, **shared), epoch_table
    elif attack:
        found, table = api.bench_attack(recipe, **shared), attack_table
    else:
        found, table = api.bench(recipe, **shared), step_table
    click.echo(json.dumps(found, indent=2) if as_json else table(found))
