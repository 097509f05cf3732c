"""`atentdsl compare` on runs made by hand: what is averaged, over what, and what is kept apart."""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import atentdsl
from atentdsl.api import finished
from atentdsl.cli import run
from atentdsl.reporting.comparison import markdown
from atentdsl.runtime import lock
from atentdsl.runtime.errors import NotComparable

CLEAN, ROBUST = [0.986, 0.989, 0.9805], [0.19, 0.235, 0.151]
PGD = {"norm": "linf", "radius": 0.15, "steps": 20, "step_size": 0.01875, "loss": "cross_entropy", "restarts": 1}
MANIFEST = {
    "started": "2026-01-02T03:04:05+00:00",
    "command": ["atentdsl", "run", "sgd"],
    "device": "cpu",
    "policy": {"precision": "float32"},
    "versions": {"atentdsl": "0.1.0", "torch": "2.15.0"},
    "hardware": {"cpu": "a processor", "torch_threads": 1, "gpus": []},
    "recipe_sha256": "",
    "data_sha256": {"training": "aa", "validation": "bb", "test": "cc"},
    "model": "mlp",
    "data": "digits",
    "max_steps": None,
}


def made(root, name, seed, clean=0.9, attacks=None, *, lr=0.1, place=None, told=None, worst=(), **manifest):
    """A finished run's directory; `attacks` by name: the accuracy and what is other than in `PGD`."""
    path = Path(root) / name / (place or f"20260102-00000{seed}")
    path.mkdir(parents=True)
    recipe = f'schema = 1\n[recipe]\nname = "{name}"\nseed = {seed} # --set; overrides 7\n[optimizer]\nlr = {lr}\n'
    (path / "recipe.toml").write_text(recipe)
    (path / "module.py").write_text("")
    (path / "manifest.json").write_text(json.dumps({**MANIFEST, "seed": seed, **manifest}))
    (path / "metrics.jsonl").write_text('{"epoch": 1, "seconds": 1.5}\n{"epoch": 2, "seconds": 2.5}\n')
    attacks = {"pgd-20": (0.5, {})} if attacks is None else attacks
    report = {
        "split": "test",
        "n": 359,
        "precision": "float32",
        "clean_accuracy": clean,
        "attacks": {
            attack: {**PGD, **other, "attacked": 9, "robust_accuracy": share, "robust_interval": [0.0, 1.0]}
            for attack, (share, other) in attacks.items()
        },
        "worst": list(worst),
        **(told or {}),
    }
    (path / "evaluation.json").write_text(json.dumps(report))
    return path


def three(root, **other):
    for seed, (clean, robust) in enumerate(zip(CLEAN, ROBUST, strict=True)):
        made(root, "sgd", seed, clean, {"pgd-20": (robust, {})}, **other)


def agrees_with_numpy(found):
    """Mean and sample deviation of the three seeds, by another library."""
    (row,) = found["rows"]
    for name, values in (("clean", CLEAN), ("pgd-20", ROBUST)):
        one = row["accuracies"][name]
        assert one["values"] == values
        assert one["mean"] == pytest.approx(np.mean(values), abs=1e-15)
        assert one["deviation"] == pytest.approx(np.std(values, ddof=1), abs=1e-15)


def test_means_and_sample_deviations_over_seeds(tmp_path):
    three(tmp_path)
    found = atentdsl.compare([tmp_path])
    agrees_with_numpy(found)
    # by hand: 98.52 and 0.43; 19.2 and 4.20
    assert "| `sgd` | 3 | 98.5 ± 0.4 | 19.2 ± 4.2 | 4.0 ± 0.0 | mlp | digits | float32 |" in markdown(found)
    assert found["rows"][0]["seconds"]["values"] == [4.0, 4.0, 4.0]
    assert found["notes"] == []
    assert [column["name"] for column in found["columns"]] == ["clean", "pgd-20"]


@pytest.mark.parametrize(
    ("name", "mutant"),
    [("stdev", statistics.pstdev), ("stdev", statistics.variance), ("fmean", statistics.median)],
)
def test_another_deviation_or_mean_is_noticed(tmp_path, monkeypatch, name, mutant):
    three(tmp_path)
    monkeypatch.setattr(statistics, name, mutant)
    with pytest.raises(AssertionError):
        agrees_with_numpy(atentdsl.compare([tmp_path]))


def test_of_one_seed_no_deviation_is_printed(tmp_path):
    made(tmp_path, "sgd", 0, 0.25)
    found = atentdsl.compare([tmp_path])
    assert found["rows"][0]["accuracies"]["clean"]["deviation"] is None
    assert "| `sgd` | 1 | 25.0 | 50.0 | 4.0 | mlp" in markdown(found)
    assert "±" not in markdown(found)


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"radius": 0.3}, ("pgd-20 linf 0.15", "pgd-20 linf 0.3")),
        ({"norm": "l2"}, ("pgd-20 linf 0.15", "pgd-20 l2 0.15")),
        ({"steps": 40}, ("pgd-20 [2]", "pgd-20 [1]")),
        ({"restarts": 5}, ("pgd-20 [2]", "pgd-20 [1]")),
        ({"loss": "margin"}, ("pgd-20 [2]", "pgd-20 [1]")),
        ({"after": ["fgsm"]}, ("pgd-20 [2]", "pgd-20 [1]")),
    ],
)
def test_one_name_with_other_settings_is_another_column(tmp_path, other, names):
    """Named after its ball where balls tell them apart."""
    made(tmp_path, "sgd", 0, attacks={"pgd-20": (0.25, {})})
    made(tmp_path, "mart", 0, attacks={"pgd-20": (0.75, other)})
    found = atentdsl.compare([tmp_path])
    sgd, mart = names
    assert [column["name"] for column in found["columns"]] == ["clean", mart, sgd]
    own = {row["recipe"]: row["accuracies"] for row in found["rows"]}
    assert {name: one["mean"] for name, one in own["mart"].items()} == {"clean": 0.9, mart: 0.75}
    assert {name: one["mean"] for name, one in own["sgd"].items()} == {"clean": 0.9, sgd: 0.25}
    (note,) = found["notes"]
    assert "`pgd-20` is not the same in all runs and has 2 columns" in note
    assert next(iter(other)) in note


def heads(text):
    return [line.removeprefix("| recipe | seeds | ") for line in text.splitlines() if line.startswith("| recipe |")]


def test_recipes_attacked_in_one_ball_share_a_table(tmp_path):
    """A column that none of a table's rows has is not in it; each column is explained once."""
    ball = {"norm": "l2", "radius": 0.7}
    made(tmp_path, "atent_l2", 0, attacks={"pgd-20": (0.6, ball)})
    made(tmp_path, "mart", 0, attacks={"pgd-20": (0.7, {}), "fgsm": (0.8, {})})
    made(tmp_path, "pgd_at_l2", 0, attacks={"pgd-20": (0.5, ball)})
    made(tmp_path, "sgd", 0, attacks={"pgd-20": (0.2, {})})
    text = markdown(atentdsl.compare([tmp_path]))
    last = " | seconds | network | data | precision |"
    assert heads(text) == ["clean | pgd-20 l2 0.7" + last, "clean | pgd-20 linf 0.15 | fgsm" + last]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [line.split(" | 4.0 |")[0] for line in rows] == [
        "| `atent_l2` | 1 | 90.0 | 60.0",
        "| `pgd_at_l2` | 1 | 90.0 | 50.0",
        "| `mart` | 1 | 90.0 | 70.0 | 80.0",
        "| `sgd` | 1 | 90.0 | 20.0 | –",
    ]
    assert text.count("- `pgd-20 l2 0.7`: norm l2, radius 0.7") == 1


def test_seeds_of_one_recipe_under_other_settings_are_not_averaged(tmp_path):
    made(tmp_path, "sgd", 0, attacks={"pgd-20": (0.2, {})})
    made(tmp_path, "sgd", 1, attacks={"pgd-20": (0.4, {})})
    made(tmp_path, "sgd", 2, attacks={"pgd-20": (0.9, {"radius": 0.01})})
    text = markdown(atentdsl.compare([tmp_path]))
    assert "| `sgd` | 3 | 90.0 ± 0.0 | 30.0 ± 14.1 (2 of 3 seeds) | 90.0 (1 of 3 seeds) |" in text


@pytest.mark.parametrize(
    "other",
    [
        {"told": {"n": 100}},
        {"told": {"split": "validation"}},
        {"told": {"data": "digits, otherwise"}},
        {"told": {"precision": "bfloat16"}},
        {"data_sha256": {"training": "aa", "test": "other"}},
    ],
)
def test_other_images_are_another_column_even_of_clean_accuracies(tmp_path, other):
    made(tmp_path, "sgd", 0, 0.25)
    made(tmp_path, "mart", 0, 0.75, **other)
    found = atentdsl.compare([tmp_path])
    assert [column["name"] for column in found["columns"]] == ["clean [1]", "clean [2]", "pgd-20 [1]", "pgd-20 [2]"]
    assert len(found["notes"]) == 2


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"lr": 0.2}, "optimizer.lr 0.1, 0.2"),
        ({"max_steps": 3}, "max_steps none, 3"),
        ({"policy": {"precision": "bfloat16"}}, "precision of training float32, bfloat16"),
        ({"data_sha256": {"training": "other", "test": "cc"}}, "training images aa, other"),
        ({"init": {"path": "weights", "sha256": "dd"}}, "initial weights none, dd"),
    ],
)
def test_two_recipes_of_one_name_are_not_mixed(tmp_path, other, said):
    made(tmp_path, "sgd", 0, 0.2)
    made(tmp_path, "sgd", 1, 0.4, **other)
    found = atentdsl.compare([tmp_path])
    assert sorted(row["accuracies"]["clean"]["values"] for row in found["rows"]) == [[0.2], [0.4]]
    assert len({row["recipe"] for row in found["rows"]}) == 2
    assert found["notes"] == [f"2 recipes are named `sgd` and have a row each: {said}"]


def test_neither_a_comment_nor_the_seed_makes_another_recipe(tmp_path):
    made(tmp_path, "sgd", 0)
    path = made(tmp_path, "sgd", 1)
    (path / "recipe.toml").write_text((path / "recipe.toml").read_text().replace("overrides 7", "overrides 8"))
    (row,) = atentdsl.compare([tmp_path])["rows"]
    assert row["seeds"] == [0, 1]


def test_a_seed_that_was_run_twice_counts_once_and_the_newest(tmp_path):
    made(tmp_path, "sgd", 0, 0.2, place="b", started="2026-01-01T00:00:00+00:00")
    made(tmp_path, "sgd", 0, 0.6, place="a", started="2026-01-02T00:00:00+00:00")
    found = atentdsl.compare([tmp_path, tmp_path])
    assert found["rows"][0]["accuracies"]["clean"]["values"] == [0.6]
    (note,) = set(found["notes"])
    assert note == f"{tmp_path}/sgd/b is left out: {tmp_path}/sgd/a is a newer run of the same recipe and seed"


def test_what_is_not_finished_or_not_identified_is_left_out_and_named(tmp_path):
    made(tmp_path, "sgd", 0)
    unfinished, running, own = made(tmp_path, "sgd", 1), made(tmp_path, "sgd", 2), made(tmp_path, "sgd", 3)
    (unfinished / "evaluation.json").unlink()
    (running / "evaluation.json").unlink()
    manifest = json.loads((own / "manifest.json").read_text())
    (own / "manifest.json").write_text(json.dumps({**manifest, "model": "given by the caller"}))
    held = lock.hold(running)
    try:
        found = atentdsl.compare([tmp_path])
    finally:
        lock.release(held)
    assert found["rows"][0]["seeds"] == [0]
    assert found["notes"] == [
        f"{unfinished} is left out: it is interrupted",
        f"{running} is left out: it is running",
        f"{own} is left out: it trained a network of the caller's own, which nothing identifies",
    ]


def test_runs_of_other_versions_are_said_to_be_mixed(tmp_path):
    made(tmp_path, "sgd", 0)
    made(tmp_path, "sgd", 1, versions={"atentdsl": "0.1.0", "torch": "2.14.0"})
    found = atentdsl.compare([tmp_path])
    assert len(found["machines"]) == 2
    (note,) = found["notes"]
    assert "the runs of `sgd` are not of one machine and one set of versions: torch 2.15.0, 2.14.0" in note


def test_worst_stands_last_and_only_where_there_are_several_attacks(tmp_path):
    both = {"norm": "linf", "radius": 0.15, "attacks": ["pgd-20", "fgsm"], "robust_accuracy": 0.3}
    one = {"norm": "l2", "radius": 0.7, "attacks": ["cw"], "robust_accuracy": 0.1}
    attacks = {"pgd-20": (0.4, {}), "fgsm": (0.5, {}), "cw": (0.1, {"norm": "l2", "radius": 0.7})}
    made(tmp_path, "sgd", 0, attacks=attacks, worst=[both, one])
    found = atentdsl.compare([tmp_path])
    assert [column["name"] for column in found["columns"]] == ["clean", "pgd-20", "fgsm", "cw", "worst"]
    assert found["rows"][0]["accuracies"]["worst"]["values"] == [0.3]
    assert "- `worst`: norm linf, radius 0.15, attacks pgd-20 + fgsm" in markdown(found)


def test_a_sweep_s_own_attacks_are_what_is_compared(tmp_path):
    run_, left = (made(tmp_path, "sgd", seed, 0.2, recipe_sha256=f"sha-{seed}") for seed in (0, 1))
    made(tmp_path, "sgd", 2, 0.2, recipe_sha256="no run of the sweep")
    report = json.loads((run_ / "evaluation.json").read_text())
    report["attacks"] = {"fgsm": {**PGD, "steps": 1, "robust_accuracy": 0.7}}
    told = finished.evaluation_of(tmp_path, ["fgsm"], None, run_)
    told.parent.mkdir(parents=True)
    told.write_text(json.dumps(report))
    jobs = [{"recipe_sha256": f"sha-{seed}"} for seed in (0, 1)]
    sweep = {"attacks": ["fgsm"], "first": None, "jobs": jobs, "command": "atentdsl sweep sgd"}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    found = atentdsl.compare([tmp_path])
    (row,) = found["rows"]
    assert row["accuracies"]["fgsm"]["values"] == [0.7]
    assert found["notes"] == [f"{left} is left out: it was not evaluated by the sweep's attacks"]
    assert found["made_by"] == ["atentdsl sweep sgd"]


def test_the_files_say_what_is_printed_and_have_the_same_bytes_again(tmp_path, capsys, monkeypatch):
    three(tmp_path / "runs")
    made(tmp_path / "runs", "mart", 0)
    monkeypatch.setattr(sys, "argv", ["atentdsl", "compare", "runs with a space"])
    for stem in ("a", "b.md"):
        assert run(["compare", str(tmp_path / "runs"), "--out", str(tmp_path / "new" / stem)]) == 0
        printed = capsys.readouterr().out
    assert printed == (tmp_path / "new/a.md").read_text()
    assert "Made by: `atentdsl compare 'runs with a space'`" in printed
    assert "- Runs: `atentdsl run sgd`" in printed
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        f"{stem}.{ending}" for stem in "ab" for ending in ("csv", "md", "png", "svg")
    ]
    for ending in ("csv", "md", "png", "svg"):
        assert (tmp_path / f"new/a.{ending}").read_bytes() == (tmp_path / f"new/b.{ending}").read_bytes()
    rows = list(csv.DictReader((tmp_path / "new/a.csv").open()))
    own = {(row["recipe"], row["measure"]): row for row in rows}
    assert float(own["sgd", "pgd-20"]["deviation"]) == statistics.stdev(ROBUST)
    assert own["sgd", "clean"]["values"] == " ".join(map(repr, CLEAN))
    assert own["mart", "clean"]["deviation"] == ""


def test_json_has_each_seed_s_figures(tmp_path, capsys):
    three(tmp_path)
    assert run(["compare", str(tmp_path), "--json"]) == 0
    agrees_with_numpy(json.loads(capsys.readouterr().out))


def test_a_run_and_the_runs_of_one_name_can_be_named(tmp_path):
    three(tmp_path)
    assert atentdsl.compare([tmp_path / "sgd/20260102-000001"])["rows"][0]["seeds"] == [1]
    assert atentdsl.compare([tmp_path / "sgd"])["rows"][0]["seeds"] == [0, 1, 2]


def test_where_no_run_is_finished_there_is_nothing_to_compare(tmp_path, capsys):
    with pytest.raises(NotComparable, match="no run in"):
        atentdsl.compare([tmp_path])
    path = made(tmp_path, "sgd", 0)
    (path / "evaluation.json").unlink()
    assert run(["compare", str(tmp_path)]) == 2
    assert f"there is no finished run: {path} is left out: it is interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["manifest.json", "evaluation.json"])
def test_a_run_that_cannot_be_read_is_refused(tmp_path, name):
    path = made(tmp_path, "sgd", 0)
    (path / name).write_text("{")
    with pytest.raises(NotComparable, match="cannot be read"):
        atentdsl.compare([path])


def test_comparing_loads_no_torch(tmp_path):
    three(tmp_path)
    probe = "import sys; from atentdsl.cli import run; run(sys.argv[1:]); sys.exit('torch._C' in sys.modules)"
    words = [sys.executable, "-c", probe, "compare", str(tmp_path), "--out", str(tmp_path / "table")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "± 4.2" in done.stdout
