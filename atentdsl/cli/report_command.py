"""`atentdsl report`: a page of a run, and its numbers for TensorBoard."""

from __future__ import annotations

import click

from atentdsl.cli import options


@click.command("report")
@click.argument("run", metavar="RUN", type=click.Path(exists=True, file_okay=False))
@click.option("--out", type=click.Path(), metavar="FILE", help="The page; else report.html in RUN.")
@click.option(
    "--no-examples",
    "examples",
    flag_value=False,
    default=True,
    help="Show no images: neither data nor network are loaded.",
)
@options.data_root
@options.device
@options.user_code
def command(run: str, out: str | None, examples: bool, data_root: str | None, device: str, user_code: bool) -> None:
    """Write a page of RUN, a run's directory, as one HTML file; the last line is the file.

    It has the recipe and what it is composed of, the curves of training, every evaluation that lies in RUN as JSON,
    images under the attack that watched over training, and how it was made. It opens without a network connection.
    Of a run that is not finished it has what is there. Beside it, in `tensorboard`, go TensorBoard events, if the extra
    `tensorboard` is installed.
    """
    from atentdsl import api

    written = api.report(run, out=out, examples=examples, data_root=data_root, device=device, user_code=user_code)
    for line in written.left_out:
        click.echo(line, err=True)
    click.echo(written.page)
