"""The plan's operations: frozen, few, and all that a defense is made of once it is lowered.

A plan has one current point z for each sampler, one current gradient g, and the gradients in the weights that have been
gathered; operations read and replace them in order. An operation names its sampler, and the register that its anchor is
in: `batch.x`, another sampler, or `NAME.anchor` for weights. What a recipe's line or the paper's line an operation
stands for is kept beside it and takes no part in comparisons.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import attrs

from atentdsl.plan.margins import Climb, Middle, Narrow, Ray, Remember, Settle, Within
from atentdsl.plan.metropolis import Accept, Propose
from atentdsl.plan.values import Call, Origin, Scheduled, Smoothed
from atentdsl.plan.values import origin as _origin

Space = Literal["data", "weights"]
Mode = Literal["train", "eval", "frozen"]
Wants = Literal["input", "weights", "both", "loss", "density"]
X = "batch.x"
"""The register of the batch; no sampler's name has a point in it."""


@attrs.frozen
class Take:
    """The next batch becomes x, y."""

    origin: Origin = _origin()


@attrs.frozen
class Anchor:
    """The network's weights, kept: what the sampler's points start from, are pulled to and are restored to."""

    sampler: str
    origin: Origin = _origin()


@attrs.frozen
class Start:
    """The sampler's z becomes the start of a chain around its anchor; None starts at the anchor.

    Attributes:
        stream: names the draws.
        momentum: whether the chain's momentum begins, at zero.
    """

    sampler: str
    anchor: str
    space: Space
    call: Call | None = None
    stream: str = ""
    momentum: bool = False
    origin: Origin = _origin()


@attrs.frozen
class Load:
    """The sampler's z becomes the network's weights."""

    sampler: str
    origin: Origin = _origin()


@attrs.frozen
class Noise:
    """The smoothing's noise is drawn: `draws` times sigma * xi of x's shape, for the evaluations up to the next one."""

    sigma: float | Scheduled
    draws: int
    stream: str = "smoothing.noise"
    origin: Origin = _origin()


@attrs.frozen
class Clean:
    """The network's logits at the batch's x become the clean logits that are kept, constant, for evaluations after it.

    They hold as long as the weights, the batch, the smoothing's noise and what the network has learned of its running
    statistics. Smoothed by probabilities they are one row an example, by losses one a copy.
    """

    mode: Mode
    smoothed: Smoothed | None = None
    origin: Origin = _origin()


@attrs.frozen
class Evaluate:
    """The network at a point, and what is asked of it there.

    Attributes:
        wants: `input`: the gradient of the summed loss in the point becomes g. `weights`: the gradient of c times the
            mean loss in the weights is gathered: of the summed loss, multiplied by c / n. `both`: the two, of one
            forward and one backward. `loss`: the losses, without a gradient. `density`: the losses and the gradient of
            their sum in the point, which a Metropolis test reads.
        loss: the per-example loss.
        mode: the network's mode.
        at: the register of the point: `batch.x`, a data sampler, or a data sampler's proposal.
        coefficient: c of the point, for `weights` and `both`; `loop` inside a `Repeat` that lists them.
        clean: how many forwards at the batch's x it makes before its own, for a loss that asks for clean logits;
            `kept` where it reads those that are kept. Literally one for each time that the loss reads them.
        smoothed: how the network is smoothed, at x as at the point and with the same noise; None where it is not.
        chosen: whether each example's loss is multiplied by the c, 0 or 1, that the search at this point has settled.
        radius: of the l-infinity ball around the point, cut by [0, 1], for which interval bounds of the network in
            eval mode give the worst logits that its loss reads, after the logits themselves; None where it reads none.
    """

    wants: Wants
    loss: Call
    mode: Mode
    at: str = X
    coefficient: Fraction | Literal["loop"] | None = None
    clean: int | Literal["kept"] = attrs.field(default=attrs.Factory(lambda own: len(own.loss.clean), takes_self=True))
    smoothed: Smoothed | None = None
    chosen: bool = False
    radius: float | Scheduled | None = None
    origin: Origin = _origin()

    @property
    def asks_input(self) -> bool:
        """Whether g becomes the gradient in the point."""
        return self.wants in {"input", "both"}

    @property
    def asks_weights(self) -> bool:
        """Whether a gradient in the weights is gathered."""
        return self.wants in {"weights", "both"}


@attrs.frozen
class PutAside:
    """The gradients in the weights gathered so far are put aside: what comes next belongs to the sampler's target."""

    sampler: str
    origin: Origin = _origin()


@attrs.frozen
class Gather:
    """What was gathered since `PutAside` becomes g, and what was put aside is taken back."""

    sampler: str
    origin: Origin = _origin()


@attrs.frozen
class Momentum:
    """A kernel's momentum: its share, Nesterov's look-ahead, and whether gradients join it at l1 length one."""

    mu: float | Scheduled
    nesterov: bool
    normalise: Literal["none", "l1"]


@attrs.frozen
class Move:
    """z becomes the kernel's proposal from z and g; the point before it is kept as `old`.

    Attributes:
        kernel: proposes.
        stream: names the kernel's draws, where it draws.
        scale: what the loss's gradient is multiplied by: beta.
        descend: whether it is turned round.
        batch_mean: the loss's gradient is divided by the batch.
        drift: normalises; None is the identity.
        coupling: pulls towards the anchor; None pulls nothing.
        covers: what the drift normalises: the loss's gradient, or the energy's.
        pull: whether the kernel's step size multiplies the coupling's pull (`time`), or each move adds it as it is.
        momentum: of the loss's gradient; None where there is none.
        index: the move's number, counted from 0, where a number changes over moves; `loop` inside a `Repeat`.
    """

    sampler: str
    anchor: str
    space: Space
    kernel: Call
    stream: str
    scale: float | Scheduled
    descend: bool
    batch_mean: bool
    drift: Call | None
    coupling: Call | None
    covers: Literal["loss", "energy"]
    pull: Literal["time", "move"] = "time"
    momentum: Momentum | None = None
    index: int | Literal["loop"] | None = None
    origin: Origin = _origin()


@attrs.frozen
class Project:
    """z becomes its projection, after the start or after a move; `index` as for `Move`."""

    sampler: str
    anchor: str
    space: Space
    call: Call
    after: Literal["start", "move"]
    index: int | Literal["loop"] | None = None
    origin: Origin = _origin()


@attrs.frozen
class Bounds:
    """The least and largest coordinates within `radius` of the anchor's and within [0, 1] are kept for `Between`.

    Attributes:
        radius: the l-infinity ball's, in units of the input.
    """

    sampler: str
    anchor: str
    radius: float | Scheduled
    origin: Origin = _origin()


@attrs.frozen
class Between:
    """Each coordinate of z becomes the nearest between the sampler's bounds; `after` as for `Project`."""

    sampler: str
    after: Literal["start", "move"]
    origin: Origin = _origin()


@attrs.frozen
class Displace:
    """The gradient of gain / 2 * c * ||w - z||^2 in the weights w of the anchor is gathered, z held constant."""

    sampler: str
    coefficient: Fraction | Literal["loop"]
    gain: float | Scheduled
    origin: Origin = _origin()


Shelf = Literal["points", "candidates", "worst"]
"""Where a data sampler's points are kept: all that are handed on, those of one restart, or each example's worst."""


@attrs.frozen
class Clear:
    """The sampler's shelf is emptied."""

    sampler: str
    shelf: Shelf
    origin: Origin = _origin()


@attrs.frozen
class Hold:
    """z is put on the shelf, after those that are there."""

    sampler: str
    shelf: Shelf
    origin: Origin = _origin()


@attrs.frozen
class Worst:
    """For each example the restart's candidates take the place of `worst` where its loss is higher."""

    sampler: str
    origin: Origin = _origin()


@attrs.frozen
class Recall:
    """z becomes the shelf's point with that number, counted from 0; `loop` inside a `Repeat`."""

    sampler: str
    shelf: Shelf
    index: int | Literal["loop"]
    origin: Origin = _origin()


@attrs.frozen
class Keep:
    """z is handed on with its coefficient; what a plan that draws does where one that trains evaluates.

    Attributes:
        chosen: as for `Evaluate`.
    """

    at: str
    coefficient: Fraction | Literal["loop"]
    chosen: bool = False
    origin: Origin = _origin()


@attrs.frozen
class Carry:
    """The displacement of z from its anchor is kept for the next outer step's start."""

    sampler: str
    anchor: str
    origin: Origin = _origin()


@attrs.frozen
class Update:
    """The optimizer moves the weights.

    Attributes:
        optimizer: makes it; its function's first two arguments are the weights and the learning rate.
        rate: the learning rate.
        clip: the greatest l2 norm of the signal's gradient over all weights, to which it is shortened; None shortens
            nothing.
    """

    optimizer: Call
    rate: Scheduled
    clip: float | Scheduled | None = None
    origin: Origin = _origin()


@attrs.frozen
class Restore:
    """The network's weights become the anchor again; or, after an update, only lose the displacement (`subtract`)."""

    sampler: str
    how: Literal["anchor", "subtract"] = "anchor"
    origin: Origin = _origin()


@attrs.frozen
class Place:
    """The step runs where and how the device is fastest; `runtime` chooses when it runs. Stands first."""

    origin: Origin = _origin()


@attrs.frozen
class Frozen:
    """The body, with no weight asking for a gradient."""

    body: tuple[Operation, ...]
    origin: Origin = _origin()


@attrs.frozen
class Repeat:
    """The body, `count` times.

    Attributes:
        coefficients: in turn i the coefficient `loop` is `coefficients[i]`; none where no coefficient changes.
        first: in turn i the index `loop` is `first + i`; None where no index changes.
    """

    count: int
    body: tuple[Operation, ...]
    coefficients: tuple[Fraction, ...] = ()
    first: int | None = None
    origin: Origin = _origin()


Operation = (
    Take
    | Anchor
    | Start
    | Load
    | Noise
    | Clean
    | Evaluate
    | PutAside
    | Gather
    | Move
    | Project
    | Bounds
    | Between
    | Propose
    | Accept
    | Within
    | Climb
    | Ray
    | Middle
    | Narrow
    | Settle
    | Remember
    | Displace
    | Clear
    | Hold
    | Worst
    | Recall
    | Keep
    | Carry
    | Update
    | Restore
    | Place
    | Frozen
    | Repeat
)
