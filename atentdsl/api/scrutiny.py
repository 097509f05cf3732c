"""What an evaluation is asked beside its figures: curves, and signs of masked gradients, with the warnings on top."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from atentdsl.recipe import Recipe
    from atentdsl.runtime.data import Images


def scrutinised(
    network: nn.Module,
    images: Images,
    recipe: Recipe,
    found: dict[str, Any],
    *,
    sanity: bool,
    curves: Path | None,
    source: nn.Module | None = None,
) -> dict[str, Any]:
    """The evaluation with what the checks and curves say, made on its first images; `warnings` stand first.

    Args:
        network, images, recipe: what was evaluated, on one device.
        found: the evaluation.
        sanity: makes the checks.
        curves: the folder that the curves are written to.
        source: as for `evaluation.sanity.sanity`.

    Raises:
        UnsuitedAttack: the recipe has no ball to attack in.
        StorageFailed: the folder holds other things, or a file cannot be written.
    """
    from atentdsl.evaluation.report import InBfloat16
    from atentdsl.evaluation.whitebox import FIRST, leading

    if not sanity and curves is None:
        return found
    asked = InBfloat16(network) if recipe.evaluate.precision == "bfloat16" else network
    some = leading(images, FIRST)
    seed, batch = recipe.header.seed, recipe.evaluate.batch
    warnings: list[str] = []
    said: dict[str, Any] = {}
    if sanity:
        from atentdsl.evaluation.sanity import sanity as checks

        made = checks(asked, some, recipe, seed, batch, source=source)
        warnings += [check.warning for check in made if check.warning]
        said["sanity"] = [check.report() for check in made]
    if curves is not None:
        from atentdsl.evaluation.curves import curves as drawn
        from atentdsl.evaluation.whitebox import evaluated_ball
        from atentdsl.reporting import curves as reporting

        lines = drawn(asked, some, recipe, seed, batch)
        own = [line.warning for line in lines if line.warning]
        ball = evaluated_ball(recipe)
        kept = ("data", "split", "seed", "batch", "precision", "confidence")
        settings: dict[str, Any] = {name: found[name] for name in kept if name in found}
        settings |= {"norm": ball.norm, "radius": ball.radius, "n": len(some)}
        top: dict[str, Any] = {"warnings": own} if own else {}
        reporting.write({**top, **settings, "curves": {line.name: line.report() for line in lines}}, curves)
        warnings += own
        verdicts = {line.name: {"verdict": line.verdict, **line.figures} for line in lines}
        said["curves"] = {"folder": str(curves), "n": len(some), **verdicts}
    return {**({"warnings": warnings} if warnings else {}), **found, **said}
