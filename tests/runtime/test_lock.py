"""The lock of a run's directory, with processes that live and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atentdsl.runtime import lock
from atentdsl.runtime.errors import RunBusy

HOLDER = """
import sys
from pathlib import Path
from atentdsl.runtime import lock
from atentdsl.runtime.errors import RunBusy
try:
    held = lock.hold(Path(sys.argv[1]))
except RunBusy as error:
    print("busy", error.path)
    sys.exit()
print("held", flush=True)
sys.stdin.readline()
lock.release(held)
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def process():
    """Starts processes that take a folder's lock and give it back when they are told; none outlives the test."""
    started = []

    def start(folder):
        words = [sys.executable, "-c", HOLDER, str(folder)]
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1], started[-1].stdout.readline().strip()

    yield start
    for one in started:
        one.kill()
        one.communicate()


def test_a_second_process_is_refused_and_told_which_directory(process, tmp_path):
    _, said = process(tmp_path)
    assert said == "held"
    assert lock.is_held(tmp_path)
    assert process(tmp_path)[1] == f"busy {tmp_path}"
    with pytest.raises(RunBusy, match="another process is at work on") as caught:
        lock.hold(tmp_path)
    assert caught.value.path == tmp_path
    assert lock.is_held(tmp_path), "a refusal takes nothing away"


def test_it_is_free_when_its_holder_is_killed(process, tmp_path):
    holder, _ = process(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert not lock.is_held(tmp_path)
    assert (tmp_path / lock.LOCK).exists(), "the file stays, and means nothing by itself"
    lock.release(lock.hold(tmp_path))


def test_it_is_free_when_its_holder_gives_it_back_and_lives_on(process, tmp_path):
    holder, _ = process(tmp_path)
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    assert not lock.is_held(tmp_path)
    assert holder.poll() is None
    assert process(tmp_path)[1] == "held"


def test_it_follows_a_directory_that_is_renamed(process, tmp_path):
    before, after = tmp_path / ".unfinished", tmp_path / "20260102-030405"
    before.mkdir()
    process(before)
    before.rename(after)
    before.mkdir()
    assert lock.is_held(after)
    assert not lock.is_held(before)
    assert process(after)[1] == f"busy {after}"


def test_a_process_that_the_holder_forked_does_not_keep_it(tmp_path):
    """A fork shares its parent's descriptors, as the workers of a data loader do."""
    held = lock.hold(tmp_path)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        assert lock.is_held(tmp_path)
        lock.release(held)
        assert not lock.is_held(tmp_path)
    finally:
        os.close(reading)
        os.close(writing)
        os.waitpid(child, 0)


def test_a_program_that_the_holder_started_does_not_keep_it(tmp_path):
    held = lock.hold(tmp_path)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as other:
        os.close(held)
        assert not lock.is_held(tmp_path)
        other.kill()


def test_asking_leaves_nothing_and_takes_nothing(tmp_path):
    assert not lock.is_held(tmp_path)
    assert not lock.is_held(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="absent"):
        lock.hold(tmp_path / "absent")


def test_who_asks_all_the_time_refuses_nobody(tmp_path):
    """To ask, one holds the lock for a moment; whoever wants it waits that moment out."""
    (tmp_path / lock.LOCK).touch()
    asking = "import sys; from pathlib import Path; from atentdsl.runtime import lock\n"
    asking += "print('asks', flush=True)\nwhile True: lock.is_held(Path(sys.argv[1]))"
    words = [sys.executable, "-c", asking, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        try:
            for _ in range(20):
                lock.release(lock.hold(tmp_path))
        finally:
            other.kill()


@settings(max_examples=30)
@given(st.lists(st.booleans(), max_size=12))
def test_it_is_held_exactly_between_taking_and_giving_back(tmp_path_factory, moves):
    folder, held = tmp_path_factory.mktemp("lock"), None
    for take in moves:
        if take and held is None:
            held = lock.hold(folder)
        elif not take and held is not None:
            lock.release(held)
            held = None
        assert lock.is_held(folder) == (held is not None)
    if held is not None:
        lock.release(held)
