"""`atentdsl eval`: evaluate a run's checkpoint again, or a network from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from atentdsl.cli import options


@click.command("eval")
@click.argument("subject", metavar="SUBJECT")
@click.option(
    "--architecture", metavar="NAME", help="What a file's weights are of: an installed network, or `module:attribute`."
)
@click.option(
    "--recipe", metavar="RECIPE", help="Where data and attacks come from, for a file of weights or `module:attribute`."
)
@click.option(
    "--attack",
    "attacked_by",
    metavar="NAME",
    multiple=True,
    help="Attack by this, not as the recipe says: one of `atentdsl list attacks`, or a recipe whose sampler attacks. "
    "May be repeated; settings and overrides stand behind it: `pgd-40,restarts=10`.",
)
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--first", type=click.IntRange(1), metavar="N", help="Only the first N images.")
@click.option(
    "--sanity",
    is_flag=True,
    help="Look for signs of masked gradients, on the first 256 images at most; what fails stands on top.",
)
@click.option(
    "--curves",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write accuracy against radius, steps and restarts, on the first 256 images at most, with figures.",
)
@options.overrides
@options.data_root
@options.device
@options.user_code
@options.trust
def command(
    subject: str,
    architecture: str | None,
    recipe: str | None,
    attacked_by: tuple[str, ...],
    split: Literal["test", "validation"],
    first: int | None,
    sanity: bool,
    curves: str | None,
    overrides: tuple[str, ...],
    data_root: str | None,
    device: str,
    user_code: bool,
    trust: bool,
) -> None:
    """Evaluate SUBJECT and print the result as JSON.

    SUBJECT is a run directory, whose checkpoint is evaluated; a file of weights, safetensors or a state dict, with
    --architecture and --recipe; or `module:attribute`, a network of your own, with --recipe.

    A run that ended before its evaluation gets its `evaluation.json`; one that has it keeps it as it is, and one whose
    training is not over gets none. With `--set model.init=PATH` the weights at PATH are evaluated in the checkpoint's
    place, and nothing is written; nor is it for what is no run, nor with --attack, --first, --sanity or --curves.

    Interrupted, the same command goes on after the last batch of images that an attack had ended on.
    """
    from atentdsl import api
    from atentdsl.runtime.directory import EVALUATION, RunDirectory

    result = api.evaluate(
        subject,
        architecture=architecture,
        recipe=recipe,
        attacked_by=attacked_by,
        split=split,
        first=first,
        sanity=sanity,
        curves=curves,
        overrides=overrides,
        data_root=data_root,
        device=device,
        user_code=user_code,
        trust=trust,
        tell=lambda text: click.echo(f"atentdsl: {text}", err=True),
    )
    asked = overrides or attacked_by or first or sanity or curves
    if Path(subject).is_dir() and split == "test" and not asked and api.awaits_evaluation(subject):
        directory = RunDirectory.open(Path(subject))
        directory.hold()
        directory.write_json(EVALUATION, result)
        directory.release()
    click.echo(json.dumps(result, indent=2))
