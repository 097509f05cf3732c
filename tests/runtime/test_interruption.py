"""SIGINT and SIGTERM, sent for real: to this process, and to others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atentdsl.runtime.interruption import SAID, interruptions_heeded

NUMBERS = (signal.SIGINT, signal.SIGTERM)


def send(number):
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def _handlers():
    """Whatever a test does to the handlers ends with it."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@settings(max_examples=10)
@given(st.lists(st.sampled_from(NUMBERS), max_size=4))
def test_the_first_signal_is_noted_and_each_later_one_raises(numbers):
    raised = 0
    with interruptions_heeded() as asked:
        assert not asked()
        for number in numbers:
            try:
                send(number)
            except KeyboardInterrupt:
                raised += 1
            assert asked()
    assert raised == max(0, len(numbers) - 1)


@pytest.mark.parametrize("number", NUMBERS)
def test_it_says_once_what_happens_now(number, capfd):
    with interruptions_heeded():
        send(number)
        with pytest.raises(KeyboardInterrupt):
            send(number)
    assert capfd.readouterr().err == SAID.decode()


def own(number, frame):
    raise RuntimeError(f"own handler of {number}")


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL, signal.default_int_handler, own])
@pytest.mark.parametrize("ends", ["well", "by an error", "by a second signal"])
def test_the_handlers_of_before_come_back(handler, ends):
    for number in NUMBERS:
        signal.signal(number, handler)
    try:
        with interruptions_heeded():
            assert all(signal.getsignal(number) != handler for number in NUMBERS)
            if ends == "by an error":
                raise ValueError
            send(signal.SIGTERM)
            if ends == "by a second signal":
                send(signal.SIGINT)
    except (ValueError, KeyboardInterrupt):
        assert ends != "well"
    assert [signal.getsignal(number) for number in NUMBERS] == [handler, handler]
    with interruptions_heeded() as asked:
        assert not asked(), "what came into an earlier block is that block's"
    if handler is signal.SIG_IGN:
        send(signal.SIGINT)
    if handler is own:
        with pytest.raises(RuntimeError, match="own handler"):
            send(signal.SIGTERM)


def test_a_block_within_a_block_shares_its_answer():
    with interruptions_heeded() as outer:
        with interruptions_heeded() as inner:
            send(signal.SIGINT)
            assert inner()
        assert outer()
        with interruptions_heeded() as later:
            assert later(), "what begins after the signal stops too"
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler


def test_another_thread_is_unaffected():
    """Within the main thread's block or outside of it, a thread is neither stopped nor changes a handler."""

    def work(answers):
        before = [signal.getsignal(number) for number in NUMBERS]
        with interruptions_heeded() as asked:
            answers.append(asked())
            begun.set()
            go_on.wait(10)
            answers.append(asked())
        answers.append([signal.getsignal(number) for number in NUMBERS] == before)

    for inside in (False, True):
        begun, go_on, answers = threading.Event(), threading.Event(), []
        thread = threading.Thread(target=work, args=(answers,))
        if inside:
            with interruptions_heeded() as asked:
                thread.start()
                begun.wait(10)
                send(signal.SIGTERM)
                assert asked()
                go_on.set()
                thread.join()
        else:
            thread.start()
            begun.wait(10)
            go_on.set()
            thread.join()
        assert answers == [False, False, True]


CHILD = """
import os, sys, time
from atentdsl.runtime.interruption import interruptions_heeded
try:
    with interruptions_heeded() as asked:
        print("ready", flush=True)
        while not asked():
            time.sleep(0.01)
        print("asked", flush=True)
        if sys.argv[1] == "ends":
            sys.exit(0)
        time.sleep(60)
except KeyboardInterrupt:
    print("at once", flush=True)
print("after", flush=True)
time.sleep(60)
"""


def child(what, **options):
    words = [sys.executable, "-c", CHILD, what]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", NUMBERS)
def test_another_process_stops_when_it_is_asked(number):
    with child("ends") as process:
        process.send_signal(number)
        out, said = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "asked\n")
    assert said == SAID.decode()


def test_another_process_stops_at_once_by_a_second_signal_and_dies_by_a_third():
    with child("goes on") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "at once\n"
        assert process.stdout.readline() == "after\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM, "outside of the block the signal means what it meant"


def test_a_signal_is_heeded_where_nobody_reads_what_is_said():
    """The terminal is gone, or the pipe behind 2> is closed: that is no reason to fail."""
    with child("ends") as process:
        process.stderr.close()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "asked\n"
        assert process.wait(20) == 0
