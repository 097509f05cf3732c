"""`atentdsl sweep`: what is trained, side by side, gone on with, refused and told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forked import COMMAND_LINE, Forked
from runtime.real_runs import files

import atentdsl
from atentdsl.api import sweeping
from atentdsl.cli import run
from atentdsl.recipe import shipped
from atentdsl.runtime import health, lock, side_by_side
from atentdsl.runtime.side_by_side import Task

QUICK = ["model.name=mlp", "optimizer.epochs=1", "evaluate.attacks=['pgd-1']"]
WORDS = [word for override in QUICK for word in ("--set", override)] + ["--device", "cpu"]


class Begun:
    """A process of a sweep, forked from one that has torch loaded; `words` of each are kept in `all`."""

    all: list[list[str]] = []  # noqa: RUF012

    def __init__(self, words, out, said, environment):
        assert words[1:3] == ["-m", "atentdsl"]
        self.all.append(words[3:])
        self.files = [Path(out.name), Path(said.name)]
        self.process = Forked(COMMAND_LINE, words[3:], Path.cwd(), environment)

    def poll(self):
        if self.process.poll() is not None:
            for path, text in zip(self.files, self.process.communicate(), strict=True):
                if self.files:
                    path.write_bytes(path.read_bytes() + text.encode())
            self.files, self.poll = [], self.process.poll
        return self.process.poll()

    def wait(self, timeout=None):
        self.process.wait(timeout)
        return self.poll()

    def send_signal(self, number):
        self.process.send_signal(number)


@pytest.fixture
def begun(monkeypatch):
    monkeypatch.setattr(Begun, "all", [])
    monkeypatch.setattr(side_by_side, "begun", Begun)
    return Begun.all


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder with a sweep of two recipes and two seeds; what was printed, and how its processes were begun."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Begun, "all", [])
        patch.setattr(side_by_side, "begun", Begun)
        lines: list[str] = []
        done = atentdsl.sweep(
            ["sgd", "fgsm_rs"], seeds=2, overrides=QUICK, device="cpu", jobs=2, out="mine", tell=lines.append
        )
    assert done.failures == []
    return folder, done, lines


@pytest.fixture
def here(swept, tmp_path, monkeypatch):
    shutil.copytree(swept[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_recipe_is_trained_with_every_seed_as_alone(swept, tmp_path):
    folder, done, lines = swept
    rows = {row["recipe"]: row for row in done.comparison["rows"]}
    assert {name: row["seeds"] for name, row in rows.items()} == {"sgd": [0, 1], "fgsm_rs": [0, 1]}
    alone = atentdsl.train("fgsm_rs", overrides=QUICK, seed=1, device="cpu", out=tmp_path, quiet=True)
    assert json.loads((folder / rows["fgsm_rs"]["runs"][1] / "evaluation.json").read_text()) == alone.evaluation
    assert [line.split(":")[0].split("] ")[0] for line in lines] == ["[1/4", "[2/4", "[3/4", "[4/4"]
    assert all("clean" in line and "pgd-1" in line for line in lines)
    assert {path.name for path in (folder / "mine").glob("comparison.*")} == {
        f"comparison.{ending}" for ending in ("md", "csv", "png", "svg")
    }
    assert len([*(folder / "mine/logs").iterdir()]) == 4


def test_what_is_finished_is_not_done_again(here, begun, capsys):
    before = files(here / "mine")
    assert run(["sweep", "sgd", "fgsm_rs", "--seeds", "0,1", *WORDS, "--out", "mine"]) == 0
    out = capsys.readouterr()
    assert begun == []
    assert out.err.count("finished before") == 4
    assert out.out.splitlines()[-1] == "mine"
    assert "| `fgsm_rs` | 2 |" in out.out
    after = files(here / "mine")
    assert {path for path in before if before[path] != after[path]} <= {"comparison.md"}  # its command is another


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sgd", "fgsm_rs", "--seeds", "1,2", *WORDS], "seeds [0, 1], not [1, 2], and more can be added"),
        (["sgd", "mart", "--seeds", "2", *WORDS], "with fgsm_rs, which is not asked for now; more can be added"),
        (["sgd", "fgsm_rs", "--seeds", "2", *WORDS, "--set", "optimizer.lr=0.2"], "overrides ["),
        (["sgd", "fgsm_rs", "--seeds", "2", *WORDS[:-1], "auto", "--jobs", "1"], "device cpu, not auto"),
    ],
)
def test_another_sweep_in_the_same_folder_is_refused(here, begun, capsys, words, said):
    before = files(here)
    assert run(["sweep", *words, "--out", "mine"]) == 6
    err = capsys.readouterr().err
    assert said in err
    assert "ask for that again, or name another folder by --out" in err
    assert (begun, files(here)) == ([], before)


def test_a_recipe_that_was_changed_meanwhile_is_named(here, begun, capsys):
    stale = json.loads((here / "mine/sweep.json").read_text())
    stale["jobs"][0]["recipe_sha256"] = "0" * 64
    (here / "mine/sweep.json").write_text(json.dumps(stale))
    assert run(["sweep", "sgd", "fgsm_rs", "--seeds", "2", *WORDS, "--out", "mine"]) == 6
    assert "with sgd as it was before it was changed, which is not asked for now" in capsys.readouterr().err
    assert begun == []


def test_a_sweep_grows_by_seeds_and_recipes(here, begun, capsys):
    """The runs there are stay as they are, and what goes on is the sweep as it has grown."""
    before = files(here / "mine")
    words = ["sgd", "pgd_at_linf", "fgsm_rs", "--seeds", "0,2,1", *WORDS]
    assert run(["sweep", *words, "--out", "mine"]) == 0
    out = capsys.readouterr()
    assert out.err.count("finished before") == 4
    assert sorted(words[1:4:2] for words in begun) == sorted(
        [["sgd", "2"], ["fgsm_rs", "2"], ["pgd_at_linf", "0"], ["pgd_at_linf", "1"], ["pgd_at_linf", "2"]]
    )
    assert [line.split(" |")[1] for line in out.out.splitlines() if line.startswith("| `")] == [" 3"] * 3
    after = files(here / "mine")
    changed = {path for path in before if before[path] != after[path]}
    assert changed <= {"sweep.json", *(f"comparison.{ending}" for ending in ("md", "csv", "png", "svg"))}
    assert run(["sweep", "sgd", "fgsm_rs", "--seeds", "2", *WORDS, "--out", "mine"]) == 6


def test_its_runs_can_be_attacked_by_others(here, begun, capsys):
    """And on some of the images; what was found before stands until it is asked for again."""
    words = ["sweep", "sgd", "fgsm_rs", "--seeds", "2", *WORDS, "--out", "mine"]
    assert run([*words, "--attack", "fgsm", "--first", "20"]) == 0
    text = capsys.readouterr().out
    assert "| recipe | seeds | clean | fgsm | seconds |" in text
    assert "- `fgsm`: norm linf, radius 0.15" in text
    assert "; 20 test images of digits" in text
    assert [words[0] for words in begun] == ["eval"] * 4
    assert run([*words, "--attack", "fgsm"]) == 0
    assert "; 359 test images of digits" in capsys.readouterr().out
    assert len(begun) == 8
    assert run([*words, "--attack", "fgsm", "--first", "20"]) == 0
    assert capsys.readouterr().out.splitlines()[:5] == text.splitlines()[:5]
    assert run(words) == 0
    assert "| recipe | seeds | clean | pgd-1 | seconds |" in capsys.readouterr().out
    assert len(begun) == 8, "nothing is evaluated twice"


def test_a_folder_of_other_things_is_refused(here, begun, capsys):
    assert run(["sweep", "sgd", *WORDS, "--out", "mine/logs"]) == 5
    assert "which is of no sweep: name an empty folder by --out" in capsys.readouterr().err
    assert begun == []


def test_a_sweep_that_is_at_work_is_not_begun_twice(here, begun, capsys):
    held = lock.hold(here / "mine")
    try:
        assert run(["sweep", "sgd", "fgsm_rs", "--seeds", "2", *WORDS, "--out", "mine"]) == 2
    finally:
        lock.release(held)
    assert "another process is at work on mine" in capsys.readouterr().err


def test_a_recipe_that_is_wrong_is_told_before_any_is_trained(here, begun, capsys):
    assert run(["sweep", "sgd", "nowhere", *WORDS, "--out", "new"]) == 2
    assert "there is no file `nowhere`" in capsys.readouterr().err
    assert begun == []
    assert not (here / "new").exists()


def test_a_run_that_fails_stops_no_other_and_is_named_with_its_reason(tmp_path, begun, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = {
        "unfit": '[model]\nname = "cnn7"',
        "wild": '[model]\nname = "mlp"\n[optimizer]\nlr = 1e30',
        "fine": '[model]\nname = "mlp"',
    }
    for name, table in tables.items():
        extends = json.dumps(str(shipped.folder() / "sgd.toml"))
        (tmp_path / f"{name}.toml").write_text(f'schema = 1\n[recipe]\nname = "{name}"\nextends = {extends}\n{table}\n')
    words = ["sweep", *(f"{name}.toml" for name in tables), "--seeds", "1", "--set", "optimizer.epochs=1"]
    words += ["--set", "evaluate.attacks=['pgd-1']", "--device", "cpu", "--jobs", "3"]
    assert run(words) == 1, "of several codes none is the sweep's"
    out = capsys.readouterr()
    assert "| `fine` | 1 |" in out.out
    assert out.out.splitlines()[-1] == "runs/sweeps/unfit-wild-fine"
    assert "unfit.toml seed 0 failed with exit code 2: the network cnn7 does not suit the data" in out.err
    assert "wild.toml seed 0 failed with exit code 4: training diverged in epoch 1" in out.err
    assert "(runs/sweeps/unfit-wild-fine/logs/wild-" in out.err
    del begun[:]
    assert run(words) == 1
    assert [words[1] for words in begun] == ["unfit.toml"], "what diverged would do so again"
    assert "it diverged; remove runs/sweeps/unfit-wild-fine/wild/" in capsys.readouterr().err


class Stopping(Begun):
    """The sweep gets a signal as soon as its first run has a snapshot."""

    sent = False

    def poll(self):
        if not self.sent and [*Path("mine/sgd").glob("*/checkpoints/step-*.safetensors")]:
            type(self).sent = True
            os.kill(os.getpid(), signal.SIGTERM)
        return super().poll()


def test_a_sweep_that_is_stopped_goes_on_to_the_same_figures(tmp_path, begun, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = [QUICK[0], "optimizer.epochs=40", QUICK[2]]
    words = [word for override in overrides for word in ("--set", override)]
    words = ["sweep", "sgd", "--seeds", "5,", *words, "--device", "cpu", "--out", "mine"]
    words += ["--attack", "fgsm", "--attack", "pgd-1"]
    monkeypatch.setattr(Stopping, "sent", False)
    monkeypatch.setattr(side_by_side, "begun", Stopping)
    monkeypatch.setattr("sys.argv", ["atentdsl", *words])
    assert run([*words, "--jobs", "1"]) == 130
    said = capfd.readouterr().err
    assert "stopping the runs at their next steps, with checkpoints" in said
    assert (
        "the sweep in mine is interrupted, 0 of 1 runs are finished; go on with `atentdsl sweep sgd --seeds 5," in said
    )
    (stopped,) = (tmp_path / "mine/sgd").iterdir()
    assert not (stopped / "evaluation.json").exists()
    assert "interrupted after step" in "".join(path.read_text() for path in (tmp_path / "mine/logs").iterdir())
    assert len(begun) == 1, "no run is begun after it"

    assert run(words) == 0
    assert begun[1][:3] == ["run", "--resume", f"mine/sgd/{stopped.name}"]
    assert sorted(words[0] for words in begun[1:]) == ["eval", "run"]
    alone = atentdsl.train("sgd", overrides=overrides, seed=5, device="cpu", out=tmp_path / "alone", quiet=True)
    assert json.loads((stopped / "evaluation.json").read_text()) == alone.evaluation
    (kept,) = (tmp_path / "mine/evaluations").glob(f"*/sgd/{stopped.name}.json")
    kept = json.loads(kept.read_text())
    attacks = {"attacked_by": ["fgsm", "pgd-1"], "overrides": ["evaluate.independent=true"]}
    own = atentdsl.evaluate(alone, **attacks, device="cpu")
    assert kept == own
    assert all("after" not in attack for attack in own["attacks"].values())
    assert "| recipe | seeds | clean | fgsm | pgd-1 | worst | seconds |" in capfd.readouterr().out


@pytest.mark.parametrize(("code", "kept"), [(0, True), (3, False)])
def test_what_a_program_prints_becomes_a_file_only_if_it_ends_well(tmp_path, code, kept):
    """And its session is its own, which Ctrl-C at the terminal does not reach."""
    program = f"import os, sys; print(os.getsid(0)); sys.stderr.write(os.environ['A_NUMBER']); sys.exit({code})"
    out, log, ended = tmp_path / "new/out", tmp_path / "new/log", []

    def work():
        ended.append((yield Task([sys.executable, "-c", program], log, {**os.environ, "A_NUMBER": "17"}, out)))

    assert side_by_side.side_by_side([work()], 1)
    assert ended == [code]
    assert log.read_text() == "17"
    assert sorted(path.name for path in out.parent.iterdir()) == (["log", "out"] if kept else ["log"])
    assert not kept or int(out.read_text()) != os.getsid(0)


@pytest.mark.parametrize(
    ("cores", "own", "jobs", "wanted", "expected"),
    [
        (2.0, None, None, 6, (1, 2)),
        (8.0, "2", None, 6, (2, 4)),
        (8.0, "2", None, 3, (2, 3)),
        (1.5, None, None, 6, (None, 1)),
        (8.0, None, None, 1, (None, 1)),
        (2.0, None, 5, 6, (1, 5)),
        (2.0, "4", None, 6, (4, 1)),
    ],
)
def test_side_by_side_only_as_there_are_cores(monkeypatch, cores, own, jobs, wanted, expected):
    """Threads a run, and runs at once; without OMP_NUM_THREADS several runs get one thread each."""
    monkeypatch.setattr(health.allowance, "cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if own is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    assert sweeping._shared(jobs, "cpu", wanted) == expected


def test_on_a_gpu_runs_take_turns(monkeypatch):
    monkeypatch.setattr(health.allowance, "cores", lambda: 64.0)
    monkeypatch.setattr(sweeping, "_on_gpu", lambda device: True)
    assert sweeping._shared(None, "auto", 6)[1] == 1


class Counted:
    """No process: it ends at the third look."""

    alive = most = 0
    codes = (0,)

    def __init__(self, *_):
        self.looks, self.signals = 0, 0
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def poll(self):
        self.looks += 1
        return 0 if self.looks >= 3 else None

    def wait(self, timeout=None):
        Counted.alive -= 1
        return 0

    def send_signal(self, number):
        self.signals += 1


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_at_once_and_each_work_in_its_order(tmp_path, monkeypatch, most):
    monkeypatch.setattr(side_by_side, "begun", Counted)
    monkeypatch.setattr(side_by_side, "BETWEEN_LOOKS", 0)
    monkeypatch.setattr(Counted, "most", 0)
    done = []

    def work(number):
        for part in range(2):
            code = yield Task(["a program"], tmp_path / "log")
            done.append((number, part, code))

    assert side_by_side.side_by_side([work(number) for number in range(5)], most)
    assert Counted.most == most
    assert sorted(done) == [(number, part, 0) for number in range(5) for part in range(2)]
    assert all(done.index((number, 0, 0)) < done.index((number, 1, 0)) for number in range(5))


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch):
    """What does not end at two signals is ended."""
    seen = []

    class Stubborn(Counted):
        def poll(self):
            return None

        def wait(self, timeout=None):
            if not seen:
                seen.append("waited for")
                raise KeyboardInterrupt
            if timeout is not None and seen[-1] != "killed":
                raise subprocess.TimeoutExpired("it", timeout)
            return -9

        def send_signal(self, number):
            self.signals += 1
            assert number == signal.SIGTERM
            assert self.signals <= 2

        def kill(self):
            seen.append("killed")

    monkeypatch.setattr(side_by_side, "begun", Stubborn)
    answers = iter([False, True])

    def work():
        yield Task(["a program"], tmp_path / "log")

    with pytest.raises(KeyboardInterrupt):
        side_by_side.side_by_side([work()], 1, lambda: next(answers))
    assert seen == ["waited for", "killed"]


@pytest.mark.parametrize(
    "words",
    [["--seeds", "0"], ["--seeds", "a"], ["--seeds", "1,,2"], ["--seeds", ","], ["--jobs", "0"], ["--first", "9"]],
)
def test_what_makes_no_sweep_is_a_usage_error(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert run(["sweep", "sgd", *words]) == 2
    assert [*tmp_path.iterdir()] == []
