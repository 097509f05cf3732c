"""Attacks: samplers of the project's own primitives, compiled by its own compiler.

An attack is the evaluated recipe with its sampler replaced, so what attacks is written, lowered and generated like what
trains. Its module is stored beside the run's.
"""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor, nn

from atentdsl.codegen import Compiled, as_module, generate
from atentdsl.recipe import Recipe, Threat, load, threat
from atentdsl.runtime.accuracy import correct
from atentdsl.runtime.streams import Streams, key

# How far float32 may carry a perturbation beyond its radius: one rounding near 1, or thousands of them summed.
ROUNDING = {"linf": 1e-5, "l2": 1e-4}
# How each norm's ball is searched: a random start inside it, and its steepest ascent direction.
SEARCH = {"linf": ("uniform", "sign"), "l2": ("radial", "l2")}


@attrs.frozen(eq=False)
class Attack:
    """Projected gradient descent on the negative loss (Madry et al.), from a random start in the ball.

    Attributes:
        name: for example `pgd-20`.
        norm, radius, steps, step_size, restarts: its whole setting; lengths in units of inputs in [0, 1].
        compiled: its sampler.
    """

    name: str
    norm: str
    radius: float
    steps: int
    step_size: float
    restarts: int
    compiled: Compiled = attrs.field(repr=False)
    _module: Any = attrs.field(repr=False)

    def settings(self) -> dict[str, Any]:
        """Everything that its figure depends on, for the report."""
        return {
            "norm": self.norm,
            "radius": self.radius,
            "steps": self.steps,
            "step_size": self.step_size,
            "restarts": self.restarts,
        }

    def perturbed(self, model: nn.Module, x: Tensor, y: Tensor, seed: int, restart: int = 0) -> Tensor:
        """The attacked images, `(batch, *input)`, inside the ball and the box.

        Raises:
            ValueError: a perturbation has left its ball or box, which no attack of this project does.
        """
        points = self._module.draw(model, x, y, Streams(seed, restart, x.device))
        z: Tensor = points[-1][0]
        length = (z - x).flatten(1).norm(p=torch.inf if self.norm == "linf" else 2, dim=1)
        boxed = ((z >= 0) & (z <= 1)).flatten(1).all(dim=1)
        inside = (length <= self.radius + ROUNDING[self.norm]) & boxed
        if not bool(inside.all()):
            wrong = int(torch.nonzero(~inside)[0])
            raise ValueError(f"{self.name}: image {wrong} of the batch has left the ball or holds no numbers")
        return z

    def withstands(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Which images are classified right after every restart, a boolean each; the fallen are not attacked again."""
        standing = torch.arange(len(x), device=x.device)
        for restart in range(self.restarts):
            if len(standing):
                z = self.perturbed(model, x[standing], y[standing], key(seed, self.name), restart)
                standing = standing[correct(model, z, y[standing])]
        held = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        held[standing] = True
        return held


def attacks(recipe: Recipe) -> tuple[Attack, ...]:
    """The attacks that a recipe is evaluated by, compiled, in its order."""
    ball = threat(recipe.evaluate, recipe.samplers)
    return tuple(_pgd(recipe, name, ball) for name in recipe.evaluate.attacks if ball is not None)


def _pgd(recipe: Recipe, name: str, within: Threat) -> Attack:
    steps, radius = int(name.removeprefix("pgd-")), within.radius
    step_size = recipe.evaluate.step_size or 2.5 * radius / steps
    ball = {"kind": f"{within.norm}_ball", "radius": radius}
    start, drift = SEARCH[within.norm]
    sampler = {
        "name": "attack",
        "moves": steps if radius else 0,
        "mode": "eval",
        "start": {"kind": start, "radius": radius, "projected": True},
        "kernel": {"kind": "gradient", "step_size": step_size or 1.0, "drift": drift},
        "projection": [ball, {"kind": "box"}],
    }
    values = {**recipe.values(), "sampler": [sampler]}
    values["recipe"] = {**values["recipe"], "name": name}
    values["optimizer"] = {**values["optimizer"], "restore": "before_update"}  # an attack perturbs no weights
    compiled = generate(load(values, name=name), "draw")
    module = as_module(compiled.text, name)
    return Attack(name, within.norm, radius, steps, step_size, recipe.evaluate.restarts, compiled, module)
