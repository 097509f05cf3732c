"""Signs that a network masks its gradients, so that its robust accuracy is the attack's failure and not its strength.

Athalye, Carlini & Wagner, ICML 2018, section 3.1; Carlini et al., On Evaluating Adversarial Robustness, 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from atentdsl.evaluation.attacks import Library
from atentdsl.evaluation.autoattack import AutoAttack
from atentdsl.evaluation.ball import Ball
from atentdsl.evaluation.paired import LEVEL, Comparison
from atentdsl.evaluation.sampling import SamplerAttack
from atentdsl.evaluation.whitebox import evaluated_ball, pgd
from atentdsl.recipe import Recipe
from atentdsl.runtime.accuracy import Withstands, answers, correct
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import UnsuitedAttack, placed_among
from atentdsl.runtime.modes import mode_kept
from atentdsl.runtime.streams import Streams, key

QUERIES = 500
"""Of Square, for each image, at first: a tenth of AutoAttack's."""
LONGER = 10
"""So many times as many where some image fell to these alone. Where none did, more might still find one; what is spared
is the time of most honest networks."""
DRAWS = 100
"""Of random noise, for each image: as many passes as 50 steps of gradients take, forward and backward."""
FEWER_STEPS = (1, 10)
"""Numbers of steps that must not do better than the white-box attack's."""
BOX_RESTARTS = 3
NAMED = 5  # images that a warning names


@attrs.frozen
class Check:
    """What became of one check.

    Attributes:
        name: `black-box`, `transfer`, `unbounded`, `more-steps` or `noise`.
        passed: None where the check could not be made.
        figures: what it rests on.
        warning: what to say on top of a report, None where it passed.
    """

    name: str
    passed: bool | None
    figures: Mapping[str, Any]
    warning: str | None = None

    def report(self) -> dict[str, Any]:
        """Name, outcome and figures."""
        return {"check": self.name, "passed": self.passed, **self.figures}


def sanity(
    model: nn.Module,
    images: Images,
    recipe: Recipe,
    seed: int,
    batch: int = 512,
    between: Callable[[], None] = lambda: None,
    *,
    source: nn.Module | None = None,
    queries: int = QUERIES,
    draws: int = DRAWS,
) -> tuple[Check, ...]:
    """The checks that a network with honest gradients passes; white-box is 50 steps of `whitebox.pgd`, from one start.

        black-box    Square (Andriushchenko et al., 2020) is not stronger than white-box; where it breaks an image that
                     white-box does not, it is asked again with ten times the queries
        transfer     nor is white-box against another network, if one is given
        unbounded    of three restarts of white-box in the whole box no image withstands all
        more-steps   1 step and 10 are not stronger than the 50
        noise        corners of the ball, drawn at random, are not stronger than white-box

    `stronger` is compared on the same images: beyond chance at 1 % (McNemar's exact test, one-sided; shared by both
    numbers of steps). `unbounded` fails by a single image. The whole box is the same set in every norm (radius 1 in
    linf, sqrt(d) in l2, d in l1), so it is searched by signs whatever the norm: sparse steps would not cross it in 50.

    Args:
        model, images, seed, batch, between: as for `answers`.
        recipe: has the ball that is evaluated.
        source: another network of the same inputs and classes, whose perturbations are tried on this one.
        queries: of Square, for each image, in its first attempt.
        draws: of noise, for each image.

    Returns:
        Them in this order. A check that is not defined for these images, as Square for some sizes in l2 and l1, has not
        passed nor failed, and says why.

    Raises:
        UnsuitedAttack: the recipe has no ball.
        NotFinite, MemoryExhausted: as for `answers`.

    A network without gradients, of which the images of class 0 stand wherever the search begins:

    >>> import atentdsl
    >>> class Constant(nn.Module):
    ...     def forward(self, x):
    ...         return torch.tensor([[1.0, 0.0]]).repeat(len(x), 1)
    >>> images = Images(torch.full((3, 1, 8, 8), 0.5), torch.tensor([0, 1, 0]), 2)
    >>> found = sanity(Constant(), images, atentdsl.load("sgd"), 0, queries=2, draws=2)
    >>> [(check.name, check.figures["standing"]) for check in found if not check.passed]
    [('unbounded', [0, 2])]
    """
    within = evaluated_ball(recipe)
    ball = Ball(within.norm, within.radius)
    white = pgd(recipe, ball.norm, ball.radius)
    box = pgd(recipe, "linf", 1.0)
    fewer = [pgd(recipe, ball.norm, ball.radius, count) for count in FEWER_STEPS]

    def found(every: list[Withstands], after: list[list[int]] | None = None) -> tuple[Tensor, ...]:
        return answers(model, images, every, seed, batch, between, after).held

    alone = [white.withstands, *(one.withstands for one in fewer), noise(ball, draws)]
    n = len(alone)
    order: list[list[int]] = [[] for _ in alone] + [list(range(n, n + i)) for i in range(BOX_RESTARTS)]
    held = found([*alone, *[box.withstands] * BOX_RESTARTS], order)
    made = {"attack": white.settings()}
    checks = []

    def black_box(queries: int) -> Check:
        said = {**made, "queries": queries}
        try:
            (stands,) = found([_square(ball, images.classes, queries).withstands])
        except UnsuitedAttack as error:
            return Check("black-box", None, {**said, "why": str(error)})
        return _not_stronger("black-box", "square", white.name, stands, held[0], said)

    first = black_box(queries)
    checks.append(black_box(LONGER * queries) if first.passed and first.figures["first_only"] else first)
    if source is not None:
        (stands,) = found([transferred(source, white)])
        checks.append(_not_stronger("transfer", "transfer", white.name, stands, held[0], made))
    checks.append(_unbounded(held[-1], {**box.settings(), "restarts": BOX_RESTARTS}))
    checks.append(_steps([one.name for one in fewer], white.name, held[1 : n - 1], held[0], made))
    checks.append(_not_stronger("noise", "noise", white.name, held[n - 1], held[0], {**made, "draws": draws}))
    return tuple(checks)


def noise(ball: Ball, draws: int = DRAWS) -> Withstands:
    """The attack by random extreme points of the ball, clipped to the box: which images withstand all draws.

        linf  z = x + radius * sign(xi)        l2  z = x + radius * xi / ||xi||        l1  z = x ± radius * e_i

    xi is standard normal, i and the sign are uniform. An image that has fallen is not asked about again.

    >>> towards_zero = nn.Linear(2, 2)
    >>> _ = nn.init.eye_(towards_zero.weight), nn.init.zeros_(towards_zero.bias)
    >>> x, y = torch.tensor([[0.6, 0.5], [0.9, 0.5]]), torch.tensor([0, 0])
    >>> noise(Ball("linf", 0.1))(towards_zero, x, y, 0)
    tensor([False,  True])
    """

    def withstands(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        streams = Streams(seed, 0, x.device)
        standing = torch.arange(len(x), device=x.device)
        for _ in range(draws):
            if not len(standing):
                break
            clean = x[standing]
            z = (clean + ball.radius * _extreme(ball.norm, clean, streams)).clamp(0, 1)
            with placed_among(standing):
                standing = standing[correct(model, z, y[standing])]
        held = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        held[standing] = True
        return held

    return withstands


def transferred(source: nn.Module, attack: SamplerAttack) -> Withstands:
    """The attack made against `source`, its images shown to the network: which ones that withstands."""

    def withstands(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        with mode_kept(source):
            z = attack.perturbed(source.eval(), x, y, key(seed, attack.name))
        return correct(model, z, y)

    return withstands


def _square(ball: Ball, classes: int, queries: int) -> Library:
    try:
        return Library("square", ball, AutoAttack(ball.norm, ball.radius, classes, "square", queries=queries))
    except ValueError as error:
        raise UnsuitedAttack("square", str(error)) from error


def _extreme(norm: str, like: Tensor, streams: Streams) -> Tensor:
    """Random extreme points of the norm's unit ball, `(batch, *input)`."""
    xi = streams.normal("noise", like)
    if norm == "linf":
        return torch.where(xi >= 0, 1.0, -1.0).to(like.dtype)
    flat = xi.flatten(1)
    if norm == "l2":
        unit: Tensor = flat / flat.norm(dim=1, keepdim=True)
        return unit.view_as(like)
    # of independent normal numbers the largest is at a uniform place, with a uniform sign
    place = flat.abs().argmax(dim=1, keepdim=True)
    return torch.zeros_like(flat).scatter(1, place, flat.gather(1, place).sign()).view_as(like)


def _not_stronger(
    name: str, attack: str, white: str, held: Tensor, under_white: Tensor, made: Mapping[str, Any]
) -> Check:
    """Fails where the attack, which reads no gradients of this network, is stronger than white-box."""
    found = Comparison.of(held, under_white)
    share = {f"{attack}_accuracy": _share(held), f"{white}_accuracy": _share(under_white)}
    figures = {"n": len(held), **share, **found.report(), "level": LEVEL, **made}
    if not found.stronger():
        return Check(name, True, figures)
    warning = (
        f"sanity {name}: {found.first_only} images fall to {attack} and not to {white}, {found.second_only} to {white} "
        f"alone: gradients may be masked"
    )
    return Check(name, False, figures, warning)


def _unbounded(held: Tensor, made: Mapping[str, Any]) -> Check:
    """Fails where an image stands though the attack may put any other in its place."""
    standing = torch.nonzero(held).flatten().tolist()
    figures = {"n": len(held), "standing": standing, "attack": made}
    if not standing:
        return Check("unbounded", True, figures)
    named = ", ".join(map(str, standing[:NAMED])) + (", …" if len(standing) > NAMED else "")
    warning = (
        f"sanity unbounded: {len(standing)} of {len(held)} images stand though the whole box is searched "
        f"(counted from 0: {named}): gradients may be masked"
    )
    return Check("unbounded", False, figures, warning)


def _steps(
    names: Sequence[str], white: str, held: Sequence[Tensor], under_white: Tensor, made: Mapping[str, Any]
) -> Check:
    """Fails where fewer steps are stronger than all of them."""
    found = {name: Comparison.of(one, under_white) for name, one in zip(names, held, strict=True)}
    share = {name: {"accuracy": _share(one), **found[name].report()} for name, one in zip(names, held, strict=True)}
    level = {"level": LEVEL / len(found)}
    figures = {"n": len(under_white), f"{white}_accuracy": _share(under_white), "fewer": share, **level, **made}
    name, worst = min(found.items(), key=lambda one: one[1].p)
    if not worst.stronger(len(found)):
        return Check("more-steps", True, figures)
    warning = (
        f"sanity more-steps: {worst.first_only} images fall to {name} and not to {white}, {worst.second_only} to "
        f"{white} alone: more steps help the defender, gradients may be masked"
    )
    return Check("more-steps", False, figures, warning)


def _share(held: Tensor) -> float:
    return int(held.sum()) / len(held)
