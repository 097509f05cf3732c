"""Each example's nearest point of another class, along a ray that is searched anew: max-margin adversarial training.

    delta = projected gradient ascent in the ball of the example's own radius r, K moves of step * r / K
    u = delta / ||delta||,   P(t) = the point x + t u, brought into the box
    bisection, N times, of [0, ||delta||] where x + delta is misclassified, of [||delta||, d_max] where it is not
    t = the upper end that is left: the margin;   r = max(t, initial_radius) at the example's next visit

    x right and t < d_max    P(t) is handed on with c = 1
    x right and t >= d_max   c = 0: its margin is large enough
    x wrong                  x itself is handed on with c = 1, and its radius stays      (Ding et al.: AN-PGD, and MMA)

The upper end is misclassified, or d_max where nothing on the ray is, so a ray that leads nowhere counts as a margin of
d_max; the published code searches to 1.05 d_max instead. An example is misclassified where another class's logit is not
below its label's. The ascent is along sign(g) in linf and g / ||g|| in l2, and begins at a random point of the ball.
Under these drifts cross entropy climbs as the soft logit margin of the published code does: its gradient is that one's
times a positive number. Radii are remembered by training index, and kept in checkpoints; a drawing remembers none.
Shapes: points `(batch, *input)`; radii, lengths, losses, c `(batch,)`. Units: lengths in units of inputs in [0, 1].

Not the distance to the class boundary, but an upper bound of it: along one ray, of which the box may clip a part off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import attrs
from pydantic import Field

from atentdsl.primitives import registry
from atentdsl.primitives.average import Average
from atentdsl.primitives.density import Climbed
from atentdsl.primitives.lazy import torch
from atentdsl.primitives.primitive import Kinded, Primitive
from atentdsl.primitives.tensors import unit_l2

if TYPE_CHECKING:
    from torch import Tensor

Length = Annotated[float, Field(gt=0, le=1000)]


class Parameters(Kinded):
    """The table `[[sampler]]` with kind `margin_search`."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)] = Field("data", description="its name")
    space: Literal["data"] = Field("data", description="the variable that is perturbed")
    moves: Annotated[int, Field(ge=1, le=10_000)] = Field(description="K, moves of the ascent")
    mode: Literal["train", "eval", "frozen"] = Field("eval", description="the network's mode during the search")
    norm: Literal["linf", "l2"] = Field("linf", description="what lengths are measured in")
    max_radius: Length = Field(description="d_max, the margin that is large enough, in units of the input")
    initial_radius: Length = Field(description="radius of an example's first ball, and the least of every later one")
    bisections: Annotated[int, Field(ge=1, le=100)] = Field(10, description="N, how often the ray is halved")
    step: Length = Field(2.5, description="length of all moves together, in radii of the example's ball")
    random_start: bool = Field(True, description="begin at a random point of the ball, and not at its centre")
    target: Climbed = Field(default_factory=lambda: Climbed(), description="what the ascent climbs")

    # What the tables around a sampler ask of it: one search on the step's batch, whose end alone is handed on.
    batch: ClassVar[str] = "same"
    restarts: ClassVar[int] = 1
    start: ClassVar[Kinded] = Kinded(kind="zero")
    kernel: ClassVar[None] = None
    projection: ClassVar[tuple[Kinded, ...]] = ()
    averaging: ClassVar[Average] = Average(kind="last")


def conflicts(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What a search cannot be: a sentence for each, with the field it belongs to and the mend."""
    return list(_conflicts(parameters))


def _conflicts(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    largest, loss = parameters["max_radius"], parameters["target"].loss
    if parameters["initial_radius"] > largest:
        message = f"the first ball is larger than the largest margin that is searched for, {largest:g}"
        yield "initial_radius", message, f"set `initial_radius` to {largest:g} at most"
    if parameters["norm"] == "linf" and largest > 1:
        message = f"`max_radius` {largest:g} is larger than the inputs' range"
        yield "max_radius", message, "inputs are in [0, 1]: for 12/255 write 0.0470588235; a length in l2 says `norm`"
    if loss == "signal" or registry.primitive("targets", loss).clean:
        message = f"a search climbs a loss of the label, and `{loss}` is none"
        yield "target.loss", message, 'write `loss = "cross_entropy"` or `loss = "margin"`'


def each(value: Tensor, x: Tensor) -> Tensor:
    """One number an example, `(batch,)`, to be multiplied with x `(batch, *input)`."""
    return value.view(-1, *[1] * (x.dim() - 1))


def first_radius(x: Tensor, initial: float) -> Tensor:
    """The radius of examples that were never searched, `(batch,)`."""
    return x.new_full((len(x),), initial)


def linf_start(x: Tensor, u: Tensor, radius: Tensor) -> Tensor:
    """A point uniform in each example's cube, brought into the box.

    >>> import torch
    >>> linf_start(torch.tensor([[0.5, 0.1]]), torch.tensor([[1.0, 0.0]]), torch.tensor([0.25]))
    tensor([[0.7500, 0.0000]])
    """
    return (x + each(radius, x) * (2 * u - 1)).clamp(0, 1)


def linf_climb(z: Tensor, x: Tensor, g: Tensor, radius: Tensor, share: float) -> Tensor:
    """One move along the gradient's signs, of that share of each example's radius, inside its cube and the box.

    >>> import torch
    >>> linf_climb(torch.full((1, 2), 0.5), torch.full((1, 2), 0.5), torch.tensor([[3.0, -1.0]]), torch.ones(1), 0.25)
    tensor([[0.7500, 0.2500]])
    """
    own = each(radius, x)
    return torch.minimum(torch.maximum(z + share * own * g.sign(), x - own), x + own).clamp(0, 1)


def linf_length(d: Tensor) -> Tensor:
    """The largest magnitude of each example's coordinates, `(batch,)`."""
    return d.flatten(1).abs().amax(dim=1)


def l2_start(x: Tensor, xi: Tensor, u: Tensor, radius: Tensor) -> Tensor:
    """A point in a random direction, at a uniform share of each example's radius, brought into the box."""
    share = radius * u.flatten(1)[:, 0]
    return (x + each(share, x) * unit_l2(xi)).clamp(0, 1)


def l2_climb(z: Tensor, x: Tensor, g: Tensor, radius: Tensor, share: float) -> Tensor:
    """One move along the gradient, as long as that share of each example's radius, inside its ball and the box.

    >>> import torch
    >>> l2_climb(torch.full((1, 2), 0.5), torch.full((1, 2), 0.5), torch.tensor([[3.0, -4.0]]), torch.ones(1), 0.5)
    tensor([[0.8000, 0.1000]])
    """
    own = each(radius, x)
    d = z + share * own * unit_l2(g) - x
    inside = torch.where(each(l2_length(d), x) > own, own * unit_l2(d), d)
    return (x + inside).clamp(0, 1)


def l2_length(d: Tensor) -> Tensor:
    """The Euclidean length of each example, `(batch,)`."""
    lengths: Tensor = d.flatten(1).norm(dim=1)
    return lengths


def ray_through(z: Tensor, x: Tensor, length: Tensor) -> Tensor:
    """The displacement from x to z at length one; zero where it is zero."""
    return (z - x) / each(torch.where(length > 0, length, 1.0), x)


def bracket(length: Tensor, losses: Tensor, max_radius: float) -> tuple[Tensor, Tensor]:
    """The ends between which each ray meets another class: before the point where it is misclassified, else behind it.

    >>> import torch
    >>> bracket(torch.tensor([0.25, 0.25]), torch.tensor([1.0, -1.0]), max_radius=1.0)
    (tensor([0.0000, 0.2500]), tensor([0.2500, 1.0000]))
    """
    wrong = losses >= 0
    return torch.where(wrong, 0.0, length), torch.where(wrong, length, max_radius)


def on_ray(x: Tensor, ray: Tensor, distance: Tensor) -> Tensor:
    """The point of each ray at its distance from x, brought into the box."""
    return (x + each(distance, x) * ray).clamp(0, 1)


def middle(x: Tensor, ray: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The point of each ray in the middle of its bracket, brought into the box."""
    return on_ray(x, ray, (low + high) / 2)


def halved(low: Tensor, high: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
    """The half of each bracket that is left, by the losses in its middle: its upper end stays misclassified.

    >>> import torch
    >>> halved(torch.zeros(2), torch.ones(2), torch.tensor([1.0, -1.0]))
    (tensor([0.0000, 0.5000]), tensor([0.5000, 1.0000]))
    """
    between, wrong = (low + high) / 2, losses >= 0
    return torch.where(wrong, low, between), torch.where(wrong, between, high)


def at_margin(x: Tensor, ray: Tensor, margin: Tensor, losses: Tensor, max_radius: float) -> tuple[Tensor, Tensor]:
    """What each example hands on, by the losses at x, and its c.

    Right, right with the largest margin, wrong:

    >>> import torch
    >>> x, ray = torch.full((3, 1), 0.5), torch.ones(3, 1)
    >>> at_margin(x, ray, torch.tensor([0.25, 0.375, 0.25]), torch.tensor([-1.0, -1.0, 1.0]), max_radius=0.375)
    (tensor([[0.7500],
            [0.8750],
            [0.5000]]), tensor([1., 0., 1.]))
    """
    wrong = losses >= 0
    z = torch.where(each(wrong, x), x, on_ray(x, ray, margin))
    return z, (wrong | (margin < max_radius)).to(x.dtype)


def next_radius(radius: Tensor, margin: Tensor, losses: Tensor, initial: float) -> Tensor:
    """The radius of each example's next ball: its margin, the initial radius at least; as before where x is wrong.

    >>> import torch
    >>> next_radius(torch.full((3,), 0.5), torch.tensor([0.25, 0.01, 0.25]), torch.tensor([-1.0, -1.0, 1.0]), 0.125)
    tensor([0.2500, 0.1250, 0.5000])
    """
    return torch.where(losses >= 0, radius, margin.clamp(min=initial))


@attrs.frozen
class Norm:
    """What a search does in a norm.

    Attributes:
        draws: the laws of its random start's `xi` and `u`, in the order they are drawn.
        start, climb, length: its functions.
    """

    draws: tuple[Literal["normal", "uniform"], ...]
    start: Callable[..., Any]
    climb: Callable[..., Any]
    length: Callable[..., Any]


NORMS = {
    "linf": Norm(("uniform",), linf_start, linf_climb, linf_length),
    "l2": Norm(("normal", "uniform"), l2_start, l2_climb, l2_length),
}

PRIMITIVE = Primitive(Parameters, conflicts=conflicts, cites=("ding2020mma", "madry2018pgd"))
