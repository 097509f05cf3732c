"""`atentdsl export`: write a run's network for others."""

from __future__ import annotations

import click


@click.command("export")
@click.argument("run", metavar="RUN", type=click.Path(exists=True, file_okay=False))
@click.option("--out", metavar="DIR", required=True, help="The folder to write; it must not be there, or be empty.")
def command(run: str, out: str) -> None:
    """Write the network of RUN, a finished run's directory, to DIR; the last line is DIR.

    DIR gets the weights as safetensors, `model.py`, whose `load_model()` needs torch and safetensors and not this
    package, and README.md and model_info.json with what was trained and measured. The network takes images in [0, 1],
    as RobustBench asks. A network of your own, `module:attribute`, is imported by the loader from where it is.
    """
    from atentdsl import api

    click.echo(api.export(run, out))
