"""The table `[smoothing]`: what it takes, what it is refused for, and where it stands in a recipe's values."""

from __future__ import annotations

import pytest

from atentdsl.plan import lower
from atentdsl.plan.operations import Evaluate, Noise
from atentdsl.recipe import load
from atentdsl.source import RecipeError

BASE = """\
schema = 1
[recipe]
name = "mine"
[data]
name = "digits"
batch = 64
[model]
name = "mlp"
[optimizer]
kind = "sgd"
epochs = 2
lr = 0.1
[evaluate]
radius = 0.1
"""


def written(tmp_path, table=""):
    path = tmp_path / "mine.toml"
    path.write_text(BASE + table)
    return path


def test_defaults_are_those_of_smoothadv(tmp_path):
    smoothing = load(written(tmp_path, "[smoothing]\nsigma = 0.12\n")).smoothing
    assert smoothing.model_dump() == {
        "sigma": 0.12,
        "draws": 1,
        "redraw": "batch",
        "target": "probabilities",
        "objective": "losses",
    }


def test_without_the_table_nothing_is_smoothed_and_nothing_is_said_of_it(tmp_path):
    recipe = load(written(tmp_path))
    assert recipe.smoothing is None
    assert "smoothing" not in recipe.values()
    assert not any(isinstance(o, Noise) for o in lower(recipe).flat())


def test_values_and_digest_are_of_the_smoothing_too(tmp_path):
    plain = load(written(tmp_path))
    one = load(plain, ["smoothing.sigma=0.12"])
    same = load(plain, ["smoothing={ sigma = 0.12, draws = 1, redraw = 'batch' }"])
    assert one.values()["smoothing"]["sigma"] == 0.12
    assert one.digest() == same.digest()
    others = ["smoothing.sigma=0.1", "smoothing.draws=2", 'smoothing.redraw="evaluation"', 'smoothing.target="losses"']
    digests = {load(one, [change]).digest() for change in [*others, 'smoothing.objective="probabilities"']}
    assert len({plain.digest(), one.digest(), *digests}) == 7
    assert load(one.values()).digest() == one.digest()


def test_the_resolved_text_says_it_and_reads_back(tmp_path):
    recipe = load("smoothadv", ["smoothing.draws=3"])
    path = tmp_path / "resolved.toml"
    path.write_text(recipe.resolved)
    again = load(path)
    assert again.smoothing == recipe.smoothing
    assert "draws = 3 # --set; overrides 2" in recipe.resolved


@pytest.mark.parametrize(
    ("table", "code", "words"),
    [
        ("[smoothing]\ndraws = 2\n", "missing-key", "sigma"),
        ("[smoothing]\nsigma = 0.0\n", "out-of-range", "sigma"),
        ("[smoothing]\nsigma = -0.1\n", "out-of-range", "sigma"),
        ("[smoothing]\nsigma = 0.1\ndraws = 0\n", "out-of-range", "draws"),
        ("[smoothing]\nsigma = 0.1\ndraws = 1001\n", "out-of-range", "draws"),
        ('[smoothing]\nsigma = 0.1\nredraw = "step"\n', "unknown-value", "evaluation"),
        ('[smoothing]\nsigma = 0.1\ntarget = "logits"\n', "unknown-value", "probabilities"),
        ('[smoothing]\nsigma = 0.1\nobjectve = "losses"\n', "unknown-key", "objective"),
        ("[smothing]\nsigma = 0.1\n", "unknown-key", "smoothing"),
        ("smoothing = 0.1\n", "wrong-type", "smoothing"),
        (
            '[smoothing]\nsigma = { kind = "linear", over = "moves", start = 0.1, end = 0.2 }\n',
            "inconsistent",
            "does not change from move to move",
        ),
    ],
)
def test_what_is_wrong_is_said_once(tmp_path, table, code, words):
    path = tmp_path / "mine.toml"
    path.write_text(table + BASE if table.startswith("smoothing =") else BASE + table)
    with pytest.raises(RecipeError) as caught:
        load(path)
    (mistake,) = caught.value.diagnostics
    assert mistake.code == code
    assert words in str(caught.value)


def test_a_sigma_that_is_a_constant_schedule_is_its_number_and_one_of_zero_draws_nothing(tmp_path):
    plain = load(written(tmp_path))
    constant = load(plain, ["smoothing.sigma={ kind = 'constant', value = 0.25 }"])
    assert [o.sigma for o in lower(constant).flat() if isinstance(o, Noise)] == [0.25]
    nothing = load(plain, ["smoothing.sigma={ kind = 'constant', value = 0.0 }"])
    assert lower(nothing) == lower(plain)


def test_a_smoothing_is_merged_into_a_recipe_that_is_extended(tmp_path):
    written(tmp_path, "[smoothing]\nsigma = 0.12\ndraws = 4\n")
    path = tmp_path / "more.toml"
    path.write_text('schema = 1\n[recipe]\nname = "more"\nextends = "mine.toml"\n[smoothing]\nsigma = 0.25\n')
    smoothing = load(path).smoothing
    assert (smoothing.sigma, smoothing.draws) == (0.25, 4)


def test_a_warm_up_begins_with_a_share_in_the_first_epoch_and_ends_in_the_tenth():
    """As the published code has it: epoch / 10 of the radius, and twice that divided by the moves."""
    projections, kernels = set(), set()
    for operation in lower(load("smoothadv")).flat():
        call = getattr(operation, "call", None)
        if call is not None and call.kind == "l2_ball":
            projections.add(dict(call.arguments)["radius"])
        if hasattr(operation, "kernel"):
            kernels.add(dict(operation.kernel.arguments)["step_size"])
    ((radius,), (step_size,)) = projections, kernels
    for epoch in range(1, 31):
        share = min(1.0, epoch / 10)
        assert radius.call.function(epoch, **dict(radius.call.arguments)) == pytest.approx(0.7 * share)
        assert step_size.call.function(epoch, **dict(step_size.call.arguments)) == pytest.approx(2 * 0.7 * share / 10)


def test_every_evaluation_of_a_smoothed_recipe_is_smoothed():
    for name in ("trades_linf", "awp_pgd_at", "entropy_sgd_atent", "sgd"):
        found = [o for o in lower(load(name, ["smoothing.sigma=0.1"])).flat() if isinstance(o, Evaluate)]
        assert found
        assert all(o.smoothed is not None and o.smoothed.draws == 1 for o in found)


MALA = """\
[[sampler]]
moves = 2
mode = "eval"
[sampler.target]
coupling = { kind = "l2", gamma = 1.0 }
[sampler.kernel]
kind = "mala"
step_size = 0.1
noise = 0.5
"""


def test_a_chain_that_accepts_or_rejects_is_not_smoothed(tmp_path):
    smoothed = MALA + "[smoothing]\nsigma = 0.12\n"
    with pytest.raises(RecipeError) as caught:
        load(written(tmp_path, smoothed))
    (mistake,) = caught.value.diagnostics
    assert (mistake.code, mistake.span.line, mistake.span.column) == ("inconsistent", 24, 1)
    assert mistake.help == "drop `[smoothing]`, or take the kernel `langevin`"
    assert load(written(tmp_path, MALA))
    assert load(written(tmp_path, smoothed.replace('"mala"', '"langevin"')))
