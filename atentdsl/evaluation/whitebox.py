"""The plain white-box attack that curves and checks are made of: projected gradient descent, and the ball it is in."""

from __future__ import annotations

import math

import attrs

from atentdsl.evaluation.sampling import SamplerAttack, gradient_attack
from atentdsl.recipe import AttackName, Recipe, Threat, attack_name, threat, threat_of
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import UnsuitedAttack

STEPS = 50
"""Of the attack that others are compared with."""
FIRST = 256
"""How many images curves and checks are made on: each of them costs hundreds of passes."""


def pgd(recipe: Recipe, norm: str, radius: float, steps: int = STEPS) -> SamplerAttack:
    """Projected gradient descent on the cross-entropy from one random start, by steps of 2.5 radius / steps.

    The step size scales with the radius and the number of steps, whatever the recipe says: a fixed one would be too
    short for a larger ball, or never settle in a smaller one.

    Args:
        recipe: names data and network.
        norm: `linf`, `l2` or `l1`.
        radius: in units of inputs in [0, 1].
        steps: how many.

    >>> import atentdsl
    >>> pgd(atentdsl.load("sgd"), "linf", 0.2, steps=10).settings()["step_size"]
    0.05
    """
    name = AttackName(f"pgd-{steps}", "pgd", steps, step_size=2.5 * radius / steps, restarts=1)
    return gradient_attack(recipe, name, Threat(norm, radius, ()))


def evaluated_ball(recipe: Recipe) -> Threat:
    """The ball of the recipe's first attack, or else the one that its `[evaluate]` and samplers have.

    Raises:
        UnsuitedAttack: there is none, or it holds the image alone.

    >>> import atentdsl
    >>> evaluated_ball(atentdsl.load("sgd", ["evaluate.attacks=['pgd-5,norm=l2,radius=0.5']"])).norm
    'l2'
    """
    found = threat(recipe.evaluate, recipe.samplers)
    if recipe.evaluate.attacks:
        found = threat_of(attack_name(recipe.evaluate.attacks[0]), recipe.evaluate, recipe.samplers)
    if found is None or not found.radius > 0:
        raise UnsuitedAttack(
            f"pgd-{STEPS}", "curves and checks need a ball to attack in: set `evaluate.radius` above 0"
        )
    return found


def covering(norm: str, shape: tuple[int, ...]) -> float:
    """The radius at which a ball around any image of that shape holds the whole box: 1, sqrt(d) or d of d inputs.

    >>> covering("linf", (1, 8, 8)), covering("l2", (1, 8, 8)), covering("l1", (1, 8, 8))
    (1.0, 8.0, 64.0)
    """
    d = math.prod(shape)
    return {"linf": 1.0, "l2": math.sqrt(d), "l1": float(d)}[norm]


def leading(images: Images, number: int) -> Images:
    """The first `number` images, all where there are fewer.

    Raises:
        ValueError: none is asked for, or there is none.

    >>> import torch
    >>> len(leading(Images(torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64), 2), 2))
    2
    """
    if number < 1 or not len(images):
        raise ValueError(f"at least one image is wanted, not {min(number, len(images))}")
    return attrs.evolve(images, x=images.x[:number], y=images.y[:number])
