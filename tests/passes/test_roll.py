"""Roll writes the same operations as loops, and the loops read as one move after another."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.codegen import generate
from atentdsl.passes import freeze_weights, roll
from atentdsl.plan import lower, units, verify
from atentdsl.plan.operations import Call, Evaluate, Frozen, Move, Plan, Project, Repeat, Start, Take, Update, flatten
from atentdsl.testing import recipes

LOSS = Call("targets", "cross_entropy")
KERNEL = Call("kernels", "gradient", (("step_size", 0.1),))
UPDATE = Update(Call("optimizers", "adamw"), Call("schedules", "constant", (("value", 0.1),)), "epochs")
OPERATIONS = [
    Evaluate("input", LOSS, "train"),
    Evaluate("input", LOSS, "eval"),
    Move(KERNEL, "data.noise", 1.0, False, None, None, "loss"),
    Project(Call("projections", "box"), "move"),
    Project(Call("projections", "linf_ball", (("radius", 0.1),)), "move"),
    *(Evaluate("weights", LOSS, "train", Fraction(i, 10)) for i in (1, 2, 3)),
]
lists = st.lists(st.sampled_from(OPERATIONS), max_size=6).map(tuple)
# Lists with repetitions in them, which independent draws would hardly ever have.
repeated = st.lists(st.tuples(lists, st.integers(1, 5)), max_size=4).map(
    lambda parts: tuple(operation for part, count in parts for operation in part * count)
)


def loops(operations):
    for operation in operations:
        if isinstance(operation, Repeat):
            yield operation
        yield from loops(getattr(operation, "body", ()))


def begins_with_the_gradient(loop):
    first = next(flatten(loop.body))
    return isinstance(first, Evaluate) and first.wants == "input"


def written(operations):
    return sum(1 + written(getattr(operation, "body", ())) for operation in operations)


@given(repeated)
@settings(max_examples=400)
def test_any_operations_unroll_to_themselves(operations):
    """Lists that no lowering makes: the pass knows nothing of moves but where they begin."""
    plan = Plan("train", operations)
    rolled = roll.apply(plan)
    assert list(rolled.flat()) == list(operations)
    assert roll.apply(rolled) == rolled
    assert (rolled == plan) == (roll.why_not(plan) is not None)
    assert written(rolled.operations) <= written(operations)
    for loop in loops(rolled.operations):
        assert loop.count >= 2
        assert len(loop.coefficients) in {0, loop.count}
        assert begins_with_the_gradient(loop)


@given(recipes(), st.sampled_from(["train", "draw"]), st.booleans())
@settings(max_examples=150)
def test_a_recipe_unrolls_to_its_literal_plan_and_turns_are_whole_moves(recipe, goal, frozen):
    literal = lower(atentdsl.load(recipe), goal)
    plan = freeze_weights.apply(literal) if frozen else literal
    rolled = verify(roll.apply(plan))
    assert list(rolled.flat()) == list(literal.flat())
    for loop in loops(rolled.operations):
        assert begins_with_the_gradient(loop)
        kinds = [type(operation) for operation in flatten(loop.body)]
        assert kinds.count(Move) >= 1
        gradients = sum(isinstance(o, Evaluate) and o.wants == "input" for o in flatten(loop.body))
        assert kinds.count(Move) == gradients


@pytest.mark.parametrize(
    ("averaging", "loops_wanted"),
    [
        ({"kind": "last"}, [(7, 0)]),
        ({"kind": "exponential", "alpha": 0.5}, [(7, 7)]),
        ({"kind": "mean"}, [(7, 0)]),
        ({"kind": "mean", "burn_in": 1}, [(5, 0)]),  # two moves to the first point handed on, then five alike
        ({"kind": "first"}, [(7, 0)]),
    ],
)
def test_every_averaging_is_one_loop(averaging, loops_wanted):
    """Of the moves that are alike; those that are not stand before it."""
    changes = [f"sampler.attack.averaging={{ {', '.join(f'{k} = {v!r}' for k, v in averaging.items())} }}"]
    recipe = atentdsl.load("atent_linf", ["sampler.attack.moves=7", *changes])
    rolled = roll.apply(freeze_weights.apply(lower(recipe)))
    outer = [o for o in loops(rolled.operations) if any(isinstance(i, Move) for i in flatten(o.body)) and o.count > 2]
    assert [(loop.count, len(loop.coefficients)) for loop in outer] == loops_wanted


def test_a_last_projection_leaves_the_last_move_outside_the_loop():
    rolled = roll.apply(freeze_weights.apply(lower(atentdsl.load("atent_linf_literal"))))
    loop, last = rolled.operations[2:4]
    assert isinstance(loop, Repeat)
    assert isinstance(last, Frozen)
    assert (loop.count, len(loop.coefficients)) == (9, 9)
    assert isinstance(last.body[-1], Project)
    assert [type(o) for o in rolled.operations] == [Take, Start, Repeat, Frozen, Evaluate, Update]


def test_two_equal_projections_are_no_loop():
    """They would be counted by a constant that stands for moves."""
    recipe = atentdsl.load("atent_linf", ["sampler.attack.moves=1"])
    doubled = Plan("train", tuple(o for o in lower(recipe).operations for _ in range(1 + isinstance(o, Project))))
    assert roll.apply(doubled) == doubled


@pytest.mark.parametrize("averaging", ['{ kind = "last" }', '{ kind = "exponential", alpha = 0.9 }'])
def test_two_hundred_moves_roll_quickly_and_are_as_short_as_three(averaging):
    """Some 0.06 s with everything that compiling does; a second is for a busy machine."""
    texts = []
    for moves in (3, 200):
        recipe = atentdsl.load("atent_linf", [f"sampler.attack.moves={moves}", f"sampler.attack.averaging={averaging}"])
        begin = time.process_time()
        text = generate(recipe).text
        assert time.process_time() - begin < 1
        texts.append(text[text.index("def train_step") :].replace(f"{units(lower(recipe))} units", "units"))
    assert texts[0] == texts[1]
