"""`atentdsl eval`: evaluate a run's checkpoint again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from atentdsl.cli import options


@click.command("eval")
@click.argument("run", metavar="RUN", type=click.Path(exists=True, file_okay=False))
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@options.overrides
@options.data_root
@options.device
@options.user_code
@options.trust
def command(
    run: str,
    split: Literal["test", "validation"],
    overrides: tuple[str, ...],
    data_root: str | None,
    device: str,
    user_code: bool,
    trust: bool,
) -> None:
    """Evaluate the checkpoint of RUN, a run directory, and print the result as JSON.

    A run that ended before its evaluation gets its `evaluation.json`; one that has it keeps it as it is, and one whose
    training is not over gets none. With `--set model.init=PATH` the weights at PATH are evaluated in the checkpoint's
    place, and nothing is written.
    """
    from atentdsl import api
    from atentdsl.runtime.directory import EVALUATION, RunDirectory

    result = api.evaluate(
        run,
        split=split,
        overrides=overrides,
        data_root=data_root,
        device=device,
        user_code=user_code,
        trust=trust,
    )
    if split == "test" and not overrides and api.awaits_evaluation(run):
        directory = RunDirectory.open(Path(run))
        directory.hold()
        directory.write_json(EVALUATION, result)
        directory.release()
    click.echo(json.dumps(result, indent=2))
