"""Roll writes the same operations as loops, and the loops read as one move after another."""

from __future__ import annotations

import time
from fractions import Fraction

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.codegen import generate
from atentdsl.passes import freeze_weights, roll
from atentdsl.plan import lower, units, verify
from atentdsl.plan.margins import Climb, Middle
from atentdsl.plan.metropolis import Propose
from atentdsl.plan.operations import (
    Clear,
    Evaluate,
    Frozen,
    Gather,
    Hold,
    Move,
    Noise,
    Project,
    PutAside,
    Recall,
    Repeat,
    Start,
    Take,
    Update,
    X,
)
from atentdsl.plan.program import Plan, flatten
from atentdsl.plan.values import Call, Scheduled
from atentdsl.recipe.tables import Compile
from atentdsl.testing import recipes

SETTINGS = Compile()

LOSS = Call("targets", "cross_entropy")
KERNEL = Call("kernels", "gradient", (("step_size", 0.1),))
UPDATE = Update(Call("optimizers", "adamw"), Scheduled(Call("schedules", "constant", (("value", 0.1),)), "epochs"))
START = Start("data", X, "data")
GRADIENT = Evaluate("input", LOSS, "train", "data")
MOVE = Move("data", X, "data", KERNEL, "data.noise", 1.0, False, False, None, None, "loss")
BOX = Project("data", X, "data", Call("projections", "box"), "move")
HOLD = Hold("data", "points")


def moved(k):
    return attrs.evolve(MOVE, index=k)


def projected(k):
    return attrs.evolve(BOX, index=k)


def ball(radius):
    return attrs.evolve(BOX, call=Call("projections", "linf_ball", (("radius", radius),)))


def handed(c):
    return Evaluate("weights", LOSS, "train", "data", c if c == "loop" else Fraction(c))


def recalled(k):
    return Recall("data", "points", k)


OPERATIONS = [
    *[START, Take(), Clear("data", "points"), HOLD, PutAside("w"), Gather("w")],
    *[GRADIENT, attrs.evolve(GRADIENT, mode="eval"), MOVE, BOX, ball(0.1)],
    *[handed(Fraction(i, 10)) for i in (1, 2, 3)],
    *[of(k) for k in (0, 1, 2) for of in (moved, projected, recalled)],
    Frozen((GRADIENT, MOVE)),
    *[Frozen((GRADIENT, moved(k), projected(k))) for k in (0, 1, 2)],
]
lists = st.lists(st.sampled_from(OPERATIONS), max_size=6).map(tuple)


@st.composite
def counted(draw):
    """A list several times, with numbers that rise by one a turn at some places and other coefficients at others."""
    body, count = draw(lists), draw(st.integers(1, 4))
    rising = draw(st.lists(st.booleans(), min_size=len(body), max_size=len(body)))
    return tuple(
        _turned(operation, turn) if up else operation
        for turn in range(count)
        for operation, up in zip(body, rising, strict=True)
    )


def _turned(operation, turn):
    if isinstance(operation, Frozen):
        return attrs.evolve(operation, body=tuple(_turned(inner, turn) for inner in operation.body))
    if isinstance(getattr(operation, "index", None), int):
        return attrs.evolve(operation, index=operation.index + turn)
    if isinstance(getattr(operation, "coefficient", None), Fraction):
        return attrs.evolve(operation, coefficient=operation.coefficient / 2**turn)
    return operation


# Lists with repetitions in them, and with repetitions of those, which independent draws would hardly ever have.
repeated = st.lists(st.tuples(counted(), st.integers(1, 3)), max_size=4).map(
    lambda parts: tuple(operation for part, count in parts for operation in part * count)
)
nested = st.tuples(repeated, st.integers(1, 3)).map(lambda part: part[0] * part[1])


def loops(operations):
    for operation in operations:
        if isinstance(operation, Repeat):
            yield operation
        yield from loops(getattr(operation, "body", ()))


def begins_a_turn(loop):
    """With the gradient in the point and its noise, or with what a chain, a target, a shelf or a batch begins with."""
    first, second = [*flatten(loop.body), None][:2]
    if isinstance(first, Noise):
        return isinstance(second, Evaluate) and second.wants == "input"
    if isinstance(first, Evaluate):
        return first.wants == "input"
    return isinstance(first, Middle | Propose | Start | Take | Clear | PutAside | Recall)


def written(operations):
    return sum(1 + written(getattr(operation, "body", ())) for operation in operations)


def rolled(*operations):
    return roll.apply(Plan("train", operations), SETTINGS).operations


@given(nested)
@settings(max_examples=300)
# A number of the loop around beside one that stays: not two of a kind.
@example((GRADIENT, moved(0), GRADIENT, moved(3), BOX, GRADIENT, moved(1), GRADIENT, moved(3), BOX))
@example((GRADIENT, handed(1), GRADIENT, handed(3), BOX, GRADIENT, handed(2), GRADIENT, handed(3), BOX))
def test_any_operations_unroll_to_themselves(operations):
    """Lists that no lowering makes: the pass knows nothing of moves but where they begin."""
    plan = Plan("train", operations)
    made = roll.apply(plan, SETTINGS)
    assert list(made.flat()) == list(plan.flat())
    assert roll.apply(made, SETTINGS) == made
    assert (made == plan) == (roll.why_not(plan, SETTINGS) is not None)
    assert written(made.operations) <= written(operations)
    for loop in loops(made.operations):
        assert loop.count >= 2
        assert len(loop.coefficients) in {0, loop.count}
        assert begins_a_turn(loop)


@given(recipes(), st.sampled_from(["train", "draw"]), st.booleans())
@settings(max_examples=75)
def test_a_recipe_unrolls_to_its_literal_plan_and_turns_are_whole_moves(recipe, goal, frozen):
    literal = lower(atentdsl.load(recipe), goal)
    plan = freeze_weights.apply(literal, SETTINGS) if frozen else literal
    made = verify(roll.apply(plan, SETTINGS))
    assert list(made.flat()) == list(literal.flat())
    for loop in loops(made.operations):
        assert begins_a_turn(loop)
        turn = list(flatten(loop.body))
        moves = ["data" if isinstance(o, Climb) else o.space for o in turn if isinstance(o, Move | Climb)]
        assert moves.count("data") == sum(isinstance(o, Evaluate) and o.wants == "input" for o in turn)
        assert moves.count("weights") == sum(isinstance(o, Gather) for o in turn)
        assert moves.count("weights") == sum(isinstance(o, PutAside) for o in turn)


def test_an_index_that_rises_is_counted():
    turns = [operation for k in range(4) for operation in (GRADIENT, moved(k), projected(k))]
    assert rolled(*turns) == (Repeat(4, (GRADIENT, moved("loop"), projected("loop")), first=0),)
    assert rolled(*turns[3:]) == (Repeat(3, (GRADIENT, moved("loop"), projected("loop")), first=1),)


def test_an_index_is_counted_inside_a_frozen_region():
    turns = [operation for k in range(3) for operation in (Frozen((GRADIENT, moved(k), BOX, projected(k))), HOLD)]
    assert rolled(*turns) == (Repeat(3, (Frozen((GRADIENT, moved("loop"), BOX, projected("loop"))), HOLD), first=0),)


def test_an_index_that_stays_is_not_counted():
    turns = [operation for k in range(3) for operation in (GRADIENT, moved(7), projected(k))]
    assert rolled(*turns) == (Repeat(3, (GRADIENT, moved(7), projected("loop")), first=0),)


@pytest.mark.parametrize(
    "indices",
    [
        [(0, 0), (2, 2), (4, 4)],  # by two a turn
        [(2, 2), (1, 1), (0, 0)],
        [(0, 1), (1, 2), (2, 3)],  # two numbers that rise together
        [(0, 0), (1, 1), (3, 3)],
    ],
)
def test_indices_that_do_not_count_as_one_are_no_loop(indices):
    turns = tuple(operation for k, j in indices for operation in (GRADIENT, moved(k), projected(j)))
    assert rolled(*turns) == turns


def test_one_coefficient_among_several_changes():
    thirds = (Fraction(1, 3), Fraction(1, 2), Fraction(1, 6))
    turns = [operation for c in thirds for operation in (GRADIENT, MOVE, handed(1), BOX, handed(c))]
    assert rolled(*turns) == (Repeat(3, (GRADIENT, MOVE, handed(1), BOX, handed("loop")), thirds),)


def test_two_coefficients_that_change_are_no_loop():
    """A loop has one list of them."""
    turns = tuple(operation for c in (1, 2, 3) for operation in (GRADIENT, MOVE, handed(c), BOX, handed(c)))
    assert rolled(*turns) == turns


def test_a_loop_counts_and_lists_at_once():
    turns = [operation for k in range(3) for operation in (GRADIENT, moved(k + 2), handed(Fraction(1, k + 1)))]
    values = (Fraction(1), Fraction(1, 2), Fraction(1, 3))
    assert rolled(*turns) == (Repeat(3, (GRADIENT, moved("loop"), handed("loop")), values, 2),)


def test_a_loop_inside_counts_for_itself():
    inner = [operation for k in range(3) for operation in (GRADIENT, moved(k))]
    loop = Repeat(3, (GRADIENT, moved("loop")), first=0)
    assert rolled(*[START, *inner, BOX] * 2) == (Repeat(2, (START, loop, BOX)),)


def test_a_loop_inside_leaves_the_index_to_the_one_around_it():
    turns = [operation for k in range(3) for operation in (*[GRADIENT, moved(k)] * 2, BOX)]
    assert rolled(*turns) == (Repeat(3, (Repeat(2, (GRADIENT, moved("loop"))), BOX), first=0),)


def test_a_loop_inside_lists_while_the_one_around_it_counts():
    turns = [
        operation
        for k in range(3)
        for operation in (*[o for c in (1, 2) for o in (GRADIENT, moved(k), handed(c))], BOX)
    ]
    inner = Repeat(2, (GRADIENT, moved("loop"), handed("loop")), (Fraction(1), Fraction(2)))
    assert rolled(*turns) == (Repeat(3, (inner, BOX), first=0),)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (moved, projected),
        (moved, lambda k: Frozen((GRADIENT, projected(k)))),
        (lambda k: Frozen((GRADIENT, moved(k))), projected),
    ],
)
def test_what_belongs_to_the_loop_around_is_not_taken_by_one_inside(outer, inner):
    """Each turn is twice nearly the same; a loop over the second number would count the first one too."""
    turns = [
        operation
        for turn in range(3)
        for operation in (GRADIENT, outer(turn), inner(0), GRADIENT, outer(turn), inner(1), BOX)
    ]
    made = rolled(*turns)
    assert tuple(flatten(made)) == tuple(flatten(tuple(turns)))
    assert not any(isinstance(operation, Repeat) for loop in made for operation in getattr(loop, "body", ()))


@pytest.mark.parametrize("of", [moved, handed, lambda k: Frozen((GRADIENT, moved(k)))])
def test_what_the_loop_around_counts_or_lists_is_like_no_number(of):
    """Nor like another operation's that stays: in a loop already, neither of them is a turn of one inside."""
    body = (GRADIENT, BOX, of("loop"), GRADIENT, BOX, of(1))
    loop = Repeat(2, body, (Fraction(1), Fraction(2)), 3)
    assert rolled(loop) == (loop,)
    turned = Repeat(2, (*body[3:], *body[:3]), (Fraction(1), Fraction(2)), 3)
    assert rolled(turned) == (turned,)


def test_two_loops_stand_beside_each_other_in_one_around_both():
    other = attrs.evolve(GRADIENT, mode="eval")
    body = [*[GRADIENT, MOVE] * 3, *[other, MOVE] * 2, handed(1)]
    assert rolled(*body * 2) == (Repeat(2, (Repeat(3, (GRADIENT, MOVE)), Repeat(2, (other, MOVE)), handed(1))),)


def test_a_body_is_as_long_as_it_may_be():
    long = (GRADIENT, *[ball(k / 100) for k in range(1, roll.LONGEST_BODY)])
    assert rolled(*long * 2) == (Repeat(2, long),)
    longer = (*long, BOX)
    assert rolled(*longer * 2) == longer * 2


def test_a_longer_body_is_a_loop_once_the_loops_in_it_are():
    move = (GRADIENT, MOVE, BOX)
    chain = (START, *move * roll.LONGEST_BODY, handed(1))
    inner = (START, Repeat(roll.LONGEST_BODY, move), handed(1))
    assert rolled(*chain * 3) == (Repeat(3, inner),)
    around = (PutAside("w"), *chain * 3, Gather("w"))
    assert rolled(*around * 2) == (Repeat(2, (PutAside("w"), Repeat(3, inner), Gather("w"))),)


def test_a_longer_body_is_a_loop_once_those_in_it_count():
    """And so can the loop around them: each has an index of its own."""
    chain = (START, *[o for k in range(roll.LONGEST_BODY) for o in (GRADIENT, moved(k))])
    inner = Repeat(roll.LONGEST_BODY, (GRADIENT, moved("loop")), first=0)
    assert rolled(*(*chain, handed(1)) * 3) == (Repeat(3, (START, inner, handed(1))),)
    turns = [operation for k in range(3) for operation in (*chain, projected(k), handed(k + 1))]
    values = (Fraction(1), Fraction(2), Fraction(3))
    assert rolled(*turns) == (Repeat(3, (START, inner, projected("loop"), handed("loop")), values, 0),)


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
@pytest.mark.parametrize("first", [None, 0])
def test_every_averaging_is_one_loop(averaging, loops_wanted, first):
    """Of the moves that are alike; those that are not stand before it. With a step that changes by the move too."""
    changes = [f"sampler.attack.averaging={{ {', '.join(f'{k} = {v!r}' for k, v in averaging.items())} }}"]
    if first is not None:
        changes.append('sampler.attack.kernel.step_size={ kind = "linear", over = "moves", start = 0.1, end = 0.01 }')
    recipe = atentdsl.load("atent_linf", ["sampler.attack.moves=7", *changes])
    made = roll.apply(freeze_weights.apply(lower(recipe), SETTINGS), SETTINGS)
    outer = [o for o in loops(made.operations) if any(isinstance(i, Move) for i in flatten(o.body)) and o.count > 2]
    assert [(loop.count, len(loop.coefficients)) for loop in outer] == loops_wanted
    begins = 7 - loops_wanted[0][0]
    assert [loop.first for loop in outer] == [None if first is None else begins]


def test_a_last_projection_leaves_the_last_move_outside_the_loop():
    made = roll.apply(freeze_weights.apply(lower(atentdsl.load("atent_linf_literal")), SETTINGS), SETTINGS)
    loop, last = made.operations[2:4]
    assert isinstance(loop, Repeat)
    assert isinstance(last, Frozen)
    assert (loop.count, len(loop.coefficients)) == (9, 9)
    assert isinstance(last.body[-1], Project)
    assert [type(o) for o in made.operations] == [Take, Start, Repeat, Frozen, Evaluate, Update]


def test_restarts_are_a_loop_around_the_moves():
    recipe = atentdsl.load("pgd_at_linf", ["sampler.attack.moves=40", "sampler.attack.restarts=3"])
    made = roll.apply(freeze_weights.apply(lower(recipe), SETTINGS), SETTINGS)
    assert [type(o) for o in made.operations] == [Take, Repeat, Update]
    restarts = made.operations[1]
    assert (restarts.count, restarts.coefficients, restarts.first) == (3, (), None)
    assert [loop.count for loop in loops(restarts.body)] == [40]


def test_the_worst_of_restarts_hands_on_by_number():
    changes = ["sampler.attack.restarts=2", 'sampler.attack.averaging={ kind = "mean", over_restarts = "worst" }']
    recipe = atentdsl.load("atent_linf", ["sampler.attack.moves=5", *changes])
    made = roll.apply(freeze_weights.apply(lower(recipe), SETTINGS), SETTINGS)
    assert [type(o) for o in made.operations] == [Take, Clear, Repeat, Repeat, Update]
    restarts, handing = made.operations[2:4]
    assert (restarts.count, handing.count, handing.first) == (2, 5, 0)
    assert handing.body == (
        Recall("attack", "worst", "loop"),
        attrs.evolve(handing.body[1], coefficient=Fraction(1, 5)),
    )


def test_a_chain_inside_a_chain_of_weights_is_a_loop_in_a_loop():
    made = roll.apply(freeze_weights.apply(lower(atentdsl.load("entropy_sgd_atent")), SETTINGS), SETTINGS)
    weights = next(o for o in loops(made.operations) if any(isinstance(i, PutAside) for i in o.body))
    assert any(isinstance(o, Gather) for o in weights.body)
    assert any(any(isinstance(i, Evaluate) for i in flatten(loop.body)) for loop in loops(weights.body))


def test_two_equal_projections_are_no_loop():
    """They would be counted by a constant that stands for moves."""
    recipe = atentdsl.load("atent_linf", ["sampler.attack.moves=1"])
    doubled = Plan("train", tuple(o for o in lower(recipe).operations for _ in range(1 + isinstance(o, Project))))
    assert roll.apply(doubled, SETTINGS) == doubled


@pytest.mark.parametrize("averaging", ['{ kind = "last" }', '{ kind = "exponential", alpha = 0.9 }'])
def test_two_hundred_moves_roll_quickly_and_are_as_short_as_ten(averaging):
    """Some 0.06 s with everything that compiling does; a second is for a busy machine."""
    texts = []
    for moves in (10, 200):
        recipe = atentdsl.load("atent_linf", [f"sampler.attack.moves={moves}", f"sampler.attack.averaging={averaging}"])
        begin = time.process_time()
        made = generate(recipe)
        assert time.process_time() - begin < 1
        texts.append(made.text[made.text.index("def train_step") :].replace(f"{units(made.plan)} units", "units"))
    assert texts[0] == texts[1]
