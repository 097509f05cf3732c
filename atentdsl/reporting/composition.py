"""What a recipe is composed of: its primitives one by one, and all of them in a few sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from atentdsl.primitives.documented import first_line
from atentdsl.recipe import Recipe
from atentdsl.recipe.toml_text import value_text

__all__ = ["Part", "parts", "sentences"]

PATHS = {"ascend": "climbs", "descend": "descends"}


@attrs.frozen
class Part:
    """One primitive of a recipe.

    Attributes:
        slot: what it is there: `proposal kernel of attack`.
        kind: its word.
        settings: each parameter with its value as TOML, defaults too.
        says: the first line of its documentation.
    """

    slot: str
    kind: str
    settings: tuple[tuple[str, str], ...]
    says: str


def parts(recipe: Recipe) -> list[Part]:
    """The primitives in the order they act, samplers outermost first.

    >>> import atentdsl
    >>> [f"{part.slot}: {part.kind}" for part in parts(atentdsl.load("pgd_at_linf"))]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['sampler attack: chain', 'target of attack: cross_entropy', 'start of attack: uniform',
     'proposal kernel of attack: gradient', 'projection of attack: linf_ball', 'projection of attack: box',
     'averaging of attack: last', 'objective: cross_entropy', 'outer optimizer: sgd']
    """
    values = recipe.values()
    found = [part for sampler in values["sampler"] for part in _sampler(sampler)]
    found.append(_part("objective", "objectives", values["objective"]))
    if "smoothing" in values:
        says = "Gaussian noise on the network's input, in every evaluation of a step."
        found.append(Part("smoothing", "gaussian", _settings(values["smoothing"]), says))
    optimizer = dict(values["optimizer"])
    average = optimizer.pop("weight_averaging", None)
    found.append(_part("outer optimizer", "optimizers", optimizer))
    return found if average is None else [*found, _part("weight averaging", "weight_averages", average)]


SLOTS = (
    ("start", "start", "starts"),
    ("kernel", "proposal kernel", "kernels"),
    ("projection", "projection", "projections"),
    ("averaging", "averaging", "averaging"),
)
"""A sampler's tables beside its target: key, what is said, and family. Not every kind of sampler has them all."""


def _sampler(sampler: Mapping[str, Any]) -> Iterator[Part]:
    name, target = sampler["name"], dict(sampler["target"])
    inner = {"name", "target", *(key for key, _, _ in SLOTS)}
    yield _part(f"sampler {name}", "samplers", {key: value for key, value in sampler.items() if key not in inner})
    loss, coupling = target.pop("loss"), target.pop("coupling", {"kind": "none"})
    yield Part(f"target of {name}", loss, _settings(target), first_line("targets", loss))
    if coupling["kind"] != "none":
        yield _part(f"coupling of {name}", "couplings", coupling)
    for key, slot, family in SLOTS:
        tables = sampler.get(key, [])
        for table in tables if isinstance(tables, list) else [tables]:
            yield _part(f"{slot} of {name}", family, table)


def _part(slot: str, family: str, table: Mapping[str, Any]) -> Part:
    kind = table["kind"]
    settings = {key: value for key, value in table.items() if key != "kind"}
    return Part(slot, kind, _settings(settings), first_line(family, kind))


def _settings(table: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value_text(value)) for key, value in table.items())


def sentences(recipe: Recipe) -> list[str]:
    r"""The composition in words; the recipe's own words stand in backticks.

    >>> import atentdsl
    >>> print("\n".join(sentences(atentdsl.load("sgd"))))
    Training of the network `small_cnn` on `digits`: 30 epochs in batches of 64.
    No sampler: the network is trained on the images as they are.
    The weights move by `sgd` along the gradient of the objective, `cross_entropy`.
    """
    values = recipe.values()
    data, epochs = values["data"], _counted(values["optimizer"]["epochs"], "epoch")
    found = [
        f"Training of the network `{values['model']['name']}` on `{data['name']}`: {epochs} in batches of "
        f"{data['batch']}."
    ]
    found += [_told(sampler, depth > 0) for depth, sampler in enumerate(values["sampler"])]
    if not values["sampler"]:
        found.append("No sampler: the network is trained on the images as they are.")
    at = ", at these points as they are weighted" if values["sampler"] else ""
    optimizer, objective = values["optimizer"], values["objective"]
    found.append(
        f"The weights move by `{optimizer['kind']}` along the gradient of the objective, `{objective['kind']}`{at}."
    )
    if objective.get("clean"):
        found.append(f"Of the signal a share of {objective['clean']:g} is cross entropy at the clean images.")
    if "clip" in optimizer:
        found.append("The gradient is shortened where it is longer than `clip` says.")
    if "weight_averaging" in optimizer:
        found.append(f"The `{optimizer['weight_averaging']['kind']}` of the weights is what is measured and kept.")
    if "smoothing" in values:
        copies = _counted(values["smoothing"]["draws"], "noisy copy", "noisy copies")
        found.append(f"Every evaluation of the network is one of {copies} of each image.")
    return found


def _told(sampler: Mapping[str, Any], inside: bool) -> str:
    begins = "Inside it, at each of its points, the" if inside else "The"
    what = "each image" if sampler["space"] == "data" else "the weights"
    does = _chain(sampler) if "averaging" in sampler else _search(sampler)
    return f"{begins} sampler `{sampler['name']}` perturbs {what}: {does}."


def _chain(sampler: Mapping[str, Any]) -> str:
    """What a chain does: its moves, its projections, what it hands on."""
    target, averaging, kernel = sampler["target"], sampler["averaging"], sampler.get("kernel")
    does = f"it starts at `{sampler['start']['kind']}`"
    if kernel is not None and sampler["moves"]:
        loss = "the signal of the batch" if target["loss"] == "signal" else f"`{target['loss']}`"
        held = "" if target["coupling"]["kind"] == "none" else f", held by the coupling `{target['coupling']['kind']}`,"
        path, moves = PATHS[target.get("direction", "ascend")], _counted(sampler["moves"], "move")
        does = f"from the start `{sampler['start']['kind']}` it {path} {loss}{held} by {moves} of `{kernel['kind']}`"
    sets = [
        f"`{projection['kind']}`{' after the last move' if projection['when'] == 'last' else ''}"
        for projection in sampler["projection"]
    ]
    does += f", brought back by {', then '.join(sets)}" if sets else ""
    does += f", {sampler['restarts']} times anew" if sampler["restarts"] > 1 else ""
    does += f". Its points are weighted by `{averaging['kind']}`"
    return does + (
        ", and the signal is the squared distance to their average" if averaging["of"] == "displacement" else ""
    )


def _search(sampler: Mapping[str, Any]) -> str:
    """What a margin search does."""
    moves, halvings = _counted(sampler["moves"], "move"), _counted(sampler["bisections"], "bisection")
    return (
        f"it climbs `{sampler['target']['loss']}` by {moves} within the image's own radius, and looks for the margin "
        f"along that ray by {halvings}, up to {sampler['max_radius']:g} in {sampler['norm']}"
    )


def _counted(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"
