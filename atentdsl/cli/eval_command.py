"""`atentdsl eval`: evaluate a run's checkpoint again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from atentdsl.cli import options


@click.command("eval")
@click.argument("run", metavar="RUN", type=click.Path(exists=True, file_okay=False))
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@options.overrides
@options.data_root
@options.device
def command(run: str, split: str, overrides: tuple[str, ...], data_root: str | None, device: str) -> None:
    """Evaluate the checkpoint of RUN, a run directory, and print the result as JSON.

    A run that ended before its evaluation gets its `evaluation.json`; one that has it keeps it as it is.
    """
    from atentdsl import api
    from atentdsl.runtime.directory import RunDirectory

    result = api.evaluate(run, split=split, overrides=overrides, data_root=data_root, device=device)  # type: ignore[arg-type]
    if split == "test" and not overrides and not (Path(run) / "evaluation.json").exists():
        RunDirectory.open(Path(run)).write_json("evaluation.json", result)
    click.echo(json.dumps(result, indent=2))
