"""`atentdsl explain`: the plan after each pass, and what it costs."""

from __future__ import annotations

import click

from atentdsl.cli import options

LONGEST = 40


@click.command("explain")
@options.recipe
@options.overrides
@click.option("--full", is_flag=True, help="Every line of every plan, however long.")
def command(recipe: str, overrides: tuple[str, ...], full: bool) -> None:
    """Show the plan of RECIPE after each pass and its cost in units. Loads no torch.

    A unit is one network pass over the batch: a forward, an activation backward, or weight gradients.
    """
    from atentdsl.passes import stages
    from atentdsl.plan import dump, lower, units, units_as_usually_written
    from atentdsl.plan.cost import beside_the_steps
    from atentdsl.recipe import load

    checked = load(recipe, overrides)
    history = stages(lower(checked), checked.compile)
    for stage in history:
        effect = f": {stage.effect}" if stage.effect else ""
        click.echo(f"{stage.name}{effect}")
        click.echo(f"cost {units(stage.plan)} units")
        text = dump(stage.plan, None if full else LONGEST)
        click.echo("".join(f"    {line}\n" for line in text.split("\n")))
    literal, compiled = history[0].plan, history[-1].plan
    click.echo(f"units a step, at a tolerance of {checked.compile.tolerance:g}")
    for label, count in (
        ("as usually written", units_as_usually_written(literal)),
        ("literal", units(literal)),
        ("compiled", units(compiled)),
    ):
        click.echo(f"    {label:<20} {count:>6}")
    if beside := beside_the_steps(checked):
        click.echo(beside)
