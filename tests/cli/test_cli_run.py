"""The commands as they are typed: outputs, exit codes, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atentdsl.cli import run

QUICK = ["--set", "model.name=mlp", "--set", "optimizer.epochs=2", "--set", "evaluate.attacks=['pgd-2']"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_ends_with_its_directory(here, capsys):
    assert run(["run", "atent_linf", *QUICK, "--max-steps", "3", "--seed", "7"]) == 0
    out = capsys.readouterr()
    path = here / out.out.splitlines()[-1]
    assert path.parent == here / "runs/atent_linf"
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["seed"] == 7
    assert manifest["command"][0] == "atentdsl"
    assert "atent_linf, 359 test images" in out.out
    assert "epoch 1/2" in out.err
    assert "\x1b" not in out.err, "plain lines where the output is no terminal"


def test_run_trains_where_out_says(here, capsys):
    assert run(["run", "sgd", *QUICK, "--max-steps", "1", "--out", "elsewhere", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("elsewhere/sgd/")


def test_max_steps_stops_there(here, capsys):
    assert run(["run", "sgd", *QUICK, "--max-steps", "25"]) == 0
    path = here / capsys.readouterr().out.splitlines()[-1]
    steps = [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [20, 25]


def test_eval_prints_what_the_run_found(here, capsys):
    run(["run", "sgd", *QUICK, "--max-steps", "3"])
    path = capsys.readouterr().out.splitlines()[-1]
    found = json.loads((here / path / "evaluation.json").read_text())
    assert run(["eval", path]) == 0
    assert json.loads(capsys.readouterr().out) == found
    (here / path / "evaluation.json").unlink()
    assert run(["eval", path]) == 0
    assert json.loads((here / path / "evaluation.json").read_text()) == found
    assert run(["eval", path, "--set", "evaluate.restarts=3", "--split", "validation"]) == 0
    assert json.loads((here / path / "evaluation.json").read_text()) == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "sgd", "--max-steps", "0"], "--max-steps"),
        (["rnu", "sgd"], "did you mean `run`?"),
        (["run", "sgd", "--sett", "a=1"], "--sett"),
        (["compile"], "name one RECIPE, or pass --all"),
        (["compile", "sgd", "--check"], "--check goes with --all"),
        (["list", "langevn"], "did you mean `langevin`?"),
        (["new", "../mine", "--from", "sgd"], "cannot name a recipe"),
        (["eval", "no-such-run"], "no-such-run"),
        (["run", "sgd", "--device", "tpu"], "tpu"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_leaves_nothing(here, capsys, words, said):
    assert run(words) == 2
    out = capsys.readouterr()
    assert said in out.err
    assert "Traceback" not in out.err
    assert out.out == ""
    assert list(here.iterdir()) == []


def test_a_device_that_is_not_there_is_exit_code_2(here, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device that the test wants missing")
    assert run(["run", "sgd", "--device", "cuda"]) == 2
    assert "cuda" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_folder_that_is_no_run_is_exit_code_2(here, capsys):
    (here / "empty").mkdir()
    assert run(["eval", "empty"]) == 2
    assert "manifest.json" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named(here, capsys):
    run(["run", "sgd", *QUICK, "--max-steps", "1"])
    path = here / capsys.readouterr().out.splitlines()[-1]
    checkpoint = path / "checkpoints/best.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-7])
    assert run(["eval", str(path)]) == 6
    assert "best.safetensors" in capsys.readouterr().err


def test_missing_data_is_exit_code_3(here, capsys, monkeypatch):
    from atentdsl.runtime import datasets
    from atentdsl.runtime.errors import DataMissing

    def absent(name, root=None):
        raise DataMissing("the MNIST files", "put them into data/MNIST/raw", "recipes/sgd.toml")

    monkeypatch.setattr(datasets, "load", absent)
    assert run(["run", "sgd"]) == 3
    said = capsys.readouterr().err
    assert "the MNIST files" in said
    assert "recipes/sgd.toml" in said
    assert list(here.iterdir()) == []


def test_divergence_is_exit_code_4_and_names_the_checkpoint(here, capsys):
    rate = "optimizer.lr={kind='piecewise', at=[1, 2], value=[0.01, 1e30]}"
    assert run(["run", "sgd", *QUICK, "--set", rate]) == 4
    said = capsys.readouterr().err
    (run_,) = here.glob("runs/sgd/*")
    (last, _) = sorted((run_ / "checkpoints").glob("step-*"), reverse=True)
    assert f"the last good checkpoint is {last.relative_to(here)}" in said
    assert f"kept in {(run_ / 'diverged.safetensors').relative_to(here)}" in said
    assert "Traceback" not in said


def test_an_internal_error_is_exit_code_1_and_names_its_log(here, capsys, monkeypatch):
    from atentdsl import api

    def broken(*args, **kwargs):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(api, "train", broken)
    assert run(["run", "sgd"]) == 1
    said = capsys.readouterr().err
    (log,) = here.glob("atentdsl-error-*.log")
    assert str(log) in said
    assert "Traceback" not in said
    assert "a fault of ours" in log.read_text()
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("can't allocate memory: no room")])
def test_memory_that_is_exhausted_anywhere_is_exit_code_7(here, capsys, monkeypatch, error):
    from atentdsl import api

    def exhausted(*args, **kwargs):
        raise error

    monkeypatch.setattr(api, "train", exhausted)
    assert run(["run", "sgd"]) == 7
    assert "no room" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_an_output_folder_that_cannot_be_written_is_exit_code_5(here, capsys):
    (here / "runs").write_text("a file stands here")
    assert run(["run", "sgd", *QUICK, "--max-steps", "1"]) == 5
    assert "runs" in capsys.readouterr().err


def test_an_interrupted_run_is_exit_code_130_and_keeps_its_checkpoint(here):
    command = [
        sys.executable,
        "-m",
        "atentdsl",
        "run",
        "sgd",
        "--set",
        "optimizer.epochs=5000",
        "--checkpoint-steps",
        "20",
    ]
    process = subprocess.Popen(
        [*command, *QUICK[:2]], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    begin = time.monotonic()
    while not list(here.glob("runs/sgd/*/checkpoints/best.safetensors")) and time.monotonic() - begin < 120:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err + out
    assert list(here.glob("runs/sgd/*/checkpoints/best.safetensors"))


def test_new_copies_with_its_comments_and_its_own_name(here, capsys):
    assert run(["new", "mine", "--from", "atent_linf"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "mine.toml"
    shipped = (Path(__file__).parents[2] / "recipes/atent_linf.toml").read_text()
    assert (here / "mine.toml").read_text() == shipped.replace('name = "atent_linf"', 'name = "mine"')
    assert run(["check", "mine.toml"]) == 0
    assert run(["new", "mine", "--from", "sgd"]) == 2
    assert "mine.toml exists" in capsys.readouterr().err


def test_new_from_a_recipe_that_extends_stands_alone(here, capsys):
    assert run(["new", "alone", "--from", "atent_linf_literal"]) == 0
    import atentdsl

    mine, shipped = atentdsl.load("alone.toml").values(), atentdsl.load("atent_linf_literal").values()
    assert mine.pop("recipe")["name"] == "alone"
    shipped.pop("recipe")
    assert mine == shipped


def test_list_shows_every_kind_and_its_parameters(capsys):
    from atentdsl.primitives import registry

    assert run(["list"]) == 0
    shown = capsys.readouterr().out
    for family in registry.families():
        assert f"{family}: " in shown
        for kind in registry.kinds(family):
            assert f"\n    {kind} " in shown
    for recipe in ("sgd", "atent_linf"):
        assert f"\n    {recipe}\n" in shown
    assert run(["list", "langevin"]) == 0
    shown = capsys.readouterr().out
    for field in registry.primitive("kernels", "langevin").parameters.model_fields:
        assert field == "kind" or f"    {field} " in shown


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        (
            "langevin",
            {
                "step_size": "η', in units of the input where the drift is normalised "
                "(required; a number or a schedule)",
                "drift": "how the gradient is normalised (default raw)",
                "momentum": "what carries over from move to move; nothing where not given (default none)",
                "momentum.mu": "μ, share of the direction before that is kept (required; a number or a schedule)",
                "momentum.nesterov": "look ahead along the momentum (default false)",
                "noise": "ε, scale of the injected noise; its square is the temperature "
                "(default 0.0; a number or a schedule)",
            },
        ),
        (
            "chain",
            {
                "moves": "K, how many moves follow the start (required)",
                "target": "the density it draws from (default its own defaults)",
                "target.beta": "β, inverse temperature of the loss (default 1.0; a number or a schedule)",
                "target.coupling": "what holds the point near its anchor (default none)",
                "projection": "the sets a point is brought back to, in order (default none)",
                "averaging": "which weights the points carry (default last)",
            },
        ),
        (
            "sgd",
            {
                "lr": "learning rate η (required; a number or a schedule)",
                "weight_decay": "share of the weights added to the gradient (default 0.0; a number or a schedule)",
            },
        ),
        ("piecewise", {"over": "what is counted, from 1 (default epochs)"}),
    ],
)
def test_list_shows_defaults_and_where_a_schedule_may_stand(capsys, kind, lines):
    assert run(["list", kind]) == 0
    shown = {
        line.split()[0]: line.split(maxsplit=1)[-1] for line in capsys.readouterr().out.splitlines() if line.strip()
    }
    for name, said in lines.items():
        assert shown[name] == said


def test_the_pages_say_where_a_schedule_may_stand():
    pages = Path(__file__).parents[2] / "docs/primitives"
    langevin, chain = ((pages / name).read_text().splitlines() for name in ("kernels/langevin.md", "samplers/chain.md"))
    step_size = "| `step_size` | η', in units of the input where the drift is normalised | "
    assert f"{step_size}required; a number or a schedule |" in langevin
    assert "| `target.beta` | β, inverse temperature of the loss | `1.0`; a number or a schedule |" in chain
    assert "| `kernel` | how a move proposes | `none` |" in chain


@pytest.mark.parametrize(
    ("words", "costs"),
    [
        (["atent_linf"], (60, 50, 25)),
        (["atent_linf", "--set", "sampler.attack.moves=40"], (240, 200, 85)),
        (["atent_linf", "--set", "compile.tolerance=0"], (60, 50, 32)),
        (["pgd_at_linf"], (33, 23, 23)),
        (["sgd"], (3, 3, 3)),
        (["entropy_sgd"], (15, 15, 15)),
        (["awp_pgd_at"], (36, 26, 26)),
        (["free_at"], (6, 5, 3)),
        (["trades_linf"], (49, 39, 27)),
        (["mart"], (36, 26, 26)),
        (["smoothadv"], (66, 46, 46)),
        (["atent_mala"], (63, 52, 31)),
    ],
)
def test_explain_shows_each_stage_and_the_semantics_costs(capsys, words, costs):
    """Literal, all points weighted 5K, last only 2K + 3; PGD-AT as usually written 3K + 3."""
    assert run(["explain", *words]) == 0
    shown = capsys.readouterr().out
    for stage in ("literal", "freeze weights", "roll"):
        assert any(line.startswith(stage) for line in shown.splitlines())
    table = [line.split() for line in shown.splitlines()[-3:]]
    assert [int(row[-1]) for row in table] == list(costs)


def test_every_shipped_recipe_is_fine_and_explained(capsys):
    from atentdsl.recipe import shipped

    assert run(["check", *shipped.names()]) == 0
    assert capsys.readouterr().out.count(": fine, the recipe ") == len(shipped.names())
    for name in shipped.names():
        assert run(["explain", name]) == 0
        assert "units a step" in capsys.readouterr().out


def test_explain_shows_a_schedule(capsys):
    schedule = "{kind='linear', start=0.01, end=0.05, over='moves'}"
    assert run(["explain", "atent_linf", "--set", f"sampler.attack.kernel.step_size={schedule}"]) == 0
    shown = capsys.readouterr().out
    assert "linear" in shown
    assert "0.05" in shown
