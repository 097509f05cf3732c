"""Units, against the table of the semantics and against the matrix products that torch really runs.

The table's rows of losses that read clean logits are in `test_clean_logits.py`, the published schedule's in
`tests/benchmark/test_authors_schedule.py`.
"""

from __future__ import annotations

from collections import Counter
from itertools import cycle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import atentdsl
from atentdsl.codegen import as_module, generate
from atentdsl.passes import optimised
from atentdsl.plan import lower, units, units_as_usually_written
from atentdsl.plan.operations import Clean, Evaluate
from atentdsl.runtime import Streams
from atentdsl.testing import batch, interpreted, recipes

MOVES = [1, 2, 5, 10]


def averaged(name, moves, averaging):
    return atentdsl.load(name, [f"sampler.attack.moves={moves}", f"sampler.attack.averaging={averaging}"])


def compiled(recipe):
    return units(optimised(lower(recipe), recipe.compile))


def cost(name, *overrides):
    return compiled(atentdsl.load(name, list(overrides)))


EVERYWHERE, LAST = '{ kind = "exponential", alpha = 0.9 }', '{ kind = "last" }'


@pytest.mark.parametrize("K", MOVES)
@pytest.mark.parametrize("name", ["atent_linf", "atent_linf_literal", "pgd_at_linf"])
def test_the_literal_plan_costs_five_a_move_or_two(name, K):  # noqa: N803 - the table's letter
    everywhere, last = lower(averaged(name, K, EVERYWHERE)), lower(averaged(name, K, LAST))
    assert units(everywhere) == 5 * K
    assert units(last) == 2 * K + 3
    assert units_as_usually_written(last) == 3 * K + 3
    assert units_as_usually_written(everywhere) == 6 * K


@pytest.mark.parametrize("K", MOVES)
@pytest.mark.parametrize("name", ["atent_linf", "atent_l2", "pgd_at_linf"])
class TestMerged:
    """2K + W + 2, where W points carry weight."""

    def test_the_last_point_alone(self, name, K):  # noqa: N803
        assert compiled(averaged(name, K, LAST)) == 2 * K + 3

    def test_three_points_at_the_default_tolerance(self, name, K):  # noqa: N803
        assert compiled(averaged(name, K, EVERYWHERE)) == 2 * K + min(K, 3) + 2

    def test_all_points(self, name, K):  # noqa: N803
        assert compiled(averaged(name, K, '{ kind = "mean" }')) == 3 * K + 2
        without = averaged(name, K, EVERYWHERE).values() | {"compile": {"tolerance": 0.0}}
        assert compiled(atentdsl.load(without)) == 3 * K + 2

    def test_those_after_a_burn_in(self, name, K):  # noqa: N803
        assert compiled(averaged(name, K, f'{{ kind = "mean", burn_in = {K // 2} }}')) == 2 * K + (K - K // 2) + 2


@pytest.mark.parametrize("K", MOVES)
def test_what_cannot_be_merged_costs_three_a_point(K):  # noqa: N803
    """A chain on frozen statistics or in eval mode, a signal in train mode: 2K + 3W.

    W is three at the default tolerance on frozen statistics, and all K in eval mode, which reads the running statistics
    that each evaluation of the signal updates.
    """
    moves = f"sampler.attack.moves={K}"
    frozen, in_eval = ('sampler.attack.mode="frozen"', 'sampler.attack.mode="eval"')
    assert cost("atent_linf", moves, frozen) == 2 * K + 3 * min(K, 3)
    assert cost("atent_linf", moves, frozen, "compile.tolerance=0.0") == 5 * K
    assert cost("atent_linf", moves, in_eval) == 5 * K


@pytest.mark.parametrize("K", MOVES)
def test_moves_that_are_tested_cost_a_density_more_than_there_are_moves(K):  # noqa: N803
    """2(K + 1) + 3W."""
    moves = f"sampler.attack.moves={K}"
    assert cost("atent_mala", moves) == 2 * (K + 1) + 3 * min(K, 3)
    assert cost("atent_mala", moves, "compile.tolerance=0.0") == 2 * (K + 1) + 3 * K
    assert cost("atent_mala", moves, f"sampler.attack.averaging={LAST}") == 2 * (K + 1) + 3


@pytest.mark.parametrize("K", MOVES)
@pytest.mark.parametrize("N", [1, 4])
def test_a_margin_search_costs_two_a_move_and_a_forward_wherever_it_asks_who_is_right(K, N):  # noqa: N803
    """2K + N + 5: at the end of its moves, in each middle and at the clean inputs a forward; at the margins 3. A clean
    part of the signal is 3 more.
    """
    changes = [f"sampler.attack.moves={K}", f"sampler.attack.bisections={N}"]
    assert cost("mma", *changes, "objective.clean=0.0") == 2 * K + N + 5
    assert cost("mma", *changes) == 2 * K + N + 8


@pytest.mark.parametrize("K", MOVES)
@pytest.mark.parametrize("R", [2, 3])
def test_the_worst_of_restarts_costs_a_chain_and_a_forward_each(K, R):  # noqa: N803
    changes = [f"sampler.attack.moves={K}", f"sampler.attack.restarts={R}"]
    worst = 'sampler.attack.averaging={ kind = "last", over_restarts = "worst" }'
    assert cost("pgd_at_linf", *changes, worst) == R * (2 * K + 1) + 3


@pytest.mark.parametrize("K", MOVES)
def test_awp_around_pgd_costs_three_for_the_weights_and_three_for_the_signal(K):  # noqa: N803
    assert cost("awp_pgd_at", f"sampler.attack.moves={K}") == 2 * K + 6


@pytest.mark.parametrize("L", MOVES)
def test_entropy_sgd_costs_three_a_move(L):  # noqa: N803
    assert cost("entropy_sgd", f"sampler.weights.moves={L}") == 3 * L
    assert cost("entropy_sgd_literal", f"sampler.weights.moves={L}") == 3 * L


@pytest.mark.parametrize("L", MOVES)
@pytest.mark.parametrize("K", MOVES)
def test_entropy_sgd_around_atent_costs_a_merged_chain_a_move(L, K):  # noqa: N803
    moves = [f"sampler.weights.moves={L}", f"sampler.attack.moves={K}"]
    assert cost("entropy_sgd_atent", *moves) == L * (2 * K + min(K, 3) + 2)
    assert cost("entropy_sgd_atent", *moves, "sampler.attack.averaging={ kind = 'last' }") == L * (2 * K + 3)


def test_a_replay_of_free_at_costs_three():
    assert cost("free_at") == 3


def test_interval_bounds_cost_two_evaluations_more():
    plan = lower(atentdsl.load("ibp"))
    assert units(plan) == units(optimised(plan, atentdsl.load("ibp").compile)) == units_as_usually_written(plan) == 9


def test_plain_training_costs_three():
    assert units(lower(atentdsl.load("sgd"))) == units_as_usually_written(lower(atentdsl.load("sgd"))) == 3


@pytest.mark.parametrize("K", MOVES)
def test_points_that_are_only_drawn_cost_two_a_move(K):  # noqa: N803
    assert units(lower(averaged("atent_linf", K, '{ kind = "mean" }'), "draw")) == 2 * K


class Products(TorchDispatchMode):
    """Counts the matrix products of the layer between 7 and 11 units, told apart by the length they sum over.

    Forward: over 7, its inputs. Backward into the activations: over 11, its outputs. Weight gradients: over the batch.
    One of a smoothed network is made for all copies of the batch, and counts once for each.
    It sees what autograd really runs, which a module's hooks or a function's `needs_input_grad` do not.
    """

    def __init__(self, batch):
        super().__init__()
        self.counts = Counter()
        self.kinds = {}
        for copies in range(1, 4):
            rows = copies * batch
            kinds = {(rows, 7, 11): "forward", (rows, 11, 7): "activations", (7, rows, 11): "weights"}
            self.kinds |= {shape: (kind, copies) for shape, kind in kinds.items()}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}:
            one, other = args[-2:]
            shape = (one.shape[0], one.shape[1], other.shape[1])
            kind, copies = self.kinds.get(shape) or self.kinds.get(shape[::-1], ("another layer", 1))
            self.counts[kind] += copies
        return function(*args, **(kwargs or {}))


def layered():
    layers = [torch.nn.Linear(16, 7), torch.nn.Tanh(), torch.nn.Linear(7, 11), torch.nn.Tanh(), torch.nn.Linear(11, 3)]
    return torch.nn.Sequential(torch.nn.Flatten(), *layers).double()


def counted(execute, size=5):
    with Products(size) as products:
        execute()
    assert products.counts.pop("another layer") > 0
    return products.counts


def copies(operation):
    return operation.smoothed.draws if operation.smoothed else 1


def by_kind(plan):
    """What the units are made of."""
    evaluations = [o for o in plan.flat() if isinstance(o, Evaluate)]
    asked = Counter()
    for o in evaluations:
        asked[o.wants] += copies(o) + (2 if o.radius is not None else 0)  # interval bounds: a centre and a radius
    of_weights = asked["weights"] + asked["both"]
    kept = sum(copies(o) for o in plan.flat() if isinstance(o, Clean))
    made = [(copies(o) * o.clean, o.loss.family == "objectives") for o in evaluations if o.clean != "kept"]
    clean, differentiated = sum(count for count, _ in made), sum(count for count, through in made if through)
    return +Counter(
        forward=asked.total() + kept + clean,
        activations=asked["input"] + asked["density"] + of_weights + differentiated,
        weights=of_weights + differentiated,
    )


@given(recipes(), st.sampled_from(["train", "draw"]))
@settings(max_examples=30)
def test_the_units_are_the_products_that_run(recipe, goal):
    checked = atentdsl.load(recipe)
    literal = lower(checked, goal)
    if not units(literal):
        return  # nothing is evaluated where a start alone is drawn
    model, pair = layered(), batch(5)
    module = as_module(generate(checked, goal).text, "counted")

    def run():
        rng = Streams(0, 1, torch.device("cpu"))
        if goal == "draw":
            module.draw(model, *pair, rng)
        else:
            module.train_step(model, module.make_optimizer(model.parameters()), cycle([pair]), rng, {})

    best = optimised(literal, checked.compile)
    for plan, execute in (
        (best, run),
        (literal, lambda: interpreted(literal, model, [pair])),
        (best, lambda: interpreted(best, model, [pair])),
    ):
        counts = counted(execute)
        assert counts == by_kind(plan)
        assert counts.total() == units(plan)
        if any(isinstance(o, Evaluate) and o.radius is not None for o in plan.flat()):
            break  # the interpreter's own bounds are of weights in two parts, and take twice as many


def test_a_chain_as_usually_written_runs_the_weight_gradients_too():
    """The count that compiled chains are set against: `loss.backward()` at every point."""
    K, model, (z, y) = 4, layered(), batch(5)  # noqa: N806

    def usually():
        point = z
        for _ in range(K):
            point = point.detach().requires_grad_()
            torch.nn.functional.cross_entropy(model(point), y).backward()
            point = point + 0.01 * point.grad.sign()
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(point), y).backward()

    plan = lower(atentdsl.load("pgd_at_linf", [f"sampler.attack.moves={K}"]))
    assert counted(usually).total() == units_as_usually_written(plan) == 3 * K + 3
    assert units(plan) == 2 * K + 3


def test_the_count_notices_a_pass_too_many():
    model, (x, y) = layered(), batch(5)
    recipe = atentdsl.load("pgd_at_linf", ["sampler.attack.moves=2"])
    text = generate(recipe).text
    line = next(line for line in text.splitlines() if "g = input_gradient" in line)
    module = as_module(text.replace(line, f"{line}\n{line}"), "twice")
    counts = counted(
        lambda: module.train_step(
            model, module.make_optimizer(model.parameters()), iter([(x, y)]), Streams(0, 1, torch.device("cpu")), {}
        )
    )
    assert counts.total() == units(lower(recipe)) + 2 * 2
