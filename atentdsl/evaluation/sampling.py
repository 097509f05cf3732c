"""Attacks that are samplers of the project's own primitives, compiled by its own compiler.

What attacks is written as a recipe, lowered and generated like what trains. Its module is stored beside the run's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from atentdsl.codegen import Compiled, as_module, generate
from atentdsl.evaluation.ball import Ball
from atentdsl.evaluation.with_gradient import WithGradient
from atentdsl.recipe import AttackName, Recipe, Threat, load
from atentdsl.recipe.evaluating import cannot_attack
from atentdsl.runtime.accuracy import correct
from atentdsl.runtime.errors import NotFinite, UnsuitedAttack, placed_among
from atentdsl.runtime.streams import Streams, key

# How each norm's ball is searched: a random start inside it, the steepest ascent in it, and what brings a step back.
# In l1 the box comes first, which leaves what sticks out of it to other pixels; shrinking towards the image keeps it.
SEARCH = {
    "linf": ("uniform", "sign", ("linf_ball", "box")),
    "l2": ("radial", "l2", ("l2_ball", "box")),
    "l1": ("uniform", "sparse", ("box", "l1_ball", "box")),
}
ENDED = 10**9
"""A step that no training reaches: every schedule over steps has ended there."""
CW_STEPS = 100
"""Steps of `cw` in l-infinity, where it is projected gradient descent on the margin."""


@attrs.frozen(eq=False)
class SamplerAttack:
    """The last points of a compiled sampler, drawn anew for each restart; the network in eval mode.

    Attributes:
        name: as it was asked for.
        ball: what its points are checked against.
        restarts: an image counts if it withstands all.
        says: what a report says of it beside ball and restarts.
        compiled: its sampler.
        confined: whether its projections keep it in the ball, so that a point outside is an error; the points of
            another's recipe may leave it, and count for nothing there.
        epoch: the epoch that schedules of its numbers read: a recipe's last.
        step: the step that they read, for the first chain; each restart counts one on, and draws as that step does.
        watches: whether training can be watched by it.
    """

    name: str
    ball: Ball
    restarts: int
    says: Mapping[str, Any]
    compiled: Compiled = attrs.field(repr=False)
    confined: bool = True
    epoch: int = 1
    step: int = 0
    watches: bool = False
    _module: Any = attrs.field(repr=False, kw_only=True)

    def settings(self) -> dict[str, Any]:
        """Everything that its figure depends on, for the report."""
        return {"norm": self.ball.norm, "radius": self.ball.radius, **self.says, "restarts": self.restarts}

    def perturbed(self, model: nn.Module, x: Tensor, y: Tensor, seed: int, restart: int = 0) -> Tensor:
        """The attacked images, `(batch, *input)`.

        Raises:
            ValueError: a perturbation has left its ball or box, which no confined attack does.
            NotFinite: a point is no numbers, since the network's answers on the way to it were none; names the image.
        """
        streams = Streams(seed, self.step + restart, x.device, epoch=self.epoch)
        z: Tensor = self._module.draw(WithGradient(model), x, y, streams)[-1][0]
        finite = z.isfinite().flatten(1).all(dim=1)
        if not bool(finite.all()):
            raise NotFinite(int(torch.nonzero(~finite)[0]))
        if self.confined:
            self.ball.require(self.name, x, z)
        return z

    def withstands(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Which images are classified right after every restart, a boolean each; the fallen are not attacked again.

        Raises:
            As `perturbed`.
            UnsuitedAttack: its loss needs more classes than the network has.
        """
        self.require_classes(model, x)
        standing = torch.arange(len(x), device=x.device)
        for restart in range(self.restarts):
            if not len(standing):
                break
            with placed_among(standing):
                z = self.perturbed(model, x[standing], y[standing], key(seed, self.name), restart)
                held = correct(model, z, y[standing])
            if not self.confined:
                held |= ~self.ball.holds(x[standing], z)
            standing = standing[held]
        found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        found[standing] = True
        return found

    def require_classes(self, model: nn.Module, x: Tensor) -> None:
        """Asks for as many classes as its loss compares.

        Raises:
            UnsuitedAttack: the network has fewer.
        """
        loss = self.says.get("loss", "")
        if loss not in {"dlr", "margin"} or not len(x):
            return
        model.eval()
        with torch.no_grad():
            classes = model(x[:1]).shape[1]
        least = 3 if loss == "dlr" else 2
        if classes < least:
            raise UnsuitedAttack(
                self.name, f"its loss `{loss}` compares {least} classes, and the network has {classes}"
            )


def gradient_attack(recipe: Recipe, name: AttackName, within: Threat) -> SamplerAttack:
    """Projected gradient descent on the negative loss (Madry et al.) in the ball, from a random point of it.

    `fgsm` is one step of the radius from the image itself (Goodfellow et al.). `cw` in l-infinity climbs the margin of
    Carlini and Wagner in the ball, as the tables of adversarial training have it. In l1 the first chain starts from the
    image, and only restarts from random points: sparse steps take long to be rid of what such a point spends on pixels
    that matter little.

    Args:
        recipe: what is evaluated; the module names its data and network.
        name: the attack's settings; `[evaluate]` says those that it leaves out.
        within: its ball.
    """
    fast, carlini = name.kind == "fgsm", name.kind == "cw"
    steps = CW_STEPS if carlini else name.steps
    loss = "margin" if carlini else name.loss
    radius = within.radius
    given = name.step_size or (None if fast or carlini else recipe.evaluate.step_size)
    step_size = radius if fast else given or 2.5 * radius / steps
    restarts = 1 if fast else name.restarts or recipe.evaluate.restarts
    start, drift, projections = SEARCH[within.norm]
    first: Any = radius
    if within.norm == "l1" and radius:
        first = {"kind": "piecewise", "over": "steps", "at": [1, 2], "value": [0.0, radius]}
        begins = "zero" if fast or restarts == 1 else f"zero, then {start}"
    else:
        begins = "zero" if fast else start
    sampler = {
        "name": "attack",
        "moves": steps if radius else 0,
        "mode": "eval",
        "target": {"loss": loss},
        "start": {"kind": "zero"} if fast else {"kind": start, "radius": first, "projected": True},
        "kernel": {"kind": "gradient", "step_size": step_size or 1.0, "drift": drift},
        "projection": [{"kind": kind} if kind == "box" else {"kind": kind, "radius": radius} for kind in projections],
    }
    values = _alone(recipe, name.text, [sampler])
    values.pop("smoothing", None)  # a training's noise: the network is attacked as it is measured, without
    compiled = generate(load(values, name=name.text), "draw")
    says = {"steps": steps, "step_size": step_size, "loss": loss, "start": begins}
    module = as_module(compiled.text, name.text)
    ball = Ball(within.norm, radius)
    step = 1 if within.norm == "l1" else 0
    return SamplerAttack(name.text, ball, restarts, says, compiled, step=step, watches=name.watches, module=module)


def recipe_attack(text: str, recipe: Recipe, within: Threat | None, times: int = 1) -> SamplerAttack:
    """A recipe's own sampler as an attack: its last points, each restart a chain of its own, the network in eval mode.

    Args:
        text: what it was asked for by.
        recipe: whose sampler attacks; schedules over epochs and steps are where its training ends.
        within: the ball that points have to be in, to count; the sampler's own where it has one is checked instead.
        times: how often all its chains are drawn.

    Raises:
        UnsuitedAttack: it has no sampler of data, one of weights, a margin search, or no ball.
    """
    if why := cannot_attack(recipe.samplers):
        mend = "take a recipe whose samplers are of data, `pgd-20`, or for nearest points `deepfool`"
        raise UnsuitedAttack(text, f"it attacks by its samplers, and {why}: {mend}")
    if within is None:
        raise UnsuitedAttack(text, "its sampler has no ball, nor has the evaluation: set `evaluate.radius`")
    samplers = [dict(sampler) for sampler in recipe.values()["sampler"]]
    restarts = times
    for sampler in samplers:
        restarts *= sampler["restarts"]
        sampler |= {"mode": "eval", "restarts": 1}
    compiled = generate(load(_alone(recipe, recipe.name, samplers), name=recipe.name), "draw")
    says = {
        "recipe": recipe.name,
        "recipe_sha256": recipe.digest(),
        "steps": sum(sampler["moves"] for sampler in samplers),
        "loss": samplers[-1]["target"]["loss"],
        **({} if recipe.smoothing is None else {"smoothing": recipe.smoothing.model_dump(exclude_none=True)}),
    }
    epochs: int = recipe.optimizer.epochs  # type: ignore[attr-defined]
    ball, module = Ball(within.norm, within.radius), as_module(compiled.text, recipe.name)
    return SamplerAttack(text, ball, restarts, says, compiled, confined=False, epoch=epochs, step=ENDED, module=module)


def _alone(recipe: Recipe, name: str, samplers: list[dict[str, Any]]) -> dict[str, Any]:
    """The recipe's values with these samplers, and nothing of its training that they do not read."""
    values = {**recipe.values(), "sampler": samplers}
    values["recipe"] = {**values["recipe"], "name": _file_name(name)}
    values["evaluate"] = {"attacks": [], "select": "last"}
    values["objective"] = {"kind": "cross_entropy"}
    values["optimizer"] = {**values["optimizer"], "restore": "before_update"}  # an attack perturbs no weights
    return values


def _file_name(text: str) -> str:
    """A recipe's name for an attack's: its settings stand in file names too."""
    return text.replace(",", "_").replace("=", "-").replace("/", "_").removesuffix(".toml")[:80]
