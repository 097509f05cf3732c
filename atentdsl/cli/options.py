"""Options that several commands share."""

from __future__ import annotations

import click

recipe = click.argument("recipe", metavar="RECIPE")
overrides = click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Lay one value over the recipe's; may be repeated."
)
device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
user_code = click.option(
    "--no-user-code",
    "user_code",
    flag_value=False,
    default=True,
    help="Refuse a network that is named as `module:attribute`: such code runs.",
)
trust = click.option(
    "--trust",
    is_flag=True,
    help="Take weights from a TorchScript archive or an exported program too: loading one can run code that it holds.",
)
data_root = click.option(
    "--data-root",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Where data sets on disk are; else ATENTDSL_DATA, else the user's cache.",
)
