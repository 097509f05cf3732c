"""TensorBoard events, read back by a reader of our own: records with checksums, and the messages inside them."""

from __future__ import annotations

import json
import struct
import sys
from datetime import datetime

import pytest

import atentdsl
from atentdsl.cli import run as command


def crc32c(data):
    """Castagnoli's, bit by bit: reflected polynomial 0x82F63B78 (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(content):
    """Length (uint64), its masked checksum, data, its masked checksum; little-endian."""
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert struct.unpack("<I", content[8:12]) == (masked(content[:8]),)
        data, rest = content[12 : 12 + length], content[12 + length :]
        assert len(data) == length
        assert struct.unpack("<I", rest[:4]) == (masked(data),)
        yield data
        content = rest[4:]


def fields(message):
    """A protocol buffer's fields as (number, value): varints, doubles, floats and bytes."""

    def varint(i):
        number, shift = 0, 0
        while True:
            number |= (message[i] & 0x7F) << shift
            shift, i = shift + 7, i + 1
            if message[i - 1] < 0x80:
                return number, i

    i = 0
    while i < len(message):
        tag, i = varint(i)
        kind = tag & 7
        if kind == 0:
            value, i = varint(i)
        elif kind == 1:
            (value,), i = struct.unpack("<d", message[i : i + 8]), i + 8
        elif kind == 5:
            (value,), i = struct.unpack("<f", message[i : i + 4]), i + 4
        else:
            assert kind == 2
            length, i = varint(i)
            value, i = message[i : i + length], i + length
        yield tag >> 3, value


def events(path):
    """(wall time, step, tag, value) of each scalar; the file begins with the format's version."""
    first, *rest = [dict(fields(data)) for data in records(path.read_bytes())]
    assert first[3] == b"brain.Event:2"
    for event in rest:
        (value,) = [dict(fields(one)) for number, one in fields(event[5]) if number == 1]
        yield event[1], event.get(2, 0), value[1].decode(), value.get(2, 0.0)


def test_the_checksum_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_what_is_read_back_is_what_the_run_wrote(made):
    report = atentdsl.report(made, examples=False)
    assert report.events.parent == made / "tensorboard"
    assert report.events.name.startswith("events.out.tfevents.")
    found = list(events(report.events))
    lines = [json.loads(line) for line in (made / "metrics.jsonl").read_text().splitlines()]
    evaluation = json.loads((made / "evaluation.json").read_text())
    begun = datetime.fromisoformat(json.loads((made / "manifest.json").read_text())["started"]).timestamp()
    expected, time = [], begun
    for line in lines:
        time += line["seconds"]
        expected += [(time, line["step"], name, line[name]) for name in ("loss", "learning_rate")]
        expected += [
            (time, line["step"], f"{part}/{name}", line[part][name])
            for part in ("training", "validation")
            for name in ("clean_accuracy", "robust_accuracy")
        ]
    last = (time, lines[-1]["step"])
    expected.append((*last, "evaluation/test/clean_accuracy", evaluation["clean_accuracy"]))
    for name, told in evaluation["attacks"].items():
        plain = name.replace(",", "_").replace("=", "_")
        expected.append((*last, f"evaluation/test/{plain}/robust_accuracy", told["robust_accuracy"]))
    assert [one[1:3] for one in found] == [one[1:3] for one in expected]
    assert [one[0] for one in found] == pytest.approx([one[0] for one in expected], abs=1e-6)
    assert [one[3] for one in found] == pytest.approx([one[3] for one in expected], rel=1e-6)
    assert [one[1] for one in found[:12]] == [20] * 6 + [40] * 6


def test_a_second_report_leaves_one_file_of_the_same_bytes(made):
    first = atentdsl.report(made, examples=False).events.read_bytes()
    again = atentdsl.report(made, examples=False).events
    assert again.read_bytes() == first
    assert list(again.parent.iterdir()) == [again]


def test_numbers_that_are_not_finite_are_left_out(made):
    lines = (made / "metrics.jsonl").read_text().splitlines()
    line = {**json.loads(lines[0]), "loss": float("nan")}
    (made / "metrics.jsonl").write_text(json.dumps(line) + "\n" + lines[1] + "\n")
    tags = [(step, tag) for _, step, tag, _ in events(atentdsl.report(made, examples=False).events)]
    assert (20, "loss") not in tags
    assert (40, "loss") in tags


def test_without_the_library_the_page_is_written_and_the_mend_is_said(made, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert command(["report", str(made), "--no-examples"]) == 0
    out = capsys.readouterr()
    assert out.err == "no TensorBoard events: pip install 'atentdsl[tensorboard]'\n"
    assert (made / "report.html").is_file()
    assert not (made / "tensorboard").exists()
