"""Recipes in which every part is at work, and whether a module of theirs does what their plan says."""

from __future__ import annotations

from functools import cache

import atentdsl
from atentdsl.codegen import generate
from atentdsl.passes import optimised
from atentdsl.plan import lower
from atentdsl.testing import batch, differences, interpreted, network, run_module

BATCHES = [batch(seed=1), batch(seed=2), batch(count=3, seed=3)]
MODEL = network(dropout=0.4, batch_norm=True)
TOLERANCE = 1e-10

# Every operation of the literal plan by itself, so that an edit of any of them has its own place in the text.
LITERALLY = {"tolerance": 0.0, "merge_evaluations": False, "fold_projections": False}
TABLES = {
    "compile": LITERALLY,
    "schema": 1,
    "recipe": {"name": "full"},
    "data": {"name": "digits", "batch": 4},
    "model": {"name": "mlp"},
    "optimizer": {"kind": "sgd", "epochs": 1, "lr": 0.5, "momentum": 0.5},
    "evaluate": {"attacks": [], "select": "clean"},
}
STEP_SIZE = {"kind": "linear", "over": "moves", "start": 0.2, "end": 0.05}
RADIUS = {"kind": "linear", "over": "moves", "start": 0.1, "end": 0.2}

# Recipes in which every part below is at work: one chain of data; one of weights around one of data with restarts; and
# one of data with one of weights around its points; one of data around the points of another;
# and one of weights around those of another.
FULL = TABLES | {
    "sampler": [
        {
            "moves": 4,
            "mode": "train",
            "target": {"beta": 1.5, "reduction": "batch_mean", "coupling": {"kind": "l2", "gamma": 0.3}},
            "start": {"kind": "uniform", "radius": 0.2, "projected": True},
            "kernel": {"kind": "langevin", "step_size": 0.1, "noise": 0.2, "drift": "l2", "covers": "energy"},
            "projection": [
                {"kind": "linf_ball", "radius": 0.15},
                {"kind": "increment_clip", "radius": 0.02, "when": "last"},
                {"kind": "box"},
            ],
            "averaging": {"kind": "exponential", "alpha": 0.4},
        }
    ],
}
COMPOSED = TABLES | {
    "sampler": [
        {
            "space": "weights",
            "moves": 3,
            "restarts": 2,
            "mode": "train",
            "target": {
                "loss": "signal",
                "direction": "descend",
                "beta": {"kind": "piecewise", "over": "moves", "at": [1, 2], "value": [1.5, 1.0]},
                "coupling": {"kind": "l2", "gamma": 0.3},
            },
            "start": {"kind": "gaussian", "sd": 0.05, "projected": True},
            "kernel": {
                "kind": "langevin",
                "step_size": STEP_SIZE,
                "noise": 0.01,
                "momentum": {"mu": 0.7, "nesterov": True},
            },
            "projection": [{"kind": "l2_ball", "radius": 0.5}],
            "averaging": {"kind": "exponential", "alpha": 0.4, "of": "displacement", "gain": 2.0},
        },
        {
            "name": "attack",
            "moves": 2,
            "restarts": 3,
            "mode": "train",
            "start": {"kind": "uniform", "radius": 0.5},
            "kernel": {"step_size": 0.1, "drift": "l2"},
            "averaging": {"kind": "mean", "over_restarts": "worst"},
        },
    ],
}
AROUND = TABLES | {
    "sampler": [
        {
            "moves": 3,
            "mode": "frozen",
            "start": {"kind": "carry"},
            "kernel": {"step_size": STEP_SIZE, "momentum": {"mu": 0.6, "normalise": "l1"}},
            "projection": [{"kind": "linf_ball", "radius": RADIUS}],
            "averaging": {"kind": "mean"},
        },
        {
            "space": "weights",
            "moves": 2,
            "restarts": 2,
            "mode": "frozen",
            "target": {"loss": "signal", "direction": "ascend"},
            "kernel": {"step_size": 0.05, "drift": "layer"},
        },
    ],
    "optimizer": {**TABLES["optimizer"], "restore": "after_update"},
}
NESTED = TABLES | {
    "sampler": [
        {
            "name": name,
            "moves": moves,
            "mode": "train",
            "target": {"coupling": {"kind": "l2", "gamma": 0.5}},
            "kernel": {"step_size": 0.2, "drift": "l2"},
            "averaging": {"kind": "mean"},
        }
        for name, moves in (("outer", 3), ("inner", 2))
    ],
}
# Nothing is drawn there, so that the samplers' names are names alone.
BOTH = TABLES | {
    "sampler": [
        {
            "name": name,
            "space": "weights",
            "moves": moves,
            "mode": "train",
            "target": {"loss": "signal", "direction": direction, "coupling": {"kind": "l2", "gamma": 0.5}},
            "kernel": {"step_size": 0.1, "momentum": {"mu": 0.6}},
            "averaging": {"kind": "mean"},
        }
        for name, moves, direction in (("outer", 3, "descend"), ("inner", 2, "ascend"))
    ],
}
# Small moves with restarts, so that some are taken, some rejected, and some leave the sets.
TESTED = TABLES | {
    "sampler": [
        {
            "moves": 4,
            "restarts": 2,
            "target": {
                "beta": {"kind": "linear", "over": "moves", "start": 1.5, "end": 1.0},
                "direction": "descend",
                "coupling": {"kind": "l2", "gamma": 0.8},
            },
            "start": {"kind": "gaussian", "sd": 0.02, "projected": True},
            "kernel": {"kind": "mala", "step_size": 0.02, "noise": 0.15},
            "projection": [{"kind": "l2_ball", "radius": 0.2}, {"kind": "linf_ball", "radius": 0.09}],
            "averaging": {"kind": "mean", "burn_in": 1},
        }
    ],
}
# Brackets that end behind the first ball and before it, margins inside the largest and beyond it, and wrong examples.
SEARCHED = TABLES | {
    "sampler": [
        {
            "kind": "margin_search",
            "moves": 3,
            "mode": "train",
            "max_radius": 0.3,
            "initial_radius": 0.1,
            "bisections": 4,
            "step": 2.0,
        }
    ],
}
OWN = {
    "searched": SEARCHED,
    "tested": TESTED,
    "full": FULL,
    "composed": COMPOSED,
    "around": AROUND,
    "nested": NESTED,
    "both": BOTH,
}
CHANGED = {
    "full in eval mode": (FULL, ['sampler.data.mode="eval"']),
    "two restarts": (COMPOSED, ["sampler.attack.restarts=2"]),
    "carried weights": (COMPOSED, ["sampler.weights.restarts=1", 'sampler.weights.start={ kind = "carry" }']),
    "around in eval mode": (AROUND, ['sampler.data.mode="eval"']),
    "two balls": (
        FULL,
        [
            "sampler.data.projection=[{ kind = 'linf_ball', radius = 0.15 }, { kind = 'box' }, "
            "{ kind = 'linf_ball', radius = 0.1 }, { kind = 'box' }]"
        ],
    ),
    "tested beside the clean inputs": (TESTED, ['sampler.data.target.loss="kl_to_clean"']),
    "searched in l2": (SEARCHED, ['sampler.data.norm="l2"', "sampler.data.max_radius=0.9", 'sampler.data.mode="eval"']),
    "merged": (FULL, ["compile.merge_evaluations=true"]),
    "merged in a target": (
        COMPOSED,
        ["compile.merge_evaluations=true", 'sampler.attack.averaging.over_restarts="mean"'],
    ),
}


@cache
def recipe(name):
    if name in CHANGED:
        return atentdsl.load(*CHANGED[name])
    literally = [f"compile.{key}={str(value).lower()}" for key, value in LITERALLY.items()]
    return atentdsl.load(OWN[name]) if name in OWN else atentdsl.load(name, literally)


@cache
def plan(name, goal="train"):
    """What its module is made from: its literal plan, or that with evaluations merged."""
    return optimised(lower(recipe(name), goal), recipe(name).compile)


@cache
def text(name, goal="train"):
    """The recipe's module, as it is shipped."""
    return generate(recipe(name), goal).text


@cache
def meant(literal):
    return interpreted(literal, MODEL, BATCHES, seed=5)


def agrees(literal, module, model=MODEL, **named):
    one = meant(literal) if model is MODEL else interpreted(literal, model, BATCHES, seed=5)
    return differences(one, run_module(module, model, BATCHES, seed=5, **named), TOLERANCE) == []
