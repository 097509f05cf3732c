"""What samplers cannot be together, and one by itself: said once, at its place, with a mend that makes it a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from atentdsl.recipe import load
from atentdsl.recipe.composition import MOST_EVALUATIONS
from atentdsl.source import Diagnostic, RecipeError, render

BOTH = """\
schema = 1
[recipe]
name = "mine"
[data]
name = "digits"
batch = 64
repeat = 1
[model]
name = "mlp"
[[sampler]]
space = "weights"
moves = 2
batch = "same"
[sampler.target]
loss = "signal"
direction = "ascend"
coupling = { kind = "l2", gamma = 0.5, per = "move" }
[sampler.start]
kind = "gaussian"
sd = 0.1
[sampler.kernel]
step_size = 0.01
drift = "layer"
[[sampler.projection]]
kind = "l2_ball"
radius = 0.5
[sampler.averaging]
kind = "mean"
[[sampler]]
name = "attack"
moves = 3
[sampler.target]
loss = "cross_entropy"
[sampler.kernel]
kind = "langevin"
step_size = 0.02
drift = "sign"
[[sampler.projection]]
kind = "linf_ball"
radius = 0.1
[sampler.averaging]
kind = "last"
[optimizer]
kind = "sgd"
epochs = 2
lr = 0.1
restore = "before_update"
"""
WEIGHTS, ATTACK = BOTH[BOTH.index("[[sampler]]") : BOTH.index("[optimizer]")].split("[[sampler]]\nname")
ATTACK = f"[[sampler]]\nname{ATTACK}"
AGAIN = WEIGHTS.replace("[[sampler]]", '[[sampler]]\nname = "again"')
ATTACK_FIRST = [(WEIGHTS, ""), (ATTACK, ATTACK + WEIGHTS)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edited(text: str, pairs: list[tuple[str, str]]) -> str:
    for before, after in pairs:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def mistakes(text: str) -> tuple[Diagnostic, ...]:
    Path("mine.toml").write_text(text, encoding="utf-8")
    try:
        load("mine.toml")
    except RecipeError as error:
        render(error)
        return tuple(error.diagnostics)
    return ()


CARRIED = "a displacement is carried from step to step, and this chain may run more than once in a step"
BESIDE = 'start beside it: write `kind = "gaussian"` and `sd = 0.001` in `[sampler.start]`'
# Each with what makes it wrong, line and column, message, mend, and the mend applied.
CONFLICTS = {
    "moves without a kernel": (
        [('[sampler.kernel]\nkind = "langevin"\nstep_size = 0.02\ndrift = "sign"\n', "")],
        (31, 1, "a chain that moves needs a kernel"),
        "add a `[sampler.kernel]` table with a `step_size`",
        [
            (
                '[[sampler.projection]]\nkind = "linf_ball"',
                '[sampler.kernel]\nstep_size = 0.1\n[[sampler.projection]]\nkind = "linf_ball"',
            )
        ],
    ),
    "a pull per move in a drift of the energy": (
        [('drift = "layer"', 'drift = "layer"\ncovers = "energy"')],
        (17, 1, "a pull per move stands outside the drift, and this drift covers the energy, pull included"),
        'set `covers = "loss"`, or `per = "time"`',
        [('covers = "energy"', 'covers = "loss"')],
    ),
    "the same, mended at the pull": (
        [('drift = "layer"', 'drift = "layer"\ncovers = "energy"')],
        (17, 1, "a pull per move stands outside the drift, and this drift covers the energy, pull included"),
        'set `covers = "loss"`, or `per = "time"`',
        [('per = "move"', 'per = "time"')],
    ),
    "a burn-in as long as the chain": (
        [('kind = "mean"', 'kind = "mean"\nburn_in = 2')],
        (29, 1, "a burn-in of 2 leaves none of 2 points"),
        "set `burn_in` below 2",
        [("burn_in = 2", "burn_in = 1")],
    ),
    "a burn-in without moves": (
        [('kind = "mean"', 'kind = "mean"\nburn_in = 2'), ("moves = 2", "moves = 0")],
        (29, 1, "a burn-in of 2 leaves none of 0 points"),
        "drop `burn_in`: without moves there is only the start",
        [("burn_in = 2\n", "")],
    ),
    "a gain of a gradient": (
        [('kind = "mean"', 'kind = "mean"\ngain = 2.0')],
        (29, 1, "`gain` belongs to the displacement of weights, and this averages a gradient"),
        "drop `gain`",
        [("gain = 2.0\n", "")],
    ),
    "the signal as a loss of data": (
        [('loss = "signal"\n', ""), ('loss = "cross_entropy"', 'loss = "signal"')],
        (32, 1, "`signal` is a loss for weights: an example climbs a loss of its own"),
        'name the loss, for example "cross_entropy", or set `space = "weights"`',
        [('loss = "signal"', 'loss = "cross_entropy"')],
    ),
    "a fresh batch for data": (
        [("moves = 3", 'moves = 3\nbatch = "fresh"')],
        (32, 1, "a perturbation of data belongs to its batch"),
        'drop `batch`, or set `space = "weights"`',
        [('batch = "fresh"\n', "")],
    ),
    "a drift by layers for data": (
        [('drift = "sign"', 'drift = "layer" # here')],
        (37, 1, "the drift `layer` normalises the layers of a network, and data have none"),
        'for each example\'s gradient at length one write `drift = "l2"`',
        [('drift = "layer" # here', 'drift = "l2"')],
    ),
    "a displacement of data": (
        [('kind = "last"', 'kind = "last"\nof = "displacement"')],
        (43, 1, "a displacement of data is no gradient in the weights"),
        'drop `of`, or set `space = "weights"`',
        [('of = "displacement"\n', "")],
    ),
    "weights without a direction": (
        [('direction = "ascend"\n', "")],
        (14, 1, "weights can be drawn towards low loss or high, and nothing says which"),
        'write `direction = "descend"` (Entropy-SGD) or "ascend" (AWP) in `[sampler.target]`',
        [('loss = "signal"', 'loss = "signal"\ndirection = "descend"')],
    ),
    "weights without a target": (
        [(WEIGHTS[WEIGHTS.index("[sampler.target]") : WEIGHTS.index("[sampler.start]")], "")],
        (10, 1, "weights can be drawn towards low loss or high, and nothing says which"),
        'write `direction = "descend"` (Entropy-SGD) or "ascend" (AWP) in `[sampler.target]`',
        [("[sampler.start]", '[sampler.target]\ndirection = "ascend"\n[sampler.start]')],
    ),
    "a batch's mean for weights": (
        [('direction = "ascend"', 'direction = "ascend"\nreduction = "batch_mean"')],
        (17, 1, "weights have one density for the batch, whose loss is the batch's mean already"),
        "drop `reduction`",
        [('reduction = "batch_mean"\n', "")],
    ),
    "a box for weights": (
        [('kind = "l2_ball"\nradius = 0.5', 'kind = "box"')],
        (24, 1, "the box is the range of inputs, and weights have none"),
        "drop it, or take a ball",
        [('[[sampler.projection]]\nkind = "box"\n', "")],
    ),
    "a second box for weights": (
        [("radius = 0.5\n", 'radius = 0.5\n[[sampler.projection]]\nkind = "box"\n')],
        (27, 1, "the box is the range of inputs, and weights have none"),
        "drop it, or take a ball",
        [('kind = "box"', 'kind = "linf_ball"\nradius = 1')],
    ),
    "the worst of weights": (
        [('kind = "mean"', 'kind = "mean"\nover_restarts = "worst"')],
        (29, 1, "`worst` chooses for each example, and weights have one chain for the batch"),
        'write `over_restarts = "mean"`',
        [('over_restarts = "worst"', 'over_restarts = "mean"')],
    ),
    "two samplers of one name": (
        [('name = "attack"', 'name = "weights"')],
        (30, 1, "two samplers are called `weights`"),
        "give each a `name` of its own; without one it is its space",
        [('name = "weights"', 'name = "other"')],
    ),
    "a second sampler without a name": (
        [
            ('name = "attack"', 'space = "weights"\ntarget.direction = "ascend"'),
            ('[sampler.target]\nloss = "cross_entropy"\n', ""),
            ('restore = "before_update"', "[evaluate]\nradius = 0.1"),
        ],
        (29, 1, "two samplers are called `weights`"),
        "give each a `name` of its own; without one it is its space",
        [('space = "weights"\ntarget', 'name = "again"\nspace = "weights"\ntarget')],
    ),
    "fresh batches after a sampler of data": (
        [*ATTACK_FIRST, ('batch = "same"', 'batch = "fresh"')],
        (27, 1, "the points of the sampler before it belong to one batch, and each move would take another"),
        'write `batch = "same"`, or put this sampler first',
        [('batch = "fresh"', 'batch = "same"')],
    ),
    "the same, mended by the order": (
        [*ATTACK_FIRST, ('batch = "same"', 'batch = "fresh"')],
        (27, 1, "the points of the sampler before it belong to one batch, and each move would take another"),
        'write `batch = "same"`, or put this sampler first',
        [(ATTACK, ""), ("[optimizer]", ATTACK + "[optimizer]")],
    ),
    "fresh batches that are repeated": (
        [('batch = "same"', 'batch = "fresh"'), ("repeat = 1", "repeat = 4")],
        (13, 1, "each batch is repeated 4 times, and each move asks for a fresh one"),
        'write `batch = "same"`, or drop `repeat` in `[data]`',
        [('batch = "fresh"', 'batch = "same"')],
    ),
    "the same, mended at the data": (
        [('batch = "same"', 'batch = "fresh"'), ("repeat = 1", "repeat = 4")],
        (13, 1, "each batch is repeated 4 times, and each move asks for a fresh one"),
        'write `batch = "same"`, or drop `repeat` in `[data]`',
        [("repeat = 4\n", "")],
    ),
    "a carried start of restarts": (
        [('kind = "gaussian"\nsd = 0.1', 'kind = "carry"'), ("moves = 2", "moves = 2\nrestarts = 3")],
        (20, 8, CARRIED),
        "drop `restarts`, or take another start",
        [("restarts = 3\n", "")],
    ),
    "the same, mended at the start": (
        [('kind = "gaussian"\nsd = 0.1', 'kind = "carry"'), ("moves = 2", "moves = 2\nrestarts = 3")],
        (20, 8, CARRIED),
        "drop `restarts`, or take another start",
        [('kind = "carry"', 'kind = "zero"')],
    ),
    "a carried start inside another sampler": (
        [("moves = 3", 'moves = 3\nstart.kind = "carry"')],
        (32, 14, CARRIED),
        "put this sampler first, or take another start",
        [('start.kind = "carry"\n', "")],
    ),
    "the same, mended by its place": (
        [("moves = 3", 'moves = 3\nstart.kind = "carry"')],
        (32, 14, CARRIED),
        "put this sampler first, or take another start",
        [(WEIGHTS, ""), ("[optimizer]", WEIGHTS + "[optimizer]")],
    ),
    "a displacement that draws no later sampler": (
        [('loss = "signal"\n', ""), ('kind = "mean"', 'kind = "mean"\nof = "displacement"')],
        (28, 1, "`attack` is never drawn: what is handed on here is a displacement"),
        'write `loss = "signal"` in `[sampler.target]`, and `moves` above 0',
        [('direction = "ascend"', 'loss = "signal"\ndirection = "ascend"')],
    ),
    "a displacement without moves": (
        [("moves = 2", "moves = 0"), ('kind = "mean"', 'kind = "mean"\nof = "displacement"')],
        (29, 1, "`attack` is never drawn: what is handed on here is a displacement"),
        'write `loss = "signal"` in `[sampler.target]`, and `moves` above 0',
        [("moves = 0", "moves = 1")],
    ),
    "too many moves inside one another": (
        [("moves = 2", "moves = 50"), ("moves = 3", "moves = 250")],
        (31, 1, "a step would evaluate the network up to 50,601 times"),
        "take fewer moves or restarts: 50,000 is the most",
        [("moves = 50\n", "moves = 49\n")],
    ),
    "too many restarts": (
        [("moves = 2", "moves = 0"), ("moves = 3", "moves = 50\nrestarts = 500")],
        (32, 1, "a step would evaluate the network up to 50,500 times"),
        "take fewer moves or restarts: 50,000 is the most",
        [("restarts = 500", "restarts = 400")],
    ),
    "an update at perturbed weights without a perturbation": (
        [(WEIGHTS, ""), ('"before_update"', '"after_update"')],
        (28, 11, "no samplers perturb the weights, and an update after one is asked for"),
        "drop `restore`",
        [('restore = "after_update"\n', "")],
    ),
    "an update at weights that are perturbed twice": (
        [(ATTACK, AGAIN + ATTACK), ('"before_update"', '"after_update"')],
        (67, 11, "2 samplers perturb the weights, and an update after one is asked for"),
        "keep one sampler of the weights, or drop `restore`",
        [(AGAIN, "")],
    ),
    "an update at weights, of their displacement": (
        [('kind = "mean"', 'kind = "mean"\nof = "displacement"'), ('"before_update"', '"after_update"')],
        (48, 11, "a displacement is a gradient at the anchor, and the update would be made elsewhere"),
        "drop `restore`, or average the gradient",
        [('of = "displacement"', 'of = "gradient"')],
    ),
    "an objective of points and clean inputs without a sampler of data": (
        [
            (ATTACK, ""),
            ("[optimizer]", '[objective]\nkind = "trades"\nbeta = 6.0\n[evaluate]\nradius = 0.1\n[optimizer]'),
        ],
        (30, 8, "`trades` compares points with the clean inputs, and no sampler of data moves any"),
        'add a `[[sampler]]` of data, or write `kind = "cross_entropy"`',
        [("[objective]", ATTACK + "[objective]")],
    ),
    "the same, mended at the objective": (
        [
            (ATTACK, ""),
            ("[optimizer]", '[objective]\nkind = "mart"\nbeta = 6.0\n[evaluate]\nradius = 0.1\n[optimizer]'),
        ],
        (30, 8, "`mart` compares points with the clean inputs, and no sampler of data moves any"),
        'add a `[[sampler]]` of data, or write `kind = "cross_entropy"`',
        [('kind = "mart"\nbeta = 6.0', 'kind = "cross_entropy"')],
    ),
    "weights that climb the divergence at the clean inputs": (
        [('loss = "signal"', 'loss = "kl_to_clean"')],
        (15, 8, "`kl_to_clean` has no gradient in the weights at the clean inputs themselves"),
        'put a sampler of data before this one, or write `loss = "signal"`',
        [('loss = "kl_to_clean"', 'loss = "signal"')],
    ),
    "the same, mended by a sampler before it": (
        [('loss = "signal"', 'loss = "kl_to_clean"')],
        (15, 8, "`kl_to_clean` has no gradient in the weights at the clean inputs themselves"),
        'put a sampler of data before this one, or write `loss = "signal"`',
        [(WEIGHTS.replace('"signal"', '"kl_to_clean"'), ""), (ATTACK, ATTACK + WEIGHTS)],
    ),
    "a divergence that starts at its anchor": (
        [('loss = "cross_entropy"', 'loss = "kl_to_clean"')],
        (33, 8, "`kl_to_clean` has no gradient at the clean input, where this chain starts"),
        BESIDE,
        [('drift = "sign"', 'drift = "sign"\n[sampler.start]\nkind = "gaussian"\nsd = 0.001')],
    ),
    "a divergence that nothing climbs": (
        [
            ('loss = "cross_entropy"', 'loss = "kl_to_clean"'),
            ('[sampler.kernel]\nkind = "langevin"\nstep_size = 0.02\ndrift = "sign"\n', ""),
        ],
        (31, 1, "a chain that moves needs a kernel"),
        "add a `[sampler.kernel]` table with a `step_size`",
        [
            (
                '[[sampler.projection]]\nkind = "linf_ball"',
                '[sampler.kernel]\nkind = "langevin"\nstep_size = 0.1\nnoise = 0.1\n'
                '[[sampler.projection]]\nkind = "linf_ball"',
            )
        ],
    ),
    "a divergence that starts with noise of none": (
        [
            ('loss = "cross_entropy"', 'loss = "kl_to_clean"'),
            ('drift = "sign"', 'drift = "sign"\nnoise = 0.0\n[sampler.start]\nkind = "uniform"\nradius = 0.0'),
        ],
        (33, 8, "`kl_to_clean` has no gradient at the clean input, where this chain starts"),
        BESIDE,
        [("radius = 0.0", "radius = 0.01")],
    ),
    "the start over moves": (
        [("sd = 0.1", 'sd = { kind = "linear", start = 0.1, end = 0.2, over = "moves" }')],
        (20, 56, "`sd` does not change from move to move"),
        'write `over = "epochs"`',
        [('over = "moves"', 'over = "epochs"')],
    ),
    "a gain over moves": (
        [
            (
                'kind = "mean"',
                'kind = "mean"\nof = "displacement"\ngain = { kind = "constant", value = 2, over = "moves" }',
            )
        ],
        (30, 47, "`gain` does not change from move to move"),
        'write `over = "epochs"` or `over = "steps"`',
        [('over = "moves"', 'over = "steps"')],
    ),
    "the learning rate over moves": (
        [("lr = 0.1", 'lr = { kind = "cosine", start = 0.1, over = "moves", length = 9 }')],
        (46, 45, "`lr` does not change from move to move"),
        'write `over = "epochs"` or `over = "steps"`',
        [('over = "moves"', 'over = "steps"')],
    ),
    "a decay over moves": (
        [("lr = 0.1", 'lr = 0.1\nweight_decay = { kind = "constant", value = 0.1, over = "moves" }')],
        (47, 57, "`weight_decay` does not change from move to move"),
        'write `over = "epochs"` or `over = "steps"`',
        [('over = "moves"', 'over = "epochs"')],
    ),
    "a number format that nothing chooses": (
        [("[optimizer]", '[compile]\nplace = false\nprecision = "bfloat16"\n[optimizer]')],
        (45, 13, "a step that is not placed runs in float32"),
        "drop `place = false`, or write `precision = 'float32'`",
        [("place = false\n", "")],
    ),
}


def test_the_recipe_that_is_made_wrong_is_right():
    assert mistakes(BOTH) == ()
    assert mistakes(edited(BOTH, ATTACK_FIRST)) == ()


@pytest.mark.parametrize("case", CONFLICTS.values(), ids=CONFLICTS.keys())
def test_a_conflict_is_said_once_at_its_place_and_its_mend_mends_it(case):
    pairs, (line, column, message), mend, mended = case
    wrong = edited(BOTH, pairs)
    (mistake,) = mistakes(wrong)
    assert (mistake.code, mistake.message, mistake.help) == ("inconsistent", message, mend)
    assert mistake.span is not None
    assert (mistake.span.file, mistake.span.line, mistake.span.column) == ("mine.toml", line, column)
    assert mistakes(edited(wrong, mended)) == ()


def test_a_name_taken_twice_shows_both_samplers():
    (mistake,) = mistakes(edited(BOTH, [('name = "attack"', 'name = "weights"')]))
    assert mistake.context is not None
    assert (mistake.context[0].line, mistake.context[1]) == (10, "the first one")


def test_as_many_evaluations_as_can_be():
    moves = (MOST_EVALUATIONS // 5 - 1) // 2
    assert mistakes(edited(BOTH, [("moves = 3", f"moves = {moves}")])) == ()
    assert len(mistakes(edited(BOTH, [("moves = 3", f"moves = {moves + 1}")]))) == 1


@pytest.mark.parametrize("count", [8, 9])
def test_up_to_eight_samplers_stand_inside_one_another(count):
    more = "".join(f'[[sampler]]\nname = "s{i}"\nmoves = 0\n' for i in range(count - 2))
    found = mistakes(edited(BOTH, [("[optimizer]", f"{more}[optimizer]")]))
    assert [(m.code, m.message) for m in found] == [
        ("out-of-range", "`sampler` must have at most 8 entries") for _ in range(count - 8)
    ]


def test_a_space_that_is_unknown_is_no_wrong_name_too():
    (mistake,) = mistakes(edited(BOTH, [('space = "weights"', 'space = "Weights 1"')]))
    assert (mistake.code, mistake.span and mistake.span.line) == ("unknown-value", 11)


def test_a_sampler_is_called_by_its_space():
    Path("mine.toml").write_text(edited(BOTH, [('name = "attack"\n', "")]), encoding="utf-8")
    assert [sampler.name for sampler in load("mine.toml").samplers] == ["weights", "data"]
    assert load("mine.toml", ["sampler.weights.moves=7", "sampler.data.moves=8"]).samplers[0].moves == 7


OWN = 'schema = 1\n[recipe]\nname = "own"\nextends = "mine.toml"\n'


def own(tail: str, base: str = BOTH) -> tuple[str, ...]:
    Path("mine.toml").write_text(base, encoding="utf-8")
    Path("own.toml").write_text(OWN + tail, encoding="utf-8")
    return tuple(sampler.name for sampler in load("own.toml").samplers)


def test_samplers_of_an_extended_recipe_merge_by_name_and_new_ones_follow():
    new = '[[sampler]]\nname = "again"\nmoves = 1\nkernel.step_size = 0.1\n'
    changed = '[[sampler]]\nname = "attack"\nmoves = 9\n[[sampler]]\nspace = "weights"\nmoves = 8\n'
    assert own(new + changed) == ("weights", "attack", "again")
    assert [sampler.moves for sampler in load("own.toml").samplers] == [8, 9, 1]
    assert load("own.toml").samplers[0].target.loss == "signal"


def test_a_sampler_without_a_name_changes_the_one_of_its_space():
    unnamed = edited(BOTH, [('name = "attack"\n', "")])
    assert own("[[sampler]]\nmoves = 9\n", unnamed) == ("weights", "data")
    assert [sampler.moves for sampler in load("own.toml").samplers] == [2, 9]
    assert own('[[sampler]]\nname = "data"\nmoves = 9\n', unnamed) == ("weights", "data")


@pytest.mark.parametrize(
    ("tail", "code", "line"), [("restarts = 2\n", "missing-key", 5), ("moves = 2\n", "inconsistent", 6)]
)
def test_a_name_that_was_forgotten_is_asked_for(tail, code, line):
    with pytest.raises(RecipeError) as caught:
        own(f"[[sampler]]\n{tail}")
    (mistake,) = caught.value.diagnostics
    assert mistake.span is not None
    assert mistake.help is not None
    assert (mistake.code, mistake.span.file, mistake.span.line) == (code, "own.toml", line)
    assert mistake.help.endswith('; to change the sampler of mine.toml, write `name = "attack"`')
    assert own(f'[[sampler]]\nname = "attack"\n{tail}') == ("weights", "attack")


def test_what_a_new_sampler_makes_wrong_is_shown_in_its_own_file():
    new = '[[sampler]]\nname = "again"\nspace = "weights"\nbatch = "fresh"\nmoves = 1\nkernel.step_size = 0.1\n'
    with pytest.raises(RecipeError) as caught:
        own(new + '[sampler.target]\ndirection = "ascend"\n')
    (mistake,) = caught.value.diagnostics
    assert mistake.span is not None
    assert (mistake.span.file, mistake.span.line, mistake.span.column) == ("own.toml", 8, 1)


@pytest.mark.parametrize(
    "changes",
    [
        [('drift = "sign"', 'drift = "sign"\nnoise = 0.01')],
        [('drift = "sign"', 'drift = "sign"\n[sampler.start]\nkind = "corner"\nradius = 0.1')],
        [("moves = 3", "moves = 0")],
        [('name = "attack"', 'name = "before"\nmoves = 0\n[[sampler]]\nname = "attack"')],
    ],
)
def test_a_divergence_that_leaves_the_clean_input_by_itself_is_no_mistake(changes):
    """By the kernel's noise or its start; or where it never moves; or starts from another sampler's points."""
    assert mistakes(edited(BOTH, [('loss = "cross_entropy"', 'loss = "kl_to_clean"'), *changes])) == ()
