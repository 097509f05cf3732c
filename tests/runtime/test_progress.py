import io
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.runtime import progress as module
from atentdsl.runtime.progress import make_progress

LONG = " that is not broken" * 9


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock, moved by hand: `clock.now += seconds`."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def terminal(monkeypatch):
    """A pseudo-terminal: a stream to write to, and a function that closes it and gives all that was shown."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    reading, writing = os.openpty()
    shown = []

    def read():
        while True:
            try:
                shown.append(os.read(reading, 65536))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=read)
    reader.start()
    stream = os.fdopen(writing, "w")

    def finish():
        stream.close()
        reader.join()
        return b"".join(shown).decode()

    yield stream, finish
    stream.close()
    reader.join()
    os.close(reading)


def test_an_epoch_is_one_plain_line(clock):
    stream = io.StringIO()
    with make_progress(300, stream) as progress:
        progress.step(1)
        clock.now += 4.7
        progress.step(30)
        record = {"loss": 0.5119, "clean": 0.9123, "robust": 0.7006, "images_per_second": 12300.4, "epoch": 3}
        progress.epoch(3, 30, record)
        progress.epoch(4, 30, {"loss": float("nan"), "robust": None})
    assert stream.getvalue().splitlines() == [
        "epoch 3/30  loss 0.512  clean 91.2 %  robust 70.1 %  12,300 images/s  0:42 left",
        "epoch 4/30  loss nan  0:42 left",
    ]


def test_steps_are_shown_every_ten_seconds_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    with make_progress(10_000, stream) as progress:
        for step in range(1, 801):
            clock.now += 0.0625
            assert progress.due() == (step % 160 == 0)
            progress.step(step, loss=0.25, images_per_second=800)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[0] == "step 160/10,000  loss 0.250  800 images/s  10:15 left"


def test_a_resumed_run_reckons_with_its_own_steps(clock):
    stream = io.StringIO()
    with make_progress(1000, stream) as progress:
        for step in range(901, 951):
            clock.now += 1
            progress.step(step)
    assert stream.getvalue().splitlines()[-1] == "step 950/1,000  0:50 left"


@given(st.integers(0, 10**6))
def test_clock_reads_back(seconds):
    text = module._clock(seconds)
    assert re.fullmatch(r"\d+:\d\d|\d+:\d\d:\d\d", text)
    parts = [int(part) for part in text.split(":")]
    assert all(part < 60 for part in parts[1:])
    assert sum(part * 60**i for i, part in enumerate(reversed(parts))) == seconds


def test_a_terminal_shows_a_bar_and_keeps_the_lines(terminal):
    stream, finish = terminal
    outputs = sys.stdout, sys.stderr
    with make_progress(100, stream) as progress:
        assert (sys.stdout, sys.stderr) == outputs
        assert not progress.due()
        progress.step(10, loss=123.0)
        time.sleep(0.3)
        assert progress.due()
        progress.step(50, loss=0.75, images_per_second=4000)
        assert not progress.due()
        progress.message("a [bold]message[/bold] of more than one hundred and twenty columns" + LONG)
        progress.epoch(1, 2, {"clean": 0.5, "robust": 0.25})
    shown = finish()
    assert "50/100" in shown
    assert re.search(r"loss 0\.750  4,000 images/s  0:00 left", shown)
    assert "loss 123" not in shown
    assert "a [bold]message[/bold] of more" in shown
    assert LONG in shown
    assert "epoch 1/2  clean 50.0 %  robust 25.0 %" in shown
    assert "\x1b[" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again


def test_the_cursor_comes_back_after_an_error(terminal):
    stream, finish = terminal
    with pytest.raises(KeyboardInterrupt), make_progress(100, stream):
        raise KeyboardInterrupt
    assert finish().count("\x1b[?25h") == 1


def test_a_dumb_terminal_gets_plain_lines(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream, finish = terminal
    with make_progress(100, stream) as progress:
        progress.message("plain")
    assert finish() == "plain\r\n"


def test_everything_goes_to_standard_error():
    code = """
from atentdsl.runtime.progress import make_progress
with make_progress(2) as progress:
    print("result")
    progress.message("note")
    progress.epoch(1, 1, {"loss": 1.0})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"FORCE_COLOR": "1"}
    )
    assert done.stdout == "result\n"
    assert done.stderr == "note\nepoch 1/1  loss 1.000\n"
