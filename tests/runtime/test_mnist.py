"""MNIST from tiny files in its own format, whose hashes stand in for the published; the real ones where they are."""

import contextlib
import gzip
import hashlib
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atentdsl.runtime import datasets, roots
from atentdsl.runtime.datasets import mnist
from atentdsl.runtime.errors import DataMissing

NAMES = [Path(name).name for name in mnist.FILES]


def idx(array):
    """An array of bytes as an IDX file (LeCun): 0, 0, 8 for bytes, the dimensions, their sizes, the bytes."""
    array = np.asarray(array, dtype=np.uint8)
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def contents(training=12, test=5, side=28, seed=0):
    draw = np.random.default_rng(seed)
    made = []
    for count in (training, test):
        made += [draw.integers(0, 256, (count, side, side)), draw.integers(0, 10, count)]
    return made


def written(root, arrays):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, array in zip(NAMES, arrays, strict=True):
        (raw / name).write_bytes(idx(array))
    return raw


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def published(raw):
    """Within it the files of this folder, as they are now, are the ones that were published."""
    with mock.patch.dict(mnist.SHA256, {f"MNIST/raw/{name}": sha256(raw / name) for name in NAMES}):
        yield raw


def refused(raw):
    """What is said of damaged files; `load` and `damages` say the same."""
    with pytest.raises(DataMissing) as caught:
        datasets.load("mnist", raw.parents[1])
    assert str(caught.value) == str(mnist.damages(raw.parents[1])[0])
    assert "undamaged copy" in caught.value.put
    return caught.value.missing


@pytest.fixture
def raw(tmp_path):
    with published(written(tmp_path, contents())) as raw:
        yield raw


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty cache, and a proxy that refuses every connection of a child process."""
    monkeypatch.delenv(roots.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
    for variable in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "cache" / "atentdsl"


@settings(max_examples=25)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_what_is_in_the_files_is_what_is_loaded(tmp_path_factory, training, test, seed):
    root = tmp_path_factory.mktemp("root")
    train_x, train_y, test_x, test_y = contents(training, test, seed=seed)
    with published(written(root, [train_x, train_y, test_x, test_y])):
        arrays = datasets.load("mnist", root)
        assert mnist.damages(root) == []
    for images, x, y in ((arrays.training(), train_x, train_y), (arrays.test(), test_x, test_y)):
        assert (images.x.dtype, images.y.dtype, images.classes) == (torch.uint8, torch.int64, 10)
        assert images.shape == (1, 28, 28)
        assert np.array_equal(images.x[:, 0].numpy(), x)
        assert np.array_equal(images.y.numpy(), y)


def test_the_root_is_the_environments_where_none_is_given(raw, no_network, monkeypatch):
    monkeypatch.setenv(roots.VARIABLE, str(raw.parents[1]))
    assert len(datasets.load("mnist").training()) == 12
    other = raw.parents[1] / "other"
    with pytest.raises(DataMissing) as caught:
        datasets.load("mnist", other)
    assert f"{other} (the folder given)" in caught.value.missing


@pytest.mark.parametrize("source", ["the folder given", roots.VARIABLE])
def test_nothing_is_written_into_a_folder_of_the_users(tmp_path, no_network, monkeypatch, source):
    root = tmp_path / "mine"
    monkeypatch.setattr(mnist, "DOWNLOAD", [sys.executable, "-c", "raise SystemExit('must not be run')"])
    monkeypatch.setenv(roots.VARIABLE, str(root))
    with pytest.raises(DataMissing) as caught:
        datasets.load("mnist", root if source == "the folder given" else None)
    assert caught.value.missing == f"MNIST is not in {root} ({source}): 4 of its files are not there"
    assert not root.exists()


def test_the_message_says_what_to_put_where_and_what_to_run_instead(raw):
    (raw / NAMES[2]).unlink()
    with pytest.raises(DataMissing) as caught:
        datasets.load("mnist", raw.parents[1])
    said = str(caught.value)
    assert f"MNIST/raw/{NAMES[2]} is not there" in said
    assert f"unpacked, into {raw}: {', '.join(NAMES)}" in said
    assert "--data-root" in said
    assert roots.VARIABLE in said
    assert "`atentdsl run recipes/atent_linf.toml`" in said
    assert said.count("\n") == 2


def test_without_a_network_the_cache_stays_empty_and_the_message_says_why(no_network, capfd):
    with pytest.raises(DataMissing) as caught:
        datasets.load("mnist")
    assert f"MNIST is not in {no_network} (the cache)" in caught.value.missing
    assert "could not be downloaded" in caught.value.missing
    assert "refused" in caught.value.missing
    assert f"into {no_network}/MNIST/raw" in caught.value.put
    assert list(no_network.iterdir()) == []
    assert capfd.readouterr() == ("", f"downloading MNIST into {no_network}\n")


def test_a_download_fills_the_cache_once(no_network, raw, monkeypatch, capfd):
    copy = f"import shutil, sys; shutil.copytree({str(raw)!r}, sys.argv[1] + '/MNIST/raw')"
    monkeypatch.setattr(mnist, "DOWNLOAD", [sys.executable, "-c", copy])
    first = datasets.load("mnist").training().digest()
    assert sorted(path.name for path in (no_network / "MNIST/raw").iterdir()) == sorted(NAMES)
    assert "downloading" in capfd.readouterr().err
    monkeypatch.setattr(mnist, "DOWNLOAD", [sys.executable, "-c", "raise SystemExit('must not be run')"])
    assert datasets.load("mnist").training().digest() == first
    assert capfd.readouterr().err == ""


def test_a_cache_that_lacks_one_file_is_filled(no_network, raw, monkeypatch):
    cached = written(no_network, contents(seed=1))
    (cached / NAMES[3]).unlink()
    copy = f"import shutil, sys; shutil.copytree({str(raw)!r}, sys.argv[1] + '/MNIST/raw')"
    monkeypatch.setattr(mnist, "DOWNLOAD", [sys.executable, "-c", copy])
    assert datasets.load("mnist").training().digest() == datasets.load("mnist", raw.parents[1]).training().digest()


# Damage


@settings(max_examples=40)
@given(st.sampled_from(NAMES), st.data())
def test_a_file_cut_short_is_named_with_what_was_announced_and_both_hashes(tmp_path_factory, name, data):
    with published(written(tmp_path_factory.mktemp("root"), contents(3, 2))) as raw:
        whole, expected = (raw / name).read_bytes(), sha256(raw / name)
        cut = data.draw(st.integers(0, len(whole) - 1))
        (raw / name).write_bytes(whole[:cut])
        said = refused(raw)
    header = 16 if "images" in name else 8
    why = f"holds {cut} bytes, and its header announces {len(whole)}" if cut >= header else "is no IDX file of bytes"
    assert said.startswith(f"MNIST is damaged: {raw / name} {why}")
    assert said.endswith(f"; it has sha256 {sha256(raw / name)}, expected {expected}")


@settings(max_examples=100)
@given(st.sampled_from(NAMES), st.data())
def test_one_flipped_bit_anywhere_is_found(tmp_path_factory, name, data):
    with published(written(tmp_path_factory.mktemp("root"), contents(3, 2))) as raw:
        content, expected = bytearray((raw / name).read_bytes()), sha256(raw / name)
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        (raw / name).write_bytes(content)
        said = refused(raw)
    assert said.startswith(f"MNIST is damaged: {raw / name} ")
    assert said.endswith(f"has sha256 {sha256(raw / name)}, expected {expected}")


def test_every_damaged_file_is_listed_and_those_that_are_not_there_are_not(raw):
    for name in NAMES[1:]:
        (raw / name).write_bytes((raw / name).read_bytes()[:-1])
    (raw / NAMES[2]).unlink()
    assert mnist.missing(raw.parents[1]) == [f"MNIST/raw/{NAMES[2]}"]
    said = [error.missing.split()[3] for error in mnist.damages(raw.parents[1])]
    assert said == [str(raw / NAMES[1]), str(raw / NAMES[3])]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("change", "damage"),
    [
        (lambda whole: whole + b"\0", "and its header announces"),
        (gzip.compress, "is no IDX file of bytes"),
        (lambda whole: b"\0\0\x0d" + whole[3:], "is no IDX file of bytes"),
        (lambda whole: b"", "is no IDX file of bytes"),
        (lambda whole: b"<html>404</html>" * 9, "is no IDX file of bytes"),
        (lambda whole: whole[:4] + b"\xff\xff\xff\xff" + whole[8:], "and its header announces"),
    ],
)
def test_a_file_that_is_another_is_named(raw, name, change, damage):
    (raw / name).write_bytes(change((raw / name).read_bytes()))
    said = refused(raw)
    assert str(raw / name) in said
    assert damage in said
    assert f"it has sha256 {sha256(raw / name)}, expected {mnist.SHA256[f'MNIST/raw/{name}']}" in said


@pytest.mark.parametrize(
    ("place", "array", "damage"),
    [
        (0, np.zeros((12, 27, 28)), "has images of 27 x 28, not 28 x 28; it has"),
        (2, np.zeros((5, 1, 1)), "has images of 1 x 1, not 28 x 28; it has"),
        (2, np.zeros((0, 28, 28)), "holds nothing; it has"),
        (1, np.zeros(0), "holds nothing; it has"),
        (3, np.full(5, 10), "has the label 10, and MNIST's are 0 to 9; it has"),
        (1, np.zeros(11), "has"),
        (0, np.zeros((12, 28, 28)), "has"),
    ],
)
def test_files_that_are_not_mnists_are_named(raw, place, array, damage):
    (raw / NAMES[place]).write_bytes(idx(array))
    said = refused(raw)
    assert said.startswith(f"MNIST is damaged: {raw / NAMES[place]} {damage} sha256 ")


def test_nothing_but_the_four_files_is_read(raw):
    """Files of torchvision's older format, which it would prefer, have no hash that was published."""
    before = datasets.load("mnist", raw.parents[1]).training().digest()
    (raw.parent / "processed").mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3)), raw.parent / "processed" / name)
    assert datasets.load("mnist", raw.parents[1]).training().digest() == before


def test_a_folder_in_a_files_place_is_a_missing_file(raw):
    (raw / NAMES[0]).unlink()
    (raw / NAMES[0]).mkdir()
    with pytest.raises(DataMissing, match=f"{NAMES[0]} is not there"):
        datasets.load("mnist", raw.parents[1])


def test_a_damaged_file_is_exit_code_3(raw, tmp_path, monkeypatch, capsys):
    from atentdsl.cli import run

    monkeypatch.chdir(tmp_path)
    (raw / NAMES[3]).write_bytes((raw / NAMES[3]).read_bytes()[:-1])
    assert run(["run", "mnist/sgd", "--data-root", str(raw.parents[1]), "--max-steps", "1"]) == 3
    said = capsys.readouterr().err
    assert f"expected {mnist.SHA256[f'MNIST/raw/{NAMES[3]}']}" in said
    assert not (tmp_path / "runs").exists()


# The real files


@pytest.mark.parametrize(("name", "packed"), [*zip(NAMES, (848331386, 848331398, 885827245, 885827268), strict=True)])
def test_the_expected_hashes_are_those_of_the_published_archives(name, packed):
    """Packed again, with the published archive's name and time of packing, the file has the archive's MD5."""
    from torchvision.datasets import MNIST

    path = Path(os.environ.get(roots.VARIABLE) or ".") / "MNIST/raw" / name
    if not path.is_file():
        pytest.skip(f"{roots.VARIABLE} names no folder with MNIST/raw in it")
    gzip_version = subprocess.run(["gzip", "--version"], capture_output=True, text=True, check=False).stdout
    if "Free Software Foundation" not in gzip_version:
        pytest.skip("the archives were packed by GNU's gzip, and others pack otherwise")
    assert sha256(path) == mnist.SHA256[f"MNIST/raw/{name}"]
    body = subprocess.run(["gzip", "-6", "-n", "-c", path], capture_output=True, check=True).stdout[10:]
    header = b"\x1f\x8b\x08\x08" + struct.pack("<I", packed) + b"\0\x03" + name.replace("-idx", ".idx").encode() + b"\0"
    assert hashlib.md5(header + body).hexdigest() == dict(MNIST.resources)[f"{name}.gz"]


def test_the_real_ones():
    root = os.environ.get(roots.VARIABLE)
    if not root or not (Path(root) / mnist.FILES[0]).is_file():
        pytest.skip(f"{roots.VARIABLE} names no folder with MNIST/raw in it")
    arrays = datasets.load("mnist")
    assert (len(arrays.train_y), len(arrays.test_y)) == (60000, 10000)
    # As published: the first labels, and how many there are of each.
    assert arrays.train_y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert arrays.test_y.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert float(arrays.train_x.double().mean() / 255) == pytest.approx(0.1307, abs=5e-5)
    assert float(arrays.train_x.double().std() / 255) == pytest.approx(0.3081, abs=5e-5)
