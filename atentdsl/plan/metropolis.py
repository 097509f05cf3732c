"""The Metropolis test in a plan: its two operations, and how a sampler's kernel becomes them.

A move is Propose, Evaluate at the proposal, Accept: between moves the losses and the gradient at z stay as they were
evaluated, so that K moves ask for K + 1 evaluations. The density is to stand still meanwhile: nothing that moves the
weights or the running statistics comes between.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from atentdsl.plan.calls import Lengths, call, number, over_moves
from atentdsl.plan.values import Call, Origin, Scheduled, origin
from atentdsl.primitives import registry


@attrs.frozen
class Energy:
    """E(z) = scale * L(z) - coupling(z, anchor), whose gradient is scale * grad L(z) + pull(z, anchor).

    Attributes:
        scale: what the loss is multiplied by: beta.
        descend: whether the loss is turned round.
        coupling: pulls towards the anchor; None pulls nothing.
    """

    scale: float | Scheduled
    descend: bool
    coupling: Call | None


@attrs.frozen
class Propose:
    """The sampler's proposal becomes the kernel's from z and the gradient of the energy there.

    Attributes:
        kernel: proposes.
        stream: names the kernel's draws.
        energy: climbs.
        index: the move's number, counted from 0, where a number changes over moves; `loop` inside a `Repeat`.
    """

    sampler: str
    anchor: str
    kernel: Call
    stream: str
    energy: Energy
    index: int | Literal["loop"] | None = None
    origin: Origin = origin()


@attrs.frozen
class Accept:
    """Each example's proposal takes the place of z, with its losses and gradient, or z stays as it was.

    Attributes:
        acceptance: the probability, of the kernel that proposed.
        stream: names the uniform numbers that decide.
        energy: as for `Propose`.
        support: says for each example whether a point is inside; a proposal outside one of them is rejected.
        index: as for `Propose`.
    """

    sampler: str
    anchor: str
    acceptance: Call
    stream: str
    energy: Energy
    support: tuple[Call, ...] = ()
    index: int | Literal["loop"] | None = None
    origin: Origin = origin()


def proposal_of(sampler: str) -> str:
    """The register of a sampler's proposal."""
    return f"{sampler}.proposal"


def chain_of(register: str) -> str:
    """The sampler whose point, or whose proposal, a register of data holds; `batch.x` is its own."""
    return register.removesuffix(proposal_of(""))


def tests(sampler: Any) -> bool:
    """Whether a sampler makes moves that are accepted or rejected."""
    kernel = sampler.kernel
    return bool(sampler.moves) and registry.primitive("kernels", kernel.kind).acceptance is not None


def propose_and_accept(sampler: Any, i: int, k: int, anchor: str, lengths: Lengths) -> tuple[Propose, Accept]:
    """The k-th move of the i-th sampler, without the evaluation that stands between the two.

    Args:
        sampler: one that tests its moves.
        i, k: their numbers, counted from 0.
        anchor: the register of its anchor.
        lengths: how long what is counted lasts.
    """
    name, target = sampler.name, sampler.target
    kernel, coupling = call("kernels", sampler.kernel, lengths), call("couplings", target.coupling, lengths)
    pulls = coupling if coupling.primitive.function is not None else None
    energy = Energy(number(target.beta, lengths), target.direction == "descend", pulls)
    support = tuple(call("projections", projection, lengths).as_its("inside") for projection in sampler.projection)
    index = k if over_moves(kernel, pulls, energy.scale) else None
    path = ("sampler", i, "kernel")
    proposes = Origin(path, f"propose: {kernel.kind}")
    accepts = Origin(path, f"accept: {kernel.kind}")
    return (
        Propose(name, anchor, kernel, f"{name}.noise", energy, index, origin=proposes),
        Accept(name, anchor, kernel.as_its("acceptance"), f"{name}.acceptance", energy, support, index, origin=accepts),
    )
