"""Chains that accept or reject their moves: against numpy on a linear network, their cost, and what stands between."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.passes import optimised
from atentdsl.plan import dump, interpret, lower, units
from atentdsl.plan.metropolis import Accept, Propose
from atentdsl.plan.operations import Evaluate
from atentdsl.recipe.tables import Compile
from atentdsl.testing import Recorded

N, PIXELS, CLASSES = 3, 4, 3
GENERATOR = np.random.default_rng(0)
WEIGHTS = GENERATOR.normal(size=(CLASSES, PIXELS))
X = GENERATOR.uniform(0.1, 0.9, size=(N, PIXELS))
Y = np.array([2, 0, 1])
NOISE = GENERATOR.normal(size=(4, N, PIXELS))
EXACTLY = Compile(tolerance=0.0)

thousandths = st.integers(1, 1000).map(lambda i: i / 1000)
sets = st.one_of(
    st.just({"kind": "box"}),
    st.fixed_dictionaries({"kind": st.sampled_from(["linf_ball", "l2_ball", "l1_ball"]), "radius": thousandths}),
)


@st.composite
def chains(draw):
    """The numbers of a chain, and the chances that decide, both ends among them."""
    moves = draw(st.integers(1, 4))
    chance = st.sampled_from([0.0, 0.5, 1 - 2**-53]) | st.integers(0, 99).map(lambda i: i / 100)
    return {
        "moves": moves,
        "loss": draw(st.sampled_from(["cross_entropy", "kl_to_clean"])),
        "direction": draw(st.sampled_from(["ascend", "descend"])),
        "beta": draw(thousandths),
        "coupling": draw(st.sampled_from(["l2", "linf"])),
        "gamma": draw(thousandths),
        "step_size": draw(thousandths),
        "noise": draw(st.integers(50, 1000)) / 1000,
        "sets": draw(st.lists(sets, max_size=2)),
        "chances": draw(st.lists(st.lists(chance, min_size=N, max_size=N), min_size=moves, max_size=moves)),
    }


def recipe(chain, averaging=None, **more):
    coupling = {"kind": chain["coupling"], "gamma": chain["gamma"]}
    sampler = {
        "name": "chain",
        "moves": chain["moves"],
        "target": {key: chain[key] for key in ("loss", "direction", "beta")} | {"coupling": coupling},
        "kernel": {"kind": "mala", "step_size": chain["step_size"], "noise": chain["noise"]},
        "projection": chain["sets"],
        "averaging": averaging or {"kind": "mean"},
        **more,
    }
    return atentdsl.load(
        {
            "schema": 1,
            "recipe": {"name": "tested"},
            "data": {"name": "digits", "batch": 4},
            "model": {"name": "mlp"},
            "sampler": [sampler],
            "optimizer": {"kind": "sgd", "epochs": 1, "lr": 0.1},
            "evaluate": {"attacks": [], "select": "clean"},
        }
    )


PLAIN = {
    "moves": 3, "loss": "cross_entropy", "direction": "ascend", "beta": 1.0, "coupling": "l2", "gamma": 1.0,
    "step_size": 0.1, "noise": 0.5, "sets": [], "chances": [],
}  # fmt: skip


def network():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(PIXELS, CLASSES, bias=False)).double()
    model[1].weight.data = torch.tensor(WEIGHTS)
    return model


def batch():
    return iter([(torch.tensor(X).view(N, 1, 1, PIXELS), torch.tensor(Y))])


# One example in numpy, by the definitions.


def softmax(logits):
    p = np.exp(logits - logits.max())
    return p / p.sum()


def energy(chain, z, i):
    """The energy of example i at z, and its gradient."""
    p = softmax(WEIGHTS @ z)
    if chain["loss"] == "cross_entropy":
        wanted, least = np.eye(CLASSES)[Y[i]], 0.0
    else:
        wanted = softmax(WEIGHTS @ X[i])
        least = -wanted @ np.log(wanted)
    loss, gradient = -wanted @ np.log(p) - least, WEIGHTS.T @ (p - wanted)
    scale = chain["beta"] * (-1 if chain["direction"] == "descend" else 1)
    away, gamma = z - X[i], chain["gamma"]
    if chain["coupling"] == "l2":
        return scale * loss - gamma / 2 * away @ away, scale * gradient - gamma * away
    farthest = np.argmax(abs(away))
    pull = np.zeros(PIXELS)
    pull[farthest] = -gamma / 2 * np.sign(away[farthest])
    return scale * loss - gamma / 2 * abs(away[farthest]), scale * gradient + pull


def log_proposal(chain, to, at, gradient):
    away = to - at - chain["step_size"] * gradient
    return -(away @ away) / (4 * chain["step_size"] * chain["noise"] ** 2)


def inside(chain, z, i):
    """Whether z lies in every set, and by how much it misses or keeps the nearest boundary."""
    away = abs(z - X[i])
    length = {"linf_ball": away.max(), "l2_ball": (away @ away) ** 0.5, "l1_ball": away.sum()}
    left = [min(z.min(), 1 - z.max()) if s["kind"] == "box" else s["radius"] - length[s["kind"]] for s in chain["sets"]]
    return min(left, default=1.0)


def walked(chain):
    """Each move's points, and how far every decision was from the other one."""
    z, visited, margin = X.copy(), [], np.inf
    for k in range(chain["moves"]):
        z = z.copy()
        for i in range(N):
            e, g = energy(chain, z[i], i)
            h, t = chain["step_size"], chain["noise"] ** 2
            new = z[i] + h * g + (2 * h * t) ** 0.5 * NOISE[k, i]
            e_new, g_new = energy(chain, new, i)
            ratio = (e_new - e) / t + log_proposal(chain, z[i], new, g_new) - log_proposal(chain, new, z[i], g)
            left, alpha = inside(chain, new, i), np.exp(min(ratio, 0))
            margin = min(margin, abs(left), abs(alpha - chain["chances"][k][i]))
            if left >= 0 and chain["chances"][k][i] < alpha:
                z[i] = new
        visited.append(z)
    return visited, margin


@given(chains())
@settings(max_examples=75)
def test_every_point_is_the_one_that_numpy_comes_to(chain):
    """Where no decision hangs on rounding: examples that are taken and such as stay, side by side."""
    wanted, margin = walked(chain)
    assume(margin > 1e-9)
    rng = Recorded(
        normal={"chain.noise": [torch.tensor(xi).view(N, 1, 1, PIXELS) for xi in NOISE[: chain["moves"]]]},
        uniform={"chain.acceptance": [torch.tensor(u, dtype=torch.float64) for u in chain["chances"]]},
    )
    trace = interpret(lower(recipe(chain), "draw"), network(), None, batch(), rng, {})
    assert rng.exhausted
    assert len(trace.kept) == chain["moves"]
    for (z, weight), point in zip(trace.kept, wanted, strict=True):
        np.testing.assert_allclose(z.view(N, PIXELS).numpy(), point, rtol=0, atol=1e-11)
        assert weight == pytest.approx(1 / chain["moves"])


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_what_is_rejected_keeps_its_point_to_the_last_bit(chance):
    """A chance of 1 is never below a probability: the chain stays at its anchor, and its gradient is the anchor's."""
    draws = {"chain.acceptance": [torch.full((N,), chance, dtype=torch.float64)] * 3}
    normal = {"chain.noise": [torch.tensor(xi).view(N, 1, 1, PIXELS) for xi in NOISE[:3]]}
    trace = interpret(lower(recipe(PLAIN), "draw"), network(), None, batch(), Recorded(normal, draws), {})
    at_anchor = torch.tensor(X).view(N, 1, 1, PIXELS)
    assert all(torch.equal(z, at_anchor) == bool(chance) for z, _ in trace.kept)


@pytest.mark.parametrize("K", [1, 2, 5, 10])
def test_the_cost_of_the_semantics(K):  # noqa: N803 - the semantics' letter
    chain = PLAIN | {"moves": K}
    for averaging, weighted in (
        ({"kind": "last"}, 1),
        ({"kind": "first"}, 1),
        ({"kind": "exponential", "alpha": 0.9}, K),
        ({"kind": "mean"}, K),
        ({"kind": "mean", "burn_in": K // 2}, K - K // 2),
    ):
        plan = lower(recipe(chain, averaging))
        assert units(plan) == units(optimised(plan, EXACTLY)) == 2 * (K + 1) + 3 * weighted
        assert units(lower(recipe(chain, averaging), "draw")) == 2 * (K + 1)


@pytest.mark.parametrize("K", [1, 2, 5, 10])
def test_a_divergence_costs_one_clean_forward_more_a_chain(K):  # noqa: N803 - the semantics' letter
    """In the literal plan one at each density."""
    plan = lower(recipe(PLAIN | {"moves": K, "loss": "kl_to_clean"}, {"kind": "last"}))
    assert units(plan) == 3 * (K + 1) + 3
    assert units(optimised(plan, EXACTLY)) == 2 * (K + 1) + 1 + 3


def test_a_chain_without_moves_evaluates_no_density():
    assert units(lower(recipe(PLAIN | {"moves": 0}))) == 3


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("over_restarts", ["mean", "worst"])
@pytest.mark.parametrize("kind", ["mean", "last", "first"])
def test_the_density_stands_still_while_a_chain_runs(restarts, over_restarts, kind):
    """No weight evaluation, whose running statistics are others, between a chain's density and its last decision."""
    averaging = {"kind": kind, "over_restarts": over_restarts}
    plan = lower(recipe(PLAIN, averaging, restarts=restarts))
    kinds = [o.wants if isinstance(o, Evaluate) else type(o) for o in plan.flat()]
    chain = ["density", *[Propose, "density", Accept] * PLAIN["moves"]]
    listed = [kind for kind in kinds if kind in {"density", "weights", Propose, Accept}]
    per_chain = {"mean": PLAIN["moves"], "last": 1, "first": 1}[kind]
    if over_restarts == "worst" and restarts > 1:
        assert listed == chain * restarts + ["weights"] * per_chain
    else:
        assert listed == (chain + ["weights"] * per_chain) * restarts
    handed = [o.coefficient for o in plan.flat() if isinstance(o, Evaluate) and o.wants == "weights"]
    assert sum(handed) == Fraction(1)


def test_the_dump_names_both_ends_of_a_move():
    chain = PLAIN | {"moves": 1, "direction": "descend", "beta": 2.0, "sets": [{"kind": "l2_ball", "radius": 0.5}]}
    assert dump(lower(recipe(chain), "draw")).splitlines()[2:6] == [
        "evaluate  losses and input gradient of cross_entropy at chain, eval mode",
        "propose   chain.proposal = mala(step_size=0.1, noise=0.5)  along -2.0 g + l2(gamma=1.0), "
        "noise from chain.noise",
        "evaluate  losses and input gradient of cross_entropy at chain.proposal, eval mode",
        "accept    chain = chain.proposal  where inside l2_ball(radius=0.5), by mala(step_size=0.1, noise=0.5), "
        "chance from chain.acceptance",
    ]
