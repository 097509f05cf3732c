"""MNIST from tiny files in its own format, read by torchvision itself; the real ones where ATENTDSL_DATA has them."""

import gzip
import os
import socket
import sys
from pathlib import Path

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


@pytest.fixture
def raw(tmp_path):
    return written(tmp_path, contents())


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
    written(root, [train_x, train_y, test_x, test_y])
    arrays = datasets.load("mnist", root)
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
def test_a_file_cut_short_is_named(tmp_path_factory, name, data):
    raw = written(tmp_path_factory.mktemp("root"), contents(3, 2))
    whole = (raw / name).read_bytes()
    (raw / name).write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataMissing) as caught:
        datasets.load("mnist", raw.parents[1])
    assert f"MNIST is damaged: {raw / name} " in caught.value.missing
    assert "undamaged copy" in caught.value.put


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
    with pytest.raises(DataMissing) as caught:
        datasets.load("mnist", raw.parents[1])
    assert str(raw / name) in caught.value.missing
    assert damage in caught.value.missing


@pytest.mark.parametrize(
    ("changes", "name", "damage"),
    [
        ({0: np.zeros((12, 27, 28))}, NAMES[0], "27 x 28, not 28 x 28"),
        ({2: np.zeros((5, 1, 1))}, NAMES[2], "1 x 1, not 28 x 28"),
        ({1: np.zeros(11)}, NAMES[1], "11 labels for 12 images"),
        ({2: np.zeros((0, 28, 28)), 3: np.zeros(0)}, NAMES[2], "holds nothing"),
        ({1: np.zeros(0)}, NAMES[1], "holds nothing"),
        ({3: np.full(5, 10)}, NAMES[3], "the label 10"),
    ],
)
def test_files_that_are_not_mnists_are_named(tmp_path, changes, name, damage):
    raw = written(tmp_path, [changes.get(place, array) for place, array in enumerate(contents())])
    with pytest.raises(DataMissing) as caught:
        datasets.load("mnist", tmp_path)
    assert str(raw / name) in caught.value.missing
    assert damage in caught.value.missing


def test_what_torchvision_cannot_read_is_no_crash(raw):
    """It prefers files of its own older format where they lie beside the others."""
    (raw.parent / "processed").mkdir()
    for name in ("training.pt", "test.pt"):
        (raw.parent / "processed" / name).write_bytes(b"no tensors")
    with pytest.raises(DataMissing, match="cannot be read by torchvision"):
        datasets.load("mnist", raw.parents[1])


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
