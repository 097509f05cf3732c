"""The attacks that a network is evaluated by, from what a recipe or the command line calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs
from torch import Tensor, nn

from atentdsl.evaluation.ball import Ball
from atentdsl.evaluation.sampling import SamplerAttack, gradient_attack, recipe_attack
from atentdsl.recipe import AttackName, Recipe, Threat, attack_name, load, threat, threat_of
from atentdsl.recipe.attack_names import LIBRARY, OWN
from atentdsl.runtime.errors import NotFinite, UnsuitedAttack
from atentdsl.runtime.streams import key


class Attack(Protocol):
    """What is asked of every attack; each has its own module.

    Attributes:
        name: as it was asked for; names its figure in every report.
        ball: the perturbations that count.
    """

    @property
    def name(self) -> str:
        """As it was asked for."""

    @property
    def ball(self) -> Ball:
        """The perturbations that count."""

    def settings(self) -> dict[str, Any]:
        """Everything that its figure depends on."""

    def withstands(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Which of the images `(batch, *input)` with labels y are classified right under it, a boolean each."""


@attrs.frozen(eq=False)
class Library:
    """A library's attack under the name that it was asked for by."""

    name: str
    ball: Ball
    made: Any

    def settings(self) -> dict[str, Any]:
        """Everything that its figure depends on."""
        return dict(self.made.settings())

    def withstands(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Which of the images are classified right under it, a boolean each.

        Raises:
            UnsuitedAttack: it is not defined for this network or these images.
        """
        try:
            held: Tensor = self.made.withstands(model, x, y, key(seed, self.name) % 2**31)
        except NotFinite:
            raise
        except ValueError as error:
            raise UnsuitedAttack(self.name, str(error)) from error
        return held


def attacks(recipe: Recipe, classes: int, more: Sequence[str] = ()) -> tuple[Attack, ...]:
    """The attacks that a recipe is evaluated by, and recipes whose samplers attack too, compiled, in their order.

    Args:
        recipe: its `[evaluate] attacks`.
        classes: how many the network tells apart; AutoAttack's parts depend on it.
        more: recipes, each a path or a shipped recipe's name, with overrides behind it: `PATH,KEY=VALUE,…`.

    Raises:
        RecipeError: a recipe among `more` is wrong.
        UnsuitedAttack: a recipe is none that can attack.
        ExtraMissing: an attack needs a package that is not installed.
    """
    named = [attack_name(text) for text in recipe.evaluate.attacks]
    balls = [(name, threat_of(name, recipe.evaluate, recipe.samplers)) for name in named]
    found: list[Attack] = [_named(recipe, name, ball, classes) for name, ball in balls if ball is not None]
    return (*found, *(_of_recipe(text, recipe) for text in dict.fromkeys(more)))


def watching(found: Sequence[Attack]) -> list[Attack]:
    """The one that training is watched by: the first of gradient steps, whose cost is known and small."""
    own: list[Attack] = [attack for attack in found if isinstance(attack, SamplerAttack) and attack.watches]
    return own[:1]


def watch(recipe: Recipe) -> SamplerAttack | None:
    """The attack that the recipe's training is watched by, made alone; None where it names none.

    >>> import atentdsl
    >>> watch(atentdsl.load("sgd", ["evaluate.attacks=['autoattack', 'pgd-5']"])).name
    'pgd-5'
    """
    for name in map(attack_name, recipe.evaluate.attacks):
        ball = threat_of(name, recipe.evaluate, recipe.samplers)
        if name.watches and ball is not None:
            return gradient_attack(recipe, name, ball)
    return None


def modules(found: Sequence[Attack]) -> dict[str, str]:
    """The texts of the compiled attacks, by the files of a run's directory that they are kept in."""
    return {f"attacks/{a.compiled.name}.py": a.compiled.text for a in found if isinstance(a, SamplerAttack)}


def _named(recipe: Recipe, name: AttackName, within: Threat, classes: int) -> Attack:
    if name.kind == OWN:
        asked = within if name.norm or name.radius is not None else _own_ball(recipe) or within
        return recipe_attack(name.text, recipe, asked, name.restarts or recipe.evaluate.restarts)
    ball = Ball(within.norm, within.radius)
    library = _library(name, ball, classes)
    if library is None:
        return gradient_attack(recipe, name, within)
    # A figure of fewer parts is not AutoAttack's, and is not to be taken for it.
    return Library("-without-".join([name.text, *getattr(library, "left_out", {})]), ball, library)


def _library(name: AttackName, ball: Ball, classes: int) -> Any:
    """A library's attack of that kind, or None where it is the project's own."""
    try:
        if name.kind in LIBRARY:
            from atentdsl.evaluation.autoattack import AutoAttack

            version = name.kind.removeprefix("autoattack").removeprefix("-") or "standard"
            return AutoAttack(ball.norm, ball.radius, classes, version)
        if name.kind == "deepfool":
            from atentdsl.evaluation.minimal import DeepFool

            return DeepFool(norm=ball.norm, radius=ball.radius)
        if name.kind == "cw" and ball.norm == "l2":
            from atentdsl.evaluation.minimal import CarliniWagner

            return CarliniWagner(radius=ball.radius)
    except ValueError as error:
        raise UnsuitedAttack(name.text, str(error)) from error
    return None


def _of_recipe(text: str, evaluated: Recipe) -> Attack:
    source, _, rest = text.partition(",")
    other = load(source, _parted(rest))
    return recipe_attack(text, other, _own_ball(other) or threat(evaluated.evaluate, evaluated.samplers))


def _own_ball(recipe: Recipe) -> Threat | None:
    """The ball that a recipe's samplers stay in, whatever it is evaluated in."""
    return threat(recipe.evaluate.model_copy(update={"radius": None, "norm": None}), recipe.samplers)


def _parted(overrides: str) -> list[str]:
    """The overrides between the commas that stand outside of brackets and quotes: values have some of their own.

    >>> _parted('a.at=[1, 2],b="x,y"')
    ['a.at=[1, 2]', 'b="x,y"']
    """
    parts, depth, quote = [""], 0, ""
    for sign in overrides:
        if sign == "," and not depth and not quote:
            parts.append("")
            continue
        parts[-1] += sign
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        else:
            depth += (sign in "[{") - (sign in "]}")
    return [part for part in parts if part]
