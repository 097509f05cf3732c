"""Plans written by hand: some that keep every rule of `verify`, and for each rule some that break it."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import attrs

from atentdsl.plan.margins import Climb, Middle, Narrow, Ray, Remember, Settle, Within
from atentdsl.plan.metropolis import Accept, Energy, Propose
from atentdsl.plan.operations import (
    Anchor,
    Between,
    Bounds,
    Carry,
    Clean,
    Clear,
    Displace,
    Evaluate,
    Frozen,
    Gather,
    Hold,
    Keep,
    Load,
    Move,
    Noise,
    Place,
    Project,
    PutAside,
    Recall,
    Repeat,
    Restore,
    Start,
    Take,
    Update,
    Worst,
    X,
)
from atentdsl.plan.program import Plan
from atentdsl.plan.values import Call, Scheduled, Smoothed


def train(*operations):
    return Plan("train", operations)


def draw(*operations):
    return Plan("draw", operations)


def of(operation, **changes):
    return attrs.evolve(operation, **changes)


clear, hold, recall = (partial(operation, "data") for operation in (Clear, Hold, Recall))

LOSS = Call("targets", "cross_entropy")
KERNEL = Call("kernels", "gradient", (("step_size", 0.1),))
GAUSSIAN = Call("starts", "gaussian", (("sd", 0.1),))
LINF_BALL = Call("projections", "linf_ball", (("radius", 0.1),))
TAKE = Take()
WEIGHTS = Evaluate("weights", LOSS, "train", X, Fraction(1))
KEEP = Keep(X, Fraction(1))
PLACE = Place()
UPDATE = Update(Call("optimizers", "sgd"), Scheduled(Call("schedules", "constant", (("value", 0.1),)), "epochs"))

# A chain of data.
START = Start("data", X, "data", GAUSSIAN, "data.start")
GRADIENT = Evaluate("input", LOSS, "eval", "data")
MOVE = Move("data", X, "data", KERNEL, "data.noise", 1.0, False, False, None, None, "loss")
BOX = Project("data", X, "data", Call("projections", "box"), "move")
CLIP = Project("data", X, "data", Call("projections", "increment_clip", (("radius", 0.1),)), "move")
BOUNDS, BETWEEN = Bounds("data", X, 0.1), Between("data", "move")
HANDED = of(WEIGHTS, at="data")
BOTH = of(HANDED, wants="both")
LOSSES = Evaluate("loss", LOSS, "eval", "data")
LOOPED = of(HANDED, coefficient="loop")
COUNTED = of(MOVE, index="loop")
OTHER = of(START, sampler="other")

# Losses that read the clean logits.
KL, TRADES = Call("targets", "kl_to_clean"), Call("objectives", "trades", (("beta", 6.0),))
KEPT, KEPT_IN_TRAIN = Clean("eval"), Clean("train")
TO_CLEAN = Evaluate("input", KL, "eval", "data")
READS = of(TO_CLEAN, clean="kept")
OUTER = Evaluate("weights", TRADES, "train", "data", Fraction(1))

# A loss that reads the worst logits, and its radius.
BOUNDED = of(WEIGHTS, loss=Call("objectives", "interval_bound", (("kappa", 0.5),)), radius=0.1)

# A chain of data that accepts or rejects its moves.
MALA = Call("kernels", "mala", (("step_size", 0.1), ("noise", 0.2)))
ENERGY = Energy(1.0, False, Call("couplings", "l2", (("gamma", 0.5),)))
HERE, THERE = (Evaluate("density", LOSS, "eval", at) for at in ("data", "data.proposal"))
PROPOSE = Propose("data", X, MALA, "data.noise", ENERGY)
ACCEPT = Accept("data", X, MALA.as_its("acceptance"), "data.acceptance", ENERGY)
TESTED = (PROPOSE, THERE, ACCEPT)
ELSEWHERE = (Propose("other", X, MALA, "other.noise", ENERGY), of(THERE, at="other.proposal"))

# A margin search.
WITHIN = Within("data", X, "linf", 0.1, True, True, "data.start")
CLIMB, MIDDLE, NARROW = Climb("data", X, "linf", 2.5, 2), Middle("data", X), Narrow("data", X)
RAY, SETTLE, REMEMBER = Ray("data", X, "linf", 0.5), Settle("data", X, 0.5), Remember("data", X, 0.1)
HALVED, AT_X = (MIDDLE, LOSSES, NARROW), of(LOSSES, at=X)
TO_RAY = (TAKE, WITHIN, GRADIENT, CLIMB, LOSSES, RAY)
SETTLED = (*TO_RAY, *HALVED, AT_X, SETTLE)
CHOSEN = of(HANDED, chosen=True)

# A chain of weights.
ANCHOR = Anchor("w")
START_W = Start("w", "w.anchor", "weights", GAUSSIAN, "w.start")
AT_ITS_ANCHOR = of(START_W, call=None, stream="")
LOAD = Load("w")
ASIDE, GATHER = PutAside("w"), Gather("w")
MOVE_W = of(MOVE, sampler="w", anchor="w.anchor", space="weights", stream="w.noise")
BALL_W = Project("w", "w.anchor", "weights", LINF_BALL, "move")
DISPLACE = Displace("w", Fraction(1), 1.0)
RESTORE = Restore("w")
SUBTRACT = Restore("w", "subtract")
TARGET = (ASIDE, WEIGHTS, GATHER)

# Another one, inside it.
ANCHOR_V, LOAD_V, RESTORE_V = Anchor("v"), Load("v"), Restore("v")
START_V = of(START_W, sampler="v", anchor="v.anchor", stream="v.start")
MOVED_V = (ANCHOR_V, START_V, LOAD_V)

TURN = (GRADIENT, MOVE, LOOPED)
HALVES = (Fraction(1, 2), Fraction(1, 2))
RESTART = (clear("candidates"), START, hold("candidates"), LOSSES, Worst("data"))
INSIDE = (ANCHOR_V, of(AT_ITS_ANCHOR, sampler="v", anchor="v.anchor"), RESTORE_V)
GOOD = {
    "a margin search": train(*SETTLED, REMEMBER, CHOSEN, UPDATE),
    "a margin search, rolled": train(
        *(TAKE, WITHIN, Frozen((Repeat(2, (GRADIENT, CLIMB)),)), LOSSES, RAY, Repeat(3, HALVED), AT_X, SETTLE, CHOSEN),
        UPDATE,
    ),
    "a margin search that is drawn": draw(*SETTLED, of(KEEP, at="data", chosen=True)),
    "a smoothed network": train(
        TAKE, Noise(0.1, 2), of(WEIGHTS, smoothed=Smoothed(2, "losses")), Noise(0.1, 2), WEIGHTS, UPDATE
    ),
    "a step that is placed": train(PLACE, TAKE, WEIGHTS, UPDATE),
    "a point brought between bounds": train(
        TAKE, START, BOUNDS, of(BETWEEN, after="start"), GRADIENT, MOVE, BETWEEN, HANDED, UPDATE
    ),
    "bounds that outlive the point before": train(
        TAKE, START, BOUNDS, Repeat(2, (GRADIENT, MOVE, BETWEEN)), HANDED, START, GRADIENT, MOVE, BETWEEN, UPDATE
    ),
    "bounds around another sampler's point": train(
        TAKE, OTHER, START, of(BOUNDS, anchor="other"), GRADIENT, MOVE, BETWEEN, HANDED, UPDATE
    ),
    "both gradients at once": train(TAKE, START, GRADIENT, MOVE, BOTH, MOVE, HANDED, UPDATE),
    "both gradients at once for a target": train(
        TAKE, ANCHOR, AT_ITS_ANCHOR, ASIDE, START, BOTH, MOVE, HANDED, GATHER, MOVE_W, LOAD, WEIGHTS, RESTORE, UPDATE
    ),
    "plain training": train(TAKE, WEIGHTS, UPDATE),
    "a chain": train(TAKE, START, of(BOX, after="start"), GRADIENT, MOVE, BOX, CLIP, HANDED, UPDATE),
    "a chain that is drawn": draw(TAKE, START, KEEP, GRADIENT, MOVE, KEEP),
    "a chain that accepts or rejects": train(TAKE, START, HERE, *TESTED, *TESTED, HANDED, UPDATE),
    "a chain that accepts or rejects, in a loop": train(TAKE, START, HERE, Repeat(2, TESTED), HANDED, UPDATE),
    "frozen statistics between the density and the move": train(
        TAKE, START, HERE, ASIDE, of(HANDED, mode="frozen"), GATHER, *TESTED, HANDED, UPDATE
    ),
    "a density that is taken again": train(TAKE, START, HERE, PROPOSE, THERE, HERE, ACCEPT, HANDED, UPDATE),
    "two chains that accept or reject": train(
        TAKE, START, HERE, *TESTED, HANDED, OTHER, of(HERE, at="other"), *ELSEWHERE,
        of(ACCEPT, sampler="other"), of(HANDED, at="other"), UPDATE,
    ),
    "a loop": train(TAKE, START, Repeat(2, (GRADIENT, MOVE)), HANDED, UPDATE),
    "a loop with coefficients": train(TAKE, START, Repeat(2, TURN, HALVES), UPDATE),
    "a loop that counts": train(TAKE, START, Repeat(2, (GRADIENT, COUNTED), first=1), HANDED, UPDATE),
    "a loop with both": train(TAKE, START, Repeat(2, (GRADIENT, COUNTED, LOOPED), HALVES, 0), UPDATE),
    "loops in loops": train(TAKE, START, Repeat(2, (Repeat(3, (GRADIENT, MOVE)), LOOPED), HALVES), UPDATE),
    "an index of the loop around": train(
        TAKE, Repeat(2, (START, Repeat(3, (GRADIENT, COUNTED))), first=0), HANDED, UPDATE
    ),
    "a frozen region in a loop": train(TAKE, START, Repeat(2, (Frozen((GRADIENT, MOVE)), LOOPED), HALVES), UPDATE),
    "a loop in a frozen region": train(TAKE, START, Frozen((Repeat(2, (GRADIENT, COUNTED), first=0),)), HANDED, UPDATE),
    "a gradient that is taken twice": train(TAKE, START, GRADIENT, GRADIENT, MOVE, HANDED, UPDATE),
    "coefficients of the loop around": train(TAKE, START, Repeat(2, (Repeat(2, TURN),), HALVES), UPDATE),
    "a loop that counts in a frozen region": train(
        TAKE, START, Repeat(2, (Frozen((GRADIENT, COUNTED)), HANDED), first=0), UPDATE
    ),
    "another chain between the gradient and the move": train(TAKE, START, GRADIENT, OTHER, MOVE, HANDED, UPDATE),
    "another chain between the losses and the choice": train(
        TAKE, clear("worst"), START, hold("candidates"), LOSSES, OTHER, Worst("data"), HANDED, UPDATE
    ),
    "weights between the gradient and the move": train(TAKE, START, GRADIENT, HANDED, MOVE, UPDATE),
    "no batch where none is read": train(ANCHOR, START_W, LOAD, DISPLACE, RESTORE, UPDATE),
    "a chain of weights": train(
        TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, MOVE_W, BALL_W, LOAD, WEIGHTS, RESTORE, UPDATE
    ),
    "a chain of weights that starts elsewhere": train(
        TAKE, ANCHOR, START_W, of(BALL_W, after="start"), LOAD, *TARGET, MOVE_W, LOAD, WEIGHTS, RESTORE, UPDATE
    ),
    "weights that are drawn": draw(TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, MOVE_W, LOAD, of(KEEP, at="w"), RESTORE),
    "a displacement in the target of weights that are drawn": draw(
        TAKE, ANCHOR, AT_ITS_ANCHOR, ASIDE, *MOVED_V, of(DISPLACE, sampler="v"), RESTORE_V, GATHER, MOVE_W, LOAD,
        of(KEEP, at="w"), RESTORE,
    ),
    "a new batch for each move": train(
        ANCHOR, AT_ITS_ANCHOR, *((TAKE, *TARGET, MOVE_W, LOAD) * 2), DISPLACE, RESTORE, UPDATE
    ),
    "restarts of weights": train(
        TAKE, ANCHOR, START_W, LOAD, WEIGHTS, RESTORE, START_W, LOAD, WEIGHTS, RESTORE, UPDATE
    ),
    "a displacement from weights that are not loaded": train(
        TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, MOVE_W, DISPLACE, RESTORE, UPDATE
    ),
    "an update at perturbed weights": train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, UPDATE, SUBTRACT),
    "an update at weights perturbed twice over": train(
        TAKE, ANCHOR, START_W, LOAD, *MOVED_V, WEIGHTS, UPDATE, of(RESTORE_V, how="subtract"), SUBTRACT
    ),
    "one perturbation that is restored before the update, and one after it": train(
        TAKE, ANCHOR, START_W, LOAD, *MOVED_V, WEIGHTS, RESTORE_V, UPDATE, SUBTRACT
    ),
    "restarts of weights inside restarts of weights": train(
        TAKE, ANCHOR, START_W, LOAD, *MOVED_V, WEIGHTS, RESTORE_V, START_V, LOAD_V, WEIGHTS, RESTORE_V,
        RESTORE, START_W, LOAD, *MOVED_V, WEIGHTS, RESTORE_V, RESTORE, UPDATE,
    ),
    "a restart of weights that have not left their anchor": train(
        TAKE, ANCHOR, AT_ITS_ANCHOR, WEIGHTS, AT_ITS_ANCHOR, WEIGHTS, RESTORE, UPDATE
    ),
    "a restart of weights that were never loaded": train(
        TAKE, ANCHOR, START_W, RESTORE, AT_ITS_ANCHOR, WEIGHTS, RESTORE, UPDATE
    ),
    "a target in eval mode": train(
        TAKE, ANCHOR, AT_ITS_ANCHOR, ASIDE, of(WEIGHTS, mode="eval"), GATHER, MOVE_W, LOAD, WEIGHTS, RESTORE, UPDATE
    ),
    "data inside weights": train(
        TAKE, ANCHOR, AT_ITS_ANCHOR, ASIDE, START, GRADIENT, MOVE, HANDED, GATHER, MOVE_W, LOAD, START, HANDED, RESTORE,
        UPDATE,
    ),
    "weights inside weights, twice": train(
        TAKE, ANCHOR, AT_ITS_ANCHOR, ASIDE, *INSIDE, WEIGHTS, GATHER, MOVE_W, LOAD, *INSIDE, WEIGHTS, RESTORE, UPDATE
    ),
    "a target inside a target": train(
        TAKE, ANCHOR, AT_ITS_ANCHOR, ASIDE, PutAside("v"), WEIGHTS, Gather("v"), GATHER, WEIGHTS, RESTORE, UPDATE
    ),
    "points on a shelf": train(
        TAKE, clear("points"), START, hold("points"), GRADIENT, MOVE, hold("points"), recall("points", 0), HANDED,
        recall("points", 1), HANDED, UPDATE,
    ),
    "a shelf's points in a loop": train(
        TAKE, clear("points"), Repeat(2, (START, hold("points"))),
        Repeat(2, (recall("points", "loop"), HANDED), first=0), UPDATE,
    ),
    "the worst of two restarts": train(
        TAKE, clear("worst"), Repeat(2, RESTART), recall("worst", 0), HANDED, UPDATE
    ),
    "the worst of other restarts, with more points each": train(
        TAKE, clear("worst"), *RESTART, recall("worst", 0), HANDED, clear("worst"),
        *((clear("candidates"), START, hold("candidates"), hold("candidates"), LOSSES, Worst("data")) * 2),
        recall("worst", 1), HANDED, UPDATE,
    ),
    "clean logits at every evaluation": train(TAKE, START, TO_CLEAN, MOVE, TO_CLEAN, MOVE, OUTER, UPDATE),
    "clean logits that are kept": train(TAKE, START, KEPT, READS, MOVE, READS, MOVE, of(OUTER, clean=1), UPDATE),
    "clean logits that are kept before the start, in a loop": train(
        TAKE, KEPT, START, Frozen((Repeat(2, (READS, MOVE)),)), OUTER, UPDATE
    ),
    "clean logits that are kept through other evaluations in eval mode": train(
        TAKE, START, KEPT, GRADIENT, MOVE, LOSSES, READS, MOVE, OUTER, UPDATE
    ),
    "clean logits that are kept in train mode": train(
        TAKE, START, KEPT_IN_TRAIN, of(READS, mode="train"), MOVE, OUTER, UPDATE
    ),
    "clean logits that are kept again at other weights": train(
        TAKE, START, KEPT, READS, MOVE, ANCHOR, START_W, LOAD, KEPT, READS, MOVE, OUTER, RESTORE, UPDATE
    ),
    "losses to the clean logits that are kept": train(
        TAKE, START, KEPT, of(LOSSES, loss=KL, clean="kept"), of(WEIGHTS, at="data"), UPDATE
    ),
    "a start that is carried on": train(TAKE, START, HANDED, Carry("data", X), UPDATE),
}  # fmt: skip
SMOOTHED = of(WEIGHTS, smoothed=Smoothed(2, "losses"))
BROKEN = {
    "a search goes from its ball to its ray, which it then halves": [
        train(TAKE, START, LOSSES, RAY, AT_X, SETTLE, HANDED, UPDATE),
        train(TAKE, START, GRADIENT, CLIMB, HANDED, UPDATE),
        train(*TO_RAY, GRADIENT, CLIMB, HANDED, UPDATE),
        train(*TO_RAY, LOSSES, RAY, HANDED, UPDATE),
        train(*TO_RAY, NARROW, HANDED, UPDATE),
        train(*TO_RAY, *HALVED, NARROW, HANDED, UPDATE),
        train(*TO_RAY, MIDDLE, AT_X, SETTLE, CHOSEN, UPDATE),
        train(TAKE, WITHIN, MIDDLE, HANDED, UPDATE),
        train(*TO_RAY, REMEMBER, HANDED, UPDATE),
        train(*TO_RAY, TAKE, MIDDLE, HANDED, UPDATE),
        train(*SETTLED, WITHIN, REMEMBER, HANDED, UPDATE),
    ],
    "a search is led by the losses at the point that it asks about": [
        train(TAKE, WITHIN, GRADIENT, CLIMB, RAY, HANDED, UPDATE),
        train(TAKE, WITHIN, LOSSES, GRADIENT, CLIMB, RAY, HANDED, UPDATE),
        train(TAKE, WITHIN, AT_X, RAY, HANDED, UPDATE),
        train(*TO_RAY, MIDDLE, NARROW, HANDED, UPDATE),
        train(*TO_RAY, MIDDLE, AT_X, NARROW, HANDED, UPDATE),
        train(*TO_RAY, SETTLE, HANDED, UPDATE),
        train(*TO_RAY, *HALVED, SETTLE, HANDED, UPDATE),
    ],
    "examples are chosen where a search has settled": [
        train(TAKE, WITHIN, CHOSEN, UPDATE),
        train(*TO_RAY, CHOSEN, UPDATE),
        train(*TO_RAY, *HALVED, CHOSEN, UPDATE),
        train(*SETTLED, of(CHOSEN, at=X), UPDATE),
        train(*SETTLED, WITHIN, CHOSEN, UPDATE),
        draw(*TO_RAY, of(KEEP, at="data", chosen=True)),
    ],
    "noise is drawn once at least": [train(TAKE, Noise(0.1, 0), WEIGHTS, UPDATE)],
    "the smoothing's noise is drawn for the batch before the network is evaluated under it": [
        train(TAKE, SMOOTHED, UPDATE),
        train(TAKE, Noise(0.1, 3), SMOOTHED, UPDATE),
        train(TAKE, Noise(0.1, 2), TAKE, SMOOTHED, UPDATE),
        train(TAKE, Clean("eval", Smoothed(2, "losses")), WEIGHTS, UPDATE),
    ],
    "bounds are there before a point is brought between them": [
        train(TAKE, START, GRADIENT, MOVE, BETWEEN, HANDED, UPDATE),
        train(TAKE, START, of(BOUNDS, sampler="other"), GRADIENT, MOVE, BETWEEN, HANDED, UPDATE),
        train(TAKE, BOUNDS, TAKE, START, GRADIENT, MOVE, BETWEEN, HANDED, UPDATE),
        train(TAKE, OTHER, START, of(BOUNDS, anchor="other"), OTHER, GRADIENT, MOVE, BETWEEN, HANDED, UPDATE),
    ],
    "a plan is placed once, before anything else": [
        train(PLACE, PLACE, TAKE, WEIGHTS, UPDATE),
        train(TAKE, PLACE, WEIGHTS, UPDATE),
    ],
    "a step is placed, and not what is drawn": [draw(PLACE, TAKE, KEEP)],
    "nothing is read before it is there": [
        train(WEIGHTS, UPDATE),
        draw(KEEP),
        train(START, TAKE, WEIGHTS, UPDATE),
        train(TAKE, HANDED, UPDATE),
        train(TAKE, GRADIENT, WEIGHTS, UPDATE),
        train(TAKE, of(BOX, after="start"), WEIGHTS, UPDATE),
        train(TAKE, LOSSES, WEIGHTS, UPDATE),
        train(TAKE, hold("points"), WEIGHTS, UPDATE),
        train(TAKE, WEIGHTS, Carry("data", X), UPDATE),
        train(TAKE, START, WEIGHTS, Carry("data", "w.anchor"), UPDATE),
        train(TAKE, START, GRADIENT, of(MOVE, anchor="other"), HANDED, UPDATE),
        train(TAKE, START_W, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, *TARGET, MOVE_W, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, of(BALL_W, after="start"), LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, DISPLACE, RESTORE, UPDATE),
        train(KEPT, TAKE, WEIGHTS, UPDATE),
        train(ANCHOR, START_W, LOAD, of(OUTER, at="w"), RESTORE, UPDATE),
    ],
    "an evaluation has the clean logits that its loss asks for": [
        train(TAKE, START, of(GRADIENT, clean=1), MOVE, HANDED, UPDATE),
        train(TAKE, START, KEPT, of(GRADIENT, clean="kept"), MOVE, HANDED, UPDATE),
        train(TAKE, START, of(TO_CLEAN, clean=0), MOVE, HANDED, UPDATE),
        train(TAKE, START, of(TO_CLEAN, clean=2), MOVE, HANDED, UPDATE),
        train(TAKE, START, of(OUTER, clean=0), UPDATE),
        train(TAKE, START, of(OUTER, clean=3), UPDATE),
        train(TAKE, START, KEPT_IN_TRAIN, of(OUTER, clean="kept"), UPDATE),
    ],
    "clean logits are kept in this mode, at these weights and statistics": [
        train(TAKE, START, READS, MOVE, HANDED, UPDATE),
        train(TAKE, START, KEPT_IN_TRAIN, READS, MOVE, HANDED, UPDATE),
        train(TAKE, START, KEPT, of(READS, mode="frozen"), MOVE, HANDED, UPDATE),
        train(TAKE, START, KEPT, TAKE, READS, MOVE, HANDED, UPDATE),
        train(TAKE, START, KEPT, READS, MOVE, HANDED, READS, MOVE, UPDATE),
        train(TAKE, START, KEPT, of(GRADIENT, mode="train"), READS, MOVE, HANDED, UPDATE),
        train(TAKE, START, KEPT, ANCHOR, START_W, LOAD, READS, MOVE, HANDED, RESTORE, UPDATE),
        train(TAKE, START, ANCHOR, START_W, LOAD, KEPT, RESTORE, READS, MOVE, HANDED, UPDATE),
        train(TAKE, START, Repeat(2, (KEPT, READS, MOVE, HANDED)), READS, MOVE, UPDATE),
    ],
    "a sampler keeps one anchor": [
        train(TAKE, ANCHOR, ANCHOR, START_W, LOAD, WEIGHTS, RESTORE, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, ANCHOR, WEIGHTS, RESTORE, RESTORE, UPDATE),
        train(TAKE, ANCHOR, ANCHOR_V, ANCHOR, AT_ITS_ANCHOR, WEIGHTS, RESTORE, RESTORE_V, RESTORE, UPDATE),
        train(TAKE, Repeat(2, (ANCHOR, AT_ITS_ANCHOR, WEIGHTS)), RESTORE, RESTORE, UPDATE),
    ],
    "the network takes the weights before it is evaluated at them": [
        train(TAKE, ANCHOR, START_W, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, *TARGET, RESTORE, WEIGHTS, UPDATE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, MOVE_W, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, MOVE_W, LOAD, BALL_W, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, START, ANCHOR, START_W, GRADIENT, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, START, ANCHOR, START_W, LOSSES, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, KEPT, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, *INSIDE, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, *MOVED_V, WEIGHTS, RESTORE_V, LOAD, RESTORE, UPDATE),
    ],
    "weights that were perturbed are restored": [
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, RESTORE, START_W, LOAD, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, RESTORE, AT_ITS_ANCHOR, UPDATE),
        train(TAKE, ANCHOR_V, ANCHOR, START_W, LOAD, WEIGHTS, RESTORE, UPDATE),
        draw(TAKE, ANCHOR, START_W, LOAD, of(KEEP, at="w")),
    ],
    "perturbed weights are restored, the innermost first": [
        train(TAKE, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, WEIGHTS, UPDATE, SUBTRACT),
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, RESTORE, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, RESTORE, UPDATE, SUBTRACT),
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, RESTORE_V, UPDATE),
        train(TAKE, ANCHOR, ANCHOR_V, WEIGHTS, RESTORE, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, *MOVED_V, WEIGHTS, RESTORE, RESTORE_V, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, ANCHOR_V, WEIGHTS, UPDATE, SUBTRACT, of(RESTORE_V, how="subtract")),
    ],
    "a chain of weights starts from its anchor": [
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, START_W, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, AT_ITS_ANCHOR, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, *MOVED_V, START_W, LOAD, WEIGHTS, RESTORE_V, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, *MOVED_V, RESTORE_V, START_W, LOAD, WEIGHTS, RESTORE, UPDATE),
        draw(TAKE, ANCHOR, START_W, LOAD, of(KEEP, at="w"), START_W, LOAD, of(KEEP, at="w"), RESTORE),
    ],
    "an update keeps its weights, and loses the perturbation": [
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, SUBTRACT, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, UPDATE, RESTORE),
        train(TAKE, ANCHOR, START_W, LOAD, *MOVED_V, WEIGHTS, UPDATE, RESTORE_V, SUBTRACT),
        train(TAKE, ANCHOR, START_W, LOAD, *MOVED_V, WEIGHTS, of(RESTORE_V, how="subtract"), UPDATE, SUBTRACT),
        draw(TAKE, ANCHOR, START_W, LOAD, of(KEEP, at="w"), SUBTRACT),
    ],
    "a displacement has an anchor": [
        train(TAKE, START, of(DISPLACE, sampler="data"), UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, RESTORE, DISPLACE, UPDATE),
    ],
    "what was put aside is taken back": [
        train(TAKE, WEIGHTS, ASIDE, UPDATE),
        draw(TAKE, KEEP, ASIDE),
        train(TAKE, WEIGHTS, GATHER, UPDATE),
        train(TAKE, WEIGHTS, ASIDE, Gather("v"), UPDATE),
        train(TAKE, WEIGHTS, ASIDE, PutAside("v"), GATHER, Gather("v"), UPDATE),
        train(TAKE, WEIGHTS, ASIDE, GATHER, GATHER, UPDATE),
        draw(TAKE, KEEP, ASIDE, PutAside("v"), GATHER, Gather("v")),
    ],
    "a move needs the gradient at its own point": [
        train(TAKE, WITHIN, CLIMB, HANDED, UPDATE),
        train(TAKE, WITHIN, GRADIENT, CLIMB, CLIMB, HANDED, UPDATE),
        train(TAKE, START, MOVE, HANDED, UPDATE),
        train(TAKE, START, GRADIENT, MOVE, MOVE, HANDED, UPDATE),
        train(TAKE, START, GRADIENT, START, MOVE, HANDED, UPDATE),
        train(TAKE, START, GRADIENT, MOVE, GRADIENT, BOX, MOVE, HANDED, UPDATE),
        train(TAKE, START, GRADIENT, Repeat(2, (MOVE, BOX)), HANDED, UPDATE),
        train(TAKE, START, of(GRADIENT, at=X), MOVE, HANDED, UPDATE),
        train(TAKE, START, hold("points"), GRADIENT, recall("points", 0), MOVE, HANDED, UPDATE),
        train(TAKE, START, GRADIENT, TAKE, MOVE, HANDED, UPDATE),
        train(TAKE, START, GRADIENT, of(BOX, after="start"), MOVE, HANDED, UPDATE),
        train(TAKE, START, GRADIENT, ANCHOR, START_W, LOAD, MOVE, HANDED, RESTORE, UPDATE),
        train(TAKE, START, LOSSES, MOVE, HANDED, UPDATE),
        train(TAKE, START, HANDED, MOVE, UPDATE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, MOVE_W, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, TAKE, MOVE_W, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, AT_ITS_ANCHOR, MOVE_W, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, MOVE_W, MOVE_W, LOAD, WEIGHTS, RESTORE, UPDATE),
    ],
    "losses of interval bounds, and they alone, have a radius": [
        train(TAKE, of(WEIGHTS, radius=0.1), UPDATE),
        train(TAKE, of(BOUNDED, radius=None), UPDATE),
    ],
    "interval bounds are asked for the weights' gradient alone": [
        train(TAKE, of(BOUNDED, wants="both"), UPDATE),
        train(TAKE, of(BOUNDED, wants="input", coefficient=None), WEIGHTS, UPDATE),
        train(TAKE, of(BOUNDED, wants="loss", coefficient=None), WEIGHTS, UPDATE),
    ],
    "interval bounds are of the network without smoothing noise": [
        train(TAKE, Noise(0.1, 2), of(BOUNDED, smoothed=Smoothed(2, "losses")), UPDATE),
    ],
    "a density belongs to one example, and the network is in eval mode": [
        train(TAKE, START, of(HERE, mode="frozen"), *TESTED, HANDED, UPDATE),
        train(TAKE, START, HERE, PROPOSE, of(THERE, mode="frozen"), ACCEPT, HANDED, UPDATE),
        train(TAKE, START, of(HERE, mode="train"), *TESTED, HANDED, UPDATE),
    ],
    "a proposal needs the density at its own point": [
        train(TAKE, START, PROPOSE, HERE, THERE, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, HERE, START, PROPOSE, HERE, THERE, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, HERE, of(BOX, after="start"), PROPOSE, HERE, THERE, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, HERE, HANDED, PROPOSE, HERE, THERE, ACCEPT, UPDATE),
        train(TAKE, START, HERE, TAKE, PROPOSE, HERE, THERE, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, hold("points"), HERE, recall("points", 0), PROPOSE, HERE, THERE, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, HERE, ANCHOR, START_W, LOAD, PROPOSE, HERE, THERE, ACCEPT, HANDED, RESTORE, UPDATE),
        train(TAKE, START, GRADIENT, PROPOSE, HERE, THERE, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, OTHER, of(HERE, at="other"), PROPOSE, HERE, THERE, ACCEPT, HANDED, UPDATE),
    ],
    "a proposal is accepted by the densities at both points": [
        train(TAKE, START, HERE, PROPOSE, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, HERE, *TESTED, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, HERE, PROPOSE, THERE, HANDED, ACCEPT, UPDATE),
        train(TAKE, START, HERE, PROPOSE, THERE, TAKE, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, HERE, PROPOSE, THERE, START, ACCEPT, HANDED, UPDATE),
        train(TAKE, START, HERE, PROPOSE, THERE, OTHER, of(HERE, at="other"), ACCEPT, HANDED, UPDATE),
        train(TAKE, START, HERE, PROPOSE, LOSSES, ACCEPT, HANDED, UPDATE),
    ],
    "a proposal is taken or rejected before anything else becomes of the chain": [
        train(TAKE, START, HERE, PROPOSE, THERE, *TESTED, HANDED, UPDATE),
        train(TAKE, START, HERE, *TESTED, PROPOSE, HANDED, UPDATE),
        train(TAKE, START, HERE, PROPOSE, START, HERE, *TESTED, HANDED, UPDATE),
        draw(TAKE, START, HERE, PROPOSE, KEEP),
    ],
    "a projection says what it follows: start or move": [
        train(TAKE, START, BOX, HANDED, UPDATE),
        train(TAKE, START, CLIP, GRADIENT, MOVE, HANDED, UPDATE),
        train(TAKE, START, GRADIENT, MOVE, of(BOX, after="start"), HANDED, UPDATE),
        train(TAKE, START, GRADIENT, MOVE, START, BOX, HANDED, UPDATE),
        train(TAKE, START, BOUNDS, BETWEEN, HANDED, UPDATE),
        train(TAKE, ANCHOR, START_W, BALL_W, LOAD, WEIGHTS, RESTORE, UPDATE),
    ],
    "a plan hands on at least one point": [
        train(TAKE, UPDATE),
        train(UPDATE),
        draw(TAKE, START, GRADIENT, MOVE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, MOVE_W, LOAD, RESTORE, UPDATE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, ASIDE, DISPLACE, GATHER, RESTORE, UPDATE),
    ],
    "points are kept to draw, evaluated to train": [
        train(TAKE, KEEP, UPDATE),
        train(TAKE, WEIGHTS, KEEP, UPDATE),
        draw(TAKE, WEIGHTS),
        draw(TAKE, KEEP, ASIDE, KEEP, GATHER),
        draw(TAKE, ANCHOR, AT_ITS_ANCHOR, KEEP, DISPLACE, RESTORE),
    ],
    "a plan that trains updates once, and no other does": [
        train(TAKE, WEIGHTS),
        draw(TAKE, KEEP, UPDATE),
    ],
    "an update ends a plan, but for what restores the weights": [
        train(TAKE, UPDATE, WEIGHTS),
        train(TAKE, WEIGHTS, UPDATE, TAKE),
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, UPDATE, LOAD, SUBTRACT),
    ],
    "the worst restart is chosen by losses at the last point": [
        train(TAKE, START, Worst("data"), HANDED, UPDATE),
        train(TAKE, START, LOSSES, GRADIENT, MOVE, Worst("data"), HANDED, UPDATE),
        train(TAKE, START, LOSSES, of(BOX, after="start"), Worst("data"), HANDED, UPDATE),
        train(TAKE, START, of(LOSSES, at=X), Worst("data"), HANDED, UPDATE),
        train(TAKE, START, LOSSES, START, Worst("data"), HANDED, UPDATE),
        train(TAKE, START, LOSSES, TAKE, Worst("data"), HANDED, UPDATE),
        train(TAKE, START, LOSSES, ANCHOR, START_W, LOAD, Worst("data"), HANDED, RESTORE, UPDATE),
        train(TAKE, START, hold("points"), LOSSES, recall("points", 0), Worst("data"), HANDED, UPDATE),
        train(TAKE, START, GRADIENT, Worst("data"), HANDED, UPDATE),
    ],
    "every restart hands on as many points": [
        train(TAKE, clear("worst"), *RESTART, *of_two, recall("worst", 0), HANDED, UPDATE)
        for of_two in (
            (clear("candidates"), START, hold("candidates"), hold("candidates"), LOSSES, Worst("data")),
            (START, hold("candidates"), LOSSES, Worst("data")),
            (clear("candidates"), START, LOSSES, Worst("data"), *RESTART),
        )
    ]
    + [  # a first restart that hands on nothing
        train(TAKE, clear("worst"), clear("candidates"), START, LOSSES, Worst("data"), *RESTART, HANDED, UPDATE),
    ],
    "a point is kept before it is recalled": [
        train(TAKE, START, recall("points", 0), HANDED, UPDATE),
        train(TAKE, START, hold("points"), recall("points", 1), HANDED, UPDATE),
        train(TAKE, START, hold("points"), recall("points", -1), HANDED, UPDATE),
        train(TAKE, START, hold("points"), clear("points"), recall("points", 0), HANDED, UPDATE),
        train(TAKE, START, hold("candidates"), recall("worst", 0), HANDED, UPDATE),
        train(TAKE, *RESTART, recall("worst", 1), HANDED, UPDATE),
        train(TAKE, START, hold("points"), Repeat(2, (recall("points", "loop"), HANDED), first=0), UPDATE),
        train(TAKE, *((START, hold("points")) * 2), Repeat(2, (recall("points", "loop"), HANDED), first=1), UPDATE),
    ],
    "a frozen region holds no other": [
        train(TAKE, START, Frozen((Frozen((GRADIENT, MOVE)),)), HANDED, UPDATE),
        train(TAKE, START, Frozen((Repeat(2, (Frozen((GRADIENT, MOVE)),)),)), HANDED, UPDATE),
    ],
    "a loop runs at least twice": [
        train(TAKE, START, Repeat(1, (GRADIENT, MOVE)), HANDED, UPDATE),
        train(TAKE, START, Repeat(0, (GRADIENT, MOVE)), HANDED, UPDATE),
        train(TAKE, START, Repeat(1, TURN, (Fraction(1),)), UPDATE),
    ],
    "a loop has a coefficient for each turn": [
        train(TAKE, START, Repeat(3, TURN, HALVES), UPDATE),
        train(TAKE, START, Repeat(2, TURN, (*HALVES, Fraction(1))), UPDATE),
    ],
    "frozen weights have no gradient": [
        train(TAKE, START, Frozen((GRADIENT, MOVE, HANDED)), UPDATE),
        train(TAKE, START, Frozen((Repeat(2, TURN, HALVES),)), UPDATE),
    ],
    "frozen weights do not move": [
        train(TAKE, Frozen((ANCHOR,)), START_W, LOAD, WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, Frozen((LOAD,)), WEIGHTS, RESTORE, UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, WEIGHTS, Frozen((RESTORE,)), UPDATE),
        train(TAKE, ANCHOR, START_W, LOAD, Frozen((DISPLACE,)), RESTORE, UPDATE),
        train(TAKE, Frozen((ASIDE,)), WEIGHTS, GATHER, WEIGHTS, UPDATE),
        train(TAKE, ASIDE, WEIGHTS, Frozen((GATHER,)), WEIGHTS, UPDATE),
        train(TAKE, WEIGHTS, Frozen((UPDATE,))),
    ],
    "the signal's gradient is taken in train mode": [
        train(TAKE, of(WEIGHTS, mode="eval"), UPDATE),
        train(TAKE, of(WEIGHTS, mode="frozen"), UPDATE),
        train(TAKE, ANCHOR, AT_ITS_ANCHOR, *TARGET, MOVE_W, LOAD, of(WEIGHTS, mode="frozen"), RESTORE, UPDATE),
    ],
    "weight evaluations, and they alone, have a coefficient": [
        train(TAKE, of(WEIGHTS, coefficient=None), UPDATE),
        train(TAKE, START, of(GRADIENT, coefficient=Fraction(1)), MOVE, HANDED, UPDATE),
        train(TAKE, START, of(LOSSES, coefficient=Fraction(1)), HANDED, UPDATE),
    ],
    "a loop's coefficient stands inside a loop that lists them": [
        train(TAKE, START, LOOPED, UPDATE),
        train(TAKE, START, Repeat(2, TURN), UPDATE),
        train(TAKE, START, Repeat(2, TURN, first=0), UPDATE),
        draw(TAKE, of(KEEP, coefficient="loop")),
        train(TAKE, ANCHOR, START_W, of(DISPLACE, coefficient="loop"), RESTORE, UPDATE),
        train(TAKE, START, Repeat(2, TURN, HALVES), LOOPED, UPDATE),
    ],
    "a loop's index stands inside a loop that counts": [
        train(TAKE, START, GRADIENT, COUNTED, HANDED, UPDATE),
        train(TAKE, START, Repeat(2, (GRADIENT, COUNTED)), HANDED, UPDATE),
        train(TAKE, START, Repeat(2, (GRADIENT, COUNTED, LOOPED), HALVES), UPDATE),
        train(TAKE, START, GRADIENT, MOVE, of(BOX, index="loop"), HANDED, UPDATE),
        train(TAKE, START, Repeat(2, (GRADIENT, MOVE), first=0), GRADIENT, COUNTED, HANDED, UPDATE),
    ],
    "a point of coefficient 0 is not handed on": [
        train(TAKE, of(WEIGHTS, coefficient=Fraction(0)), UPDATE),
        draw(TAKE, of(KEEP, coefficient=Fraction(0))),
        train(TAKE, ANCHOR, START_W, of(DISPLACE, coefficient=Fraction(0)), RESTORE, UPDATE),
        train(TAKE, START, Repeat(2, TURN, (Fraction(0), Fraction(1))), UPDATE),
    ],
}
