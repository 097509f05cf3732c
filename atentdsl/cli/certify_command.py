"""`atentdsl certify`: certified accuracy of a run by randomised smoothing, or by interval bounds."""

from __future__ import annotations

from typing import Literal

import click
from click.core import ParameterSource

from atentdsl.cli import options

OF_NOISE = ("sigma", "n0", "n", "alpha", "seed")


def batch_size(context: click.Context, parameter: click.Parameter, value: str) -> int | str:
    """The number of noisy copies, or `auto`; anything else is refused."""
    if value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number from 1 on nor `auto`", context, parameter)
    return int(value)


@click.command("certify")
@click.argument("run", metavar="RUN", type=click.Path(exists=True, file_okay=False))
@click.option("--sigma", type=float, help="The noise's deviation, for inputs in [0, 1].")
@click.option("--intervals", is_flag=True, help="By interval bounds, in l-infinity, without noise.")
@click.option("--n0", type=click.IntRange(1), default=100, show_default=True, help="Votes that choose the class.")
@click.option("--n", type=click.IntRange(1), default=100_000, show_default=True, help="Fresh votes, counted for it.")
@click.option("--alpha", type=float, default=0.001, show_default=True, help="How probably a certificate may be wrong.")
@click.option(
    "--radius",
    "radii",
    type=float,
    multiple=True,
    help="A radius to report at, l2 or with --intervals l-infinity; may be repeated.",
)
@click.option("--first", type=click.IntRange(1), metavar="N", help="Only the first N images.")
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option(
    "--batch",
    metavar="auto|N",
    callback=batch_size,
    default="auto",
    show_default=True,
    help="Noisy copies, or images, at a time; changes no result.",
)
@click.option("--seed", type=int, help="Of the noise; else the recipe's.")
@click.option("--out", type=click.Path(file_okay=False), metavar="DIR", help="The folder; else one in RUN.")
@options.overrides
@options.data_root
@options.device
@options.user_code
@options.trust
@click.pass_context
def command(
    context: click.Context,
    run: str,
    sigma: float | None,
    intervals: bool,
    n0: int,
    n: int,
    alpha: float,
    radii: tuple[float, ...],
    first: int | None,
    split: Literal["test", "validation"],
    batch: int | Literal["auto"],
    seed: int | None,
    out: str | None,
    overrides: tuple[str, ...],
    data_root: str | None,
    device: str,
    user_code: bool,
    trust: bool,
) -> None:
    """Certify the checkpoint of RUN, a run directory: within which radius of each image no input changes its class.

    With --sigma in l2, after Cohen, Rosenfeld & Kolter: of the network smoothed by Gaussian noise, with n0 votes for
    the class and n for its probability. The last line is the folder with a line an image, the table, the figure and
    every setting. A command that was interrupted goes on where it stopped, when it is given again. With `--set
    model.init=PATH` the weights at PATH are certified in the checkpoint's place.

    With --intervals in l-infinity, after Gowal et al.: the share of images that interval bounds prove to be classified
    right all over the ball, of the radius that the recipe's evaluation has, or of each --radius. No attack in the ball
    leaves fewer. Nothing is drawn, and networks that were not trained to it have next to none.
    """
    from pathlib import Path

    from atentdsl import api

    shared = {
        "radii": radii,
        "first": first,
        "split": split,
        "out": out,
        "overrides": overrides,
        "data_root": data_root,
        "device": device,
        "user_code": user_code,
        "trust": trust,
    }
    if intervals:
        given = [f"--{name}" for name in OF_NOISE if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError(f"--intervals draws no noise: drop {', '.join(given)}", context)
        result = api.certify_intervals(run, **shared, **({} if batch == "auto" else {"batch": batch}))  # type: ignore[arg-type]
    elif sigma is None:
        raise click.UsageError("say how: --sigma S for randomised smoothing, or --intervals", context)
    else:
        result = api.certify(
            run,
            sigma=sigma,
            n0=n0,
            n=n,
            alpha=alpha,
            batch=batch,
            seed=seed,
            quiet=False,
            **shared,  # type: ignore[arg-type]
        )
    click.echo((Path(result["folder"]) / "certified.md").read_text(encoding="utf-8"))
    click.echo(result["folder"])
