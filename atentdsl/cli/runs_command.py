"""`atentdsl runs`: which runs there are, what one of them is, and what may be deleted."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from atentdsl.runtime.runs import Summary

root = click.argument("root", metavar="DIR", type=click.Path(exists=True, file_okay=False), default="runs")


@click.group("runs")
def command() -> None:
    """The runs in a folder: list them, show one, prune what is needed no more."""


@command.command("list")
@root
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object a run.")
def list_command(root: str, as_json: bool) -> None:
    """List the runs below DIR (runs, where it is not given), each with how it ended and what it reached."""
    from atentdsl.runtime.runs import found

    runs = list(found(Path(root)))
    if as_json:
        click.echo(json.dumps([_facts(run) for run in runs], indent=2))
        return
    if not runs:
        click.echo(f"no run in {root}", err=True)
    width = max((len(str(run.path)) for run in runs), default=0)
    for run in runs:
        click.echo(
            f"{run.path!s:<{width}}  {run.status:<11}  step {run.step:>7,}  {_bytes(run.size):>8}  {_reached(run)}"
        )


@command.command("show")
@click.argument("run", metavar="RUN", type=click.Path(exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show_command(run: str, as_json: bool) -> None:
    """Show what RUN is: recipe, seed, device, precision, versions, how it ended, what it reached, how to go on."""
    from atentdsl.cli.tables import evaluation_table
    from atentdsl.runtime.directory import RunDirectory
    from atentdsl.runtime.runs import summary

    path = RunDirectory.open(Path(run)).path
    try:
        found = summary(path)
    except ValueError as error:
        raise click.ClickException(f"{path} cannot be read: {error}") from error
    if as_json:
        click.echo(json.dumps({**_facts(found), "manifest": found.manifest}, indent=2))
        return
    made = found.manifest
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items() if version)
    rows = {
        "run": found.path,
        "recipe": f"{found.name} (sha256 {made['recipe_sha256'][:12]})",
        "status": f"{found.status}, {found.epoch} epochs with a line, step {found.step:,}",
        "started": made["started"],
        "resumed": ", ".join(f"{entry['at']} after step {entry['step']:,}" for entry in made.get("resumed", [])),
        "command": " ".join(made["command"] or []),
        "seed": made["seed"],
        "network": made["model"],
        "data": made["data"],
        "device": made["device"],
        "precision": made.get("policy", {}).get("precision", ""),
        "tolerance": made.get("tolerance", ""),
        "versions": versions,
        "size": _bytes(found.size),
    }
    for name, value in rows.items():
        if value != "":
            click.echo(f"{name:<9} {value}")
    if found.evaluation is not None:
        click.echo(evaluation_table(found.name, found.evaluation))
    elif found.status == "interrupted":
        click.echo(f"go on with `atentdsl run --resume {found.path}`")


@command.command("prune")
@root
@click.option("--unfinished", is_flag=True, help="Delete interrupted and diverged runs too, whole.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
def prune_command(root: str, unfinished: bool, yes: bool) -> None:
    """List what the runs below DIR need no more, and delete it after asking.

    Of a finished run that is what it could have been resumed from; the checkpoint kept, the recipe, the metrics and the
    evaluation stay.
    """
    from atentdsl.runtime.runs import leftovers, size

    gone = leftovers(Path(root), unfinished)
    if not gone:
        click.echo("nothing to delete")
        return
    for path in gone:
        click.echo(f"{_bytes(size(path)):>8}  {path}")
    click.echo(f"{_bytes(sum(size(path) for path in gone)):>8}  in all")
    if not yes:
        if not sys.stdin.isatty():
            click.echo("nothing is deleted: pass --yes", err=True)
            return
        if not click.confirm("delete these?", default=False):
            return
        still = leftovers(Path(root), unfinished)  # somebody may have gone on with a run meanwhile
        gone = [path for path in gone if path in still]
    for path in gone:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    click.echo("deleted")


def _facts(run: Summary) -> dict[str, object]:
    return {
        "path": str(run.path),
        "name": run.name,
        "status": run.status,
        "step": run.step,
        "epoch": run.epoch,
        "size": run.size,
        "started": run.manifest["started"],
        "seed": run.manifest["seed"],
        "evaluation": run.evaluation,
    }


def _reached(run: Summary) -> str:
    """Clean and robust accuracy in a few words."""
    if run.evaluation is None:
        return ""
    shares = {"clean": run.evaluation["clean_accuracy"]}
    shares |= {name: attack["robust_accuracy"] for name, attack in run.evaluation["attacks"].items()}
    of = f" of {run.evaluation['data']}" if "data" in run.evaluation else ""
    return ", ".join(f"{name} {share:.1%}".replace("%", " %") for name, share in shares.items()) + of


def _bytes(number: int) -> str:
    """A size in the units that people read.

    >>> _bytes(999), _bytes(2_345_678)
    ('999 B', '2.3 MB')
    """
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{number} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
