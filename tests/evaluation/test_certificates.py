"""The file of certificates: torn anywhere it goes on, and it mixes nothing."""

from __future__ import annotations

import pytest

from atentdsl.evaluation.certificates import CERTIFICATES, HEADER, SETTINGS, CertificateFile
from atentdsl.evaluation.certification import Certificate, Verdict
from atentdsl.runtime import lock
from atentdsl.runtime.errors import CannotResume, RunBusy, StorageFailed

GIVEN = {"sigma": 0.25, "n": 1000, "alpha": 0.001, "split": "test"}
ONES = [
    Certificate(0, 3, Verdict(3, 100, 1000, 0.9931, 0.6154321098765432), 0.25),
    Certificate(1, 7, Verdict(5, 60, 505, 0.45, 0.0), 1.5),
    Certificate(2, 5, Verdict(5, 90, 900, 0.86, 0.27), 123.0),
]
TEXT = f"""{HEADER}
0,3,3,0.6154321098765432,1,100,1000,0.2500
1,7,-1,0.0,0,60,505,1.5000
2,5,5,0.27,1,90,900,123.0000
"""


def written(folder, settings=GIVEN):
    file = CertificateFile.open(folder, settings)
    for one in ONES[len(file.done) :]:
        file.append(one)
    file.close()
    return file


def test_a_line_holds_a_certificate_to_the_last_bit(tmp_path):
    file = written(tmp_path / "made/here")
    assert file.path.read_text() == TEXT
    assert [row["radius"] for row in file.done] == [one.verdict.radius for one in ONES]
    again = CertificateFile.open(tmp_path / "made/here", dict(reversed(GIVEN.items())))
    again.close()
    assert again.done == file.done


def test_torn_anywhere_it_goes_on_after_the_last_whole_line(tmp_path):
    """Every beginning of the file, as a process that was killed or a machine that stopped may leave it."""
    path = written(tmp_path).path
    whole = path.read_bytes()
    for left in range(len(whole) + 1):
        path.write_bytes(whole[:left])
        (tmp_path / f".{SETTINGS}.1-abcdef01.partial").write_bytes(b"half")
        file = CertificateFile.open(tmp_path, GIVEN)
        assert len(file.done) == max(0, whole[:left].count(b"\n") - 1)
        file.close()
        written(tmp_path)
        assert path.read_bytes() == whole
        assert not [*tmp_path.glob(".*.partial")]


def test_settings_alone_are_a_beginning(tmp_path):
    path = written(tmp_path).path
    path.unlink()
    assert written(tmp_path).path.read_text() == TEXT


@pytest.mark.parametrize("other", [{"sigma": 0.5}, {"alpha": 0.01}, {"split": "validation"}, {"more": 1}])
def test_other_settings_are_refused_and_named(tmp_path, other):
    written(tmp_path)
    (name,) = other
    with pytest.raises(CannotResume, match=rf"begun with {name} {GIVEN.get(name)}, not {other[name]}; .* by --out"):
        CertificateFile.open(tmp_path, GIVEN | other)
    assert (tmp_path / CERTIFICATES).read_text() == TEXT
    assert not lock.is_held(tmp_path)


@pytest.mark.parametrize("damage", ["", "[]", "{"])
def test_settings_that_cannot_be_read_are_refused(tmp_path, damage):
    written(tmp_path)
    (tmp_path / SETTINGS).write_text(damage)
    with pytest.raises(CannotResume, match="cannot be read"):
        CertificateFile.open(tmp_path, GIVEN)
    (tmp_path / SETTINGS).unlink()
    with pytest.raises(CannotResume, match="is missing"):
        CertificateFile.open(tmp_path, GIVEN)


@pytest.mark.parametrize("damage", ["index\n", "3,1\n", "2,1,1,0.1,1,9,9,0.1\n", "3,x,1,0.1,1,9,9,0.1\n", "\xff\n"])
def test_other_lines_are_not_gone_on_with(tmp_path, damage):
    path = written(tmp_path).path
    path.write_bytes(path.read_bytes() + damage.encode("latin-1"))
    with pytest.raises(CannotResume, match="other lines than certificates"):
        CertificateFile.open(tmp_path, GIVEN)
    assert path.read_bytes() == TEXT.encode() + damage.encode("latin-1")
    assert not lock.is_held(tmp_path)


def test_one_process_at_a_time(tmp_path):
    file = CertificateFile.open(tmp_path, GIVEN)
    with pytest.raises(RunBusy):
        CertificateFile.open(tmp_path, GIVEN)
    file.close()
    written(tmp_path)


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / CERTIFICATES).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed, match="by --out"):
        CertificateFile.open(tmp_path / "here", GIVEN)
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_leaves_the_lines_that_were_there(tmp_path, monkeypatch):
    import errno
    import os

    file = CertificateFile.open(tmp_path, GIVEN)
    file.append(ONES[0])
    write = os.write
    takes = [5]

    def full(descriptor: int, data: bytes) -> int:
        if not takes:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: takes.pop()])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageFailed, match="no space left"):
        file.append(ONES[1])
    monkeypatch.undo()
    file.close()
    assert file.path.read_text() == "\n".join(TEXT.split("\n")[:2]) + "\n"
    assert len(file.done) == 1
    written(tmp_path)
    assert file.path.read_text() == TEXT
