import json
import math
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.recipe import load
from atentdsl.runtime import directory
from atentdsl.runtime.directory import RunDirectory, write_atomically
from atentdsl.runtime.errors import NotARunDirectory
from atentdsl.source import RecipeError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return RunDirectory.create(tmp_path_factory.mktemp("runs"), "shared")


def test_the_id_is_the_time_in_utc(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    made = RunDirectory.create(tmp_path / "runs", "digits")
    after = datetime.now(UTC).replace(tzinfo=None)
    assert made.path.parent == tmp_path / "runs" / "digits"
    assert before <= datetime.strptime(made.path.name, "%Y%m%d-%H%M%S") <= after
    assert made.path.is_dir()
    assert made.checkpoint("last.safetensors") == made.path / "checkpoints" / "last.safetensors"
    assert made.checkpoint("last.safetensors").parent.is_dir()


def ids_are_well_formed(paths):
    """Each id is a time, and those of one second are numbered from 2 on without a gap."""
    seconds = {}
    for path in paths:
        match = re.fullmatch(r"(\d{8}-\d{6})(?:-(\d+))?", path.name)
        assert match is not None
        seconds.setdefault(match[1], set()).add(int(match[2] or 1))
    return all(numbers == set(range(1, len(numbers) + 1)) for numbers in seconds.values())


def test_threads_get_distinct_directories(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: RunDirectory.create(tmp_path, "run").path, range(64)))
    assert len(set(made)) == 64
    assert ids_are_well_formed(made)


def in_child(action):
    """Run `action` in a process of its own; its wait status."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def test_processes_get_distinct_directories(tmp_path):
    def make_ten():
        for _ in range(10):
            made = RunDirectory.create(tmp_path / "runs", "run")
            made.write_text("owner", str(os.getpid()))

    children = [in_child(make_ten) for _ in range(8)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    made = list((tmp_path / "runs" / "run").iterdir())
    owners = [(path / "owner").read_text() for path in made]
    assert sorted(owners) == sorted(str(child) for child in children for _ in range(10))
    assert ids_are_well_formed(made)


BAD_NAMES = ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\\b", "a b", "a\n", "ä", "a\0", "~root/..", "x/.."]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_not_plain_is_refused(tmp_path, name, shared):
    with pytest.raises(ValueError, match="no plain name"):
        RunDirectory.create(tmp_path / "runs", name)
    with pytest.raises(ValueError, match="no plain name"):
        shared.checkpoint(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*BAD_NAMES, "mine\n", "pgd-20\n", "pgd-2/../../x", "../pgd-20"])
@pytest.mark.parametrize("key", ["name", "attacks"])
def test_no_recipe_names_a_run_or_an_attack_s_file_so(name, key):
    values = load("sgd", ["evaluate.radius=0.1"]).values()
    values |= {"recipe": {"name": name}} if key == "name" else {"evaluate": {"attacks": [name], "radius": 0.1}}
    with pytest.raises(RecipeError, match="cannot be"):
        load(values)


@given(st.text(max_size=12))
def test_a_checkpoint_lies_in_its_folder_or_is_refused(shared, name):
    try:
        path = shared.checkpoint(name)
    except ValueError:
        return
    assert path.resolve().parent == (shared.path / "checkpoints").resolve()


@pytest.mark.parametrize("relative", ["../out", "/tmp/out", "a/../../out", "", ".", "link/out", "file"])
def test_nothing_is_written_outside(tmp_path, relative):
    made = RunDirectory.create(tmp_path / "runs", "run")
    (tmp_path / "elsewhere").mkdir()
    (made.path / "link").symlink_to(tmp_path / "elsewhere")
    (made.path / "file").symlink_to(tmp_path / "elsewhere" / "out")
    with pytest.raises(ValueError, match="leads out"):
        made.write_text(relative, "x")
    assert not list(tmp_path.rglob("out"))


def test_open_lists_what_is_missing(tmp_path):
    made = RunDirectory.create(tmp_path, "run")
    with pytest.raises(NotARunDirectory, match=r"missing recipe\.toml, module\.py, manifest\.json"):
        RunDirectory.open(made.path)
    made.write_text(directory.RECIPE, "schema = 1\n")
    made.write_json(directory.MANIFEST, {})
    with pytest.raises(NotARunDirectory, match=r"missing module\.py$"):
        RunDirectory.open(made.path)
    made.write_text(directory.MODULE, "")
    assert RunDirectory.open(made.path) == made
    with pytest.raises(NotARunDirectory):
        RunDirectory.open(tmp_path / "nowhere")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_is_written_as_it_is(shared, text):
    path = shared.write_text("deep/er/text.txt", text)
    assert path.read_bytes() == text.encode()
    assert os.listdir(path.parent) == ["text.txt"]


@given(JSON)
def test_json_comes_back(shared, value):
    text = shared.write_json("value.json", value).read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text == json.dumps(value, indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_raises_and_leaves_the_old_file(tmp_path, value):
    made = RunDirectory.create(tmp_path, "run")
    path = made.write_json("value.json", {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        made.write_json("value.json", {"loss": [value]})
    assert json.loads(path.read_text()) == {"loss": 1.0}
    with pytest.raises(ValueError, match="not JSON compliant"):
        made.append_metrics({"loss": value})
    assert not (made.path / directory.METRICS).exists()


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5))
def test_metrics_are_one_line_each_and_seen_at_once(shared, records):
    metrics = shared.path / directory.METRICS
    metrics.unlink(missing_ok=True)
    for i, record in enumerate(records):
        shared.append_metrics(record)
        lines = metrics.read_bytes().split(b"\n")
        assert lines.pop() == b""
        assert [json.loads(line) for line in lines] == records[: i + 1]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_killed_writer_leaves_the_old_file(tmp_path, moment):
    path = tmp_path / "file"
    write_atomically(path, b"old" * 1000)

    def be_killed(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    def write_and_die():
        setattr(os, moment, be_killed)
        write_atomically(path, b"new" * 2000)

    status = os.waitpid(in_child(write_and_die), 0)[1]
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert path.read_bytes() == b"old" * 1000
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_a_failed_write_leaves_nothing_beside(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", b"data")
    assert os.listdir(tmp_path) == ["taken"]


def test_files_have_the_permissions_the_user_asked_for(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert Path(tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_line_that_does_not_fit_leaves_none_of_itself(tmp_path):
    """In a process that may not make a file longer than what stands there and half a line."""
    script = f"""
import resource, signal
from pathlib import Path
from atentdsl.runtime.directory import RunDirectory
from atentdsl.runtime.errors import StorageFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
made = RunDirectory.create(Path({str(tmp_path)!r}), "run")
made.append_metrics({{"epoch": 1}})
before = (made.path / "metrics.jsonl").read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, resource.RLIM_INFINITY))
try:
    made.append_metrics({{"epoch": 2}})
except StorageFailed as error:
    assert (made.path / "metrics.jsonl").read_bytes() == before, (made.path / "metrics.jsonl").read_bytes()
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "metrics.jsonl cannot be written" in done.stdout, done.stderr
