"""CIFAR-10 from tiny files in its formats, whose hashes stand in for the published; the real ones where they are."""

import contextlib
import hashlib
import io
import json
import os
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import PIL.Image
import pytest
import torch

import atentdsl
from atentdsl.cli.tables import evaluation_table
from atentdsl.runtime import datasets, roots
from atentdsl.runtime.datasets import cifar10
from atentdsl.runtime.errors import DataMissing

NAMES = [Path(name).name for name in cifar10.FILES]


# What the two formats hold


def text(value):
    """A Python 2 string in a pickle."""
    return b"U" + bytes([len(value)]) + value.encode()


def batch(pixels, labels):
    """A pickle as Python 2 writes it (protocol 2): a dictionary of a label, labels, an array of bytes, file names."""
    raw = np.asarray(pixels, dtype=np.uint8)
    shape = b"".join(b"M" + size.to_bytes(2, "little") for size in raw.shape)
    dtype = b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text("b") + b"\x87R"
    array += b"(K\x01" + shape + b"\x86" + dtype + b"\x89T" + raw.nbytes.to_bytes(4, "little") + raw.tobytes() + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    held = {"batch_label": text("a batch"), "labels": numbers, "data": array, "filenames": b"]"}
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in held.items()) + b"u."


def contents(count=3, seed=0):
    """Of each of the six batches: rows of a channel after another, a channel's pixels row by row, and labels."""
    draw = np.random.default_rng(seed)
    return [(draw.integers(0, 256, (count + i, 3072)), draw.integers(0, 10, count + i).tolist()) for i in range(6)]


def written(root, arrays):
    folder = root / cifar10.FOLDER
    folder.mkdir(parents=True)
    for name, (pixels, labels) in zip(NAMES, arrays, strict=True):
        (folder / name).write_bytes(batch(pixels, labels))
    return folder


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def published(folder):
    """Within it the batches of this folder, as they are now, are the ones that were published."""
    with mock.patch.dict(cifar10.MD5, {name: md5(folder.parent / name) for name in cifar10.FILES}):
        yield folder


@pytest.fixture
def batches(tmp_path):
    with published(written(tmp_path, contents())) as folder:
        yield folder


def image(seed, quality=75, size=(32, 32), mode="RGB"):
    """A smooth picture as JPEG, and its pixels as they are decoded."""
    draw = np.random.default_rng(seed)
    small = PIL.Image.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(
        size, PIL.Image.Resampling.BILINEAR
    )
    file = io.BytesIO()
    small.convert(mode).save(file, "JPEG", quality=quality)
    return file.getvalue(), np.asarray(PIL.Image.open(file))


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Two training files and one test file of each class."""
    monkeypatch.setattr(cifar10, "COUNTS", {"train": 2, "test": 1})
    folder = tmp_path / cifar10.COPIES
    for split, count in cifar10.COUNTS.items():
        for label, name in enumerate(cifar10.LABELS):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                (folder / split / name / f"{i:04}.jpg").write_bytes(image(100 * label + i + 50 * (split == "test"))[0])
    return folder


def refused(root):
    """What is said of what is damaged."""
    with pytest.raises(DataMissing) as caught:
        datasets.load("cifar10", root)
    assert "in its place" in caught.value.put or "in their place" in caught.value.put
    assert "`atentdsl run recipes/atent_linf.toml`" in str(caught.value)
    return caught.value.missing


def test_the_classes_are_in_the_published_order_which_is_the_alphabets():
    assert list(cifar10.LABELS) == sorted(cifar10.LABELS)
    assert len(set(cifar10.LABELS)) == cifar10.CLASSES


def test_the_hashes_are_those_that_torchvision_compares():
    from torchvision.datasets import CIFAR10

    assert {f"{CIFAR10.base_folder}/{name}": md5 for name, md5 in CIFAR10.train_list + CIFAR10.test_list} == cifar10.MD5


# The published batches


def test_what_is_in_the_batches_is_what_is_loaded(batches):
    arrays = datasets.load("cifar10", batches.parent)
    assert cifar10.damages(batches.parent) == []
    held = contents()
    for images, parts in ((arrays.training(), held[:5]), (arrays.test(), held[5:])):
        assert (images.x.dtype, images.y.dtype, images.classes) == (torch.uint8, torch.int64, 10)
        assert images.shape == (3, 32, 32)
        assert images.name is None
        assert np.array_equal(images.x.flatten(1).numpy(), np.concatenate([pixels for pixels, _ in parts]))
        assert images.y.tolist() == [label for _, labels in parts for label in labels]


def test_torchvision_reads_the_same_from_them(batches, monkeypatch):
    """What is made here is read as the published batches are."""
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(CIFAR10, "_load_meta", lambda self: None)
    arrays = datasets.load("cifar10", batches.parent)
    for train, images in ((True, arrays.training()), (False, arrays.test())):
        theirs = CIFAR10(batches.parent, train=train)
        assert np.array_equal(images.x.permute(0, 2, 3, 1).numpy(), theirs.data)
        assert images.y.tolist() == theirs.targets


def test_batches_win_over_copies_and_one_of_them_is_enough_to_be_meant(batches, copies):
    root = batches.parent
    assert copies.parent == root
    assert datasets.load("cifar10", root).name is None
    for name in NAMES[1:]:
        (batches / name).unlink()
    with pytest.raises(DataMissing, match="5 of its files are not there"):
        datasets.load("cifar10", root)
    (batches / NAMES[0]).unlink()
    assert datasets.load("cifar10", root).name == "CIFAR-10 (JPEG q75)"


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_cut_short_or_changed_is_named_with_both_hashes_and_not_unpickled(batches, name):
    path, expected = batches / name, md5(batches / name)
    whole = path.read_bytes()
    for content, seen in (
        (whole[:-10], f"ends in the middle, after {len(whole) - 10} bytes; it has"),
        (b"", "ends in the middle, after 0 bytes; it has"),
        (b"cbuiltins\nexit\n(I7\ntR.", "has"),
        (whole.replace(b"a batch", b"a botch"), "has"),
    ):
        path.write_bytes(content)
        said = f"CIFAR-10 is damaged: {path} {seen} md5 {md5(path)}, expected {expected}"
        assert refused(batches.parent) == said
        assert [error.missing for error in cifar10.damages(batches.parent)] == [said]


def test_a_missing_batch_is_named_with_what_to_put_where(batches):
    (batches / NAMES[2]).unlink()
    assert cifar10.missing(batches.parent) == [f"{cifar10.FOLDER}/data_batch_3"]
    with pytest.raises(DataMissing) as caught:
        datasets.load("cifar10", batches.parent)
    said = str(caught.value)
    assert f"CIFAR-10 is not in {batches.parent} (the folder given): {cifar10.FOLDER}/data_batch_3 is not there" in said
    assert f"unpacked, into {batches}: {', '.join(NAMES)}" in said
    assert f"or copies as {batches.parent}/cifar10-jpeg/train/airplane/0000.jpg" in said
    assert "--data-root" in said
    assert roots.VARIABLE in said
    assert "`atentdsl run recipes/atent_linf.toml`" in said


def test_nothing_is_written_into_a_folder_of_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "DOWNLOAD", [sys.executable, "-c", "raise SystemExit('must not be run')"])
    monkeypatch.setenv(roots.VARIABLE, str(tmp_path / "mine"))
    with pytest.raises(DataMissing) as caught:
        datasets.load("cifar10")
    assert (
        caught.value.missing == f"CIFAR-10 is not in {tmp_path}/mine ({roots.VARIABLE}): 6 of its files are not there"
    )
    assert not (tmp_path / "mine").exists()


def test_a_download_fills_the_cache_once_and_one_that_fails_says_why(tmp_path, batches, monkeypatch, capfd):
    monkeypatch.delenv(roots.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar10, "DOWNLOAD", [sys.executable, "-c", "raise SystemExit('no route')"])
    with pytest.raises(DataMissing, match=r"\(the cache\): 6 of its files are not there, and could not .*: no route"):
        datasets.load("cifar10")
    copy = f"import shutil, sys; shutil.copytree({str(batches)!r}, sys.argv[1] + '/cifar-10-batches-py')"
    monkeypatch.setattr(cifar10, "DOWNLOAD", [sys.executable, "-c", copy])
    first = datasets.load("cifar10").training().digest()
    assert "downloading CIFAR-10" in capfd.readouterr().err
    monkeypatch.setattr(cifar10, "DOWNLOAD", [sys.executable, "-c", "raise SystemExit('must not be run')"])
    assert datasets.load("cifar10").training().digest() == first
    assert capfd.readouterr().err == ""


# JPEG copies


def test_copies_are_loaded_by_class_and_by_name(copies):
    (copies / ".DS_Store").write_bytes(b"")
    (copies / "train" / ".hidden").mkdir()
    (copies / "train" / "cat" / "Thumbs.db").write_bytes(b"")
    arrays = datasets.load("cifar10", copies.parent)
    assert cifar10.damages(copies.parent) == []
    for images, count, offset in ((arrays.training(), 2, 0), (arrays.test(), 1, 50)):
        assert (images.x.dtype, images.y.dtype, images.classes) == (torch.uint8, torch.int64, 10)
        assert images.y.tolist() == [label for label in range(10) for _ in range(count)]
        expected = [image(100 * label + i + offset)[1] for label in range(10) for i in range(count)]
        assert np.array_equal(images.x.permute(0, 2, 3, 1).numpy(), np.stack(expected))
        assert images.x.is_contiguous()


def test_torchvision_decodes_the_same_and_gives_the_same_labels(copies):
    from torchvision.datasets import ImageFolder

    arrays = datasets.load("cifar10", copies.parent)
    for split, x, y in (("train", arrays.train_x, arrays.train_y), ("test", arrays.test_x, arrays.test_y)):
        theirs = ImageFolder(copies / split)
        assert theirs.targets == y.tolist()
        assert all(np.array_equal(np.asarray(theirs[i][0]), x[i].permute(1, 2, 0).numpy()) for i in range(len(y)))


@pytest.mark.parametrize(
    ("qualities", "name"),
    [((75, 75), "CIFAR-10 (JPEG q75)"), ((90, 90), "CIFAR-10 (JPEG q90)"), ((75, 90), "CIFAR-10 (JPEG)")],
)
def test_the_name_says_the_quality_where_all_copies_have_one(copies, qualities, name):
    for i, path in enumerate(sorted(copies.rglob("*.jpg"))):
        path.write_bytes(image(i, quality=qualities[i % 2])[0])
    arrays = datasets.load("cifar10", copies.parent)
    assert arrays.name == arrays.training().name == arrays.test().to("cpu").name == name


def test_a_run_on_copies_says_so_wherever_it_says_what_it_ran_on(copies, tmp_path, monkeypatch, capsys):
    from atentdsl.cli import run

    overrides = ["data.batch=4", 'evaluate.attacks=["pgd-1"]', 'model.name="mlp"', "data.validation=0.5"]
    made = atentdsl.train(
        "cifar10/sgd", overrides=overrides, data_root=copies.parent, out=tmp_path / "runs", max_steps=1, quiet=True
    )
    assert json.loads((made.path / "manifest.json").read_text())["data"] == "CIFAR-10 (JPEG q75)"
    assert json.loads((made.path / "evaluation.json").read_text())["data"] == "CIFAR-10 (JPEG q75)"
    again = atentdsl.evaluate(made, split="validation", data_root=copies.parent)
    assert again["data"] == "CIFAR-10 (JPEG q75)"
    assert evaluation_table("mine", again).startswith("mine, 10 validation images of CIFAR-10 (JPEG q75)\n")
    assert run(["runs", "list", str(tmp_path / "runs")]) == 0
    assert "of CIFAR-10 (JPEG q75)" in " ".join(capsys.readouterr().out.split())


def test_a_run_on_the_published_batches_has_no_name_but_the_data_sets(tmp_path):
    with published(written(tmp_path, [(pixels, [0, 1, 2] * 4) for pixels, _ in ((np.zeros((12, 3072)), 0),) * 6])):
        overrides = ["data.batch=4", 'evaluate.attacks=["pgd-1"]', 'model.name="mlp"']
        made = atentdsl.train(
            "cifar10/sgd", overrides=overrides, data_root=tmp_path, out=tmp_path / "runs", max_steps=1, quiet=True
        )
    assert json.loads((made.path / "manifest.json").read_text())["data"] == "cifar10"
    assert "data" not in made.evaluation


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "cannot be read: image file is truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "cannot be read: "),
        (lambda path: path.write_bytes(b""), "is no JPEG file"),
        (lambda path: path.write_bytes(b"<html>404</html>"), "is no JPEG file"),
        (lambda path: path.write_bytes(image(0, size=(31, 32))[0]), "has 31 x 32 pixels in RGB, not 32 x 32 in RGB"),
        (lambda path: path.write_bytes(image(0, mode="L")[0]), "has 32 x 32 pixels in L, not 32 x 32 in RGB"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
    ],
)
def test_a_damaged_copy_is_named(copies, change, said):
    path = copies / "train" / "deer" / "0001.jpg"
    change(path)
    assert refused(copies.parent).startswith(f"CIFAR-10 is damaged: {path} {said}")


def test_a_copy_that_is_cut_short_anywhere_is_refused(tmp_path):
    whole, _ = image(1)
    for end in range(len(whole)):
        (tmp_path / "cut.jpg").write_bytes(whole[:end])
        with pytest.raises(DataMissing, match=r"is no JPEG file|cannot be read"):
            cifar10._image(tmp_path / "cut.jpg")


def test_a_picture_in_another_format_is_no_jpeg(copies):
    path = copies / "test" / "ship" / "0000.jpg"
    PIL.Image.fromarray(image(0)[1]).save(path, "PNG")
    assert refused(copies.parent) == f"CIFAR-10 is damaged: {path} is no JPEG file"


@pytest.mark.parametrize("extra", [True, False])
def test_a_class_with_too_many_or_too_few_files_is_named(copies, extra):
    folder = copies / "test" / "frog"
    if extra:
        (folder / "0001.jpg").write_bytes(image(0)[0])
    else:
        (folder / "0000.jpg").unlink()
    said = refused(copies.parent)
    assert said == f"CIFAR-10 is damaged: {folder} holds {2 * extra} .jpg files, not 1"
    assert [error.missing for error in cifar10.damages(copies.parent)] == [said]


def test_a_folder_that_is_no_class_is_named(copies):
    (copies / "train" / "automobile").rename(copies / "train" / "car")
    said = refused(copies.parent)
    assert said.startswith(
        f"CIFAR-10 is damaged: {copies}/train/car is no class of CIFAR-10; its classes are airplane, "
    )
    assert [error.missing for error in cifar10.damages(copies.parent)] == [said]


@pytest.mark.parametrize("gone", ["test", "train/truck"])
def test_a_folder_that_is_not_there_is_named(copies, gone):
    (copies / gone).rename(copies.parent / "elsewhere")
    assert refused(copies.parent) == f"CIFAR-10 is damaged: {copies / gone} cannot be read: No such file or directory"


def test_damage_says_what_has_to_be_there_and_is_exit_code_3(copies, tmp_path, monkeypatch, capsys):
    from atentdsl.cli import run

    monkeypatch.chdir(tmp_path)
    (copies / "train" / "cat" / "0000.jpg").unlink()
    assert run(["run", "cifar10/sgd", "--data-root", str(copies.parent), "--max-steps", "1"]) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "5,000 files of 32 x 32 pixels in each cifar10-jpeg/train/CLASS, and 1,000 in each cifar10-jpeg/test/CL" in said
    )
    assert not (tmp_path / "runs").exists()


# The real files


def real(folder):
    root = os.environ.get(roots.VARIABLE)
    if not root or not (Path(root) / folder).exists():
        pytest.skip(f"{roots.VARIABLE} names no folder with {folder} in it")
    return Path(root)


def test_the_real_batches():
    arrays = datasets.load("cifar10", real(cifar10.FILES[0]))
    assert (tuple(arrays.train_x.shape), tuple(arrays.test_x.shape)) == ((50000, 3, 32, 32), (10000, 3, 32, 32))
    assert arrays.name is None
    # As published: the first labels, and as many images of each class.
    assert arrays.train_y[:5].tolist() == [6, 9, 9, 4, 1]
    assert arrays.test_y[:5].tolist() == [3, 8, 8, 0, 6]
    assert arrays.train_y.bincount().tolist() == [5000] * 10
    assert arrays.test_y.bincount().tolist() == [1000] * 10


def test_the_real_copies():
    root = real(cifar10.COPIES)
    if len(cifar10.missing(root)) < len(cifar10.FILES):
        pytest.skip(f"{cifar10.FOLDER} is there too, and is taken")
    arrays = datasets.load("cifar10", root)
    assert (tuple(arrays.train_x.shape), tuple(arrays.test_x.shape)) == ((50000, 3, 32, 32), (10000, 3, 32, 32))
    assert arrays.name.startswith("CIFAR-10 (JPEG")
    assert arrays.train_y.bincount().tolist() == [5000] * 10
    assert arrays.test_y.bincount().tolist() == [1000] * 10
    # Of the published training images; JPEG keeps a channel's mean.
    mean = arrays.train_x.sum((0, 2, 3), dtype=torch.int64) / (255 * 50000 * 32 * 32)
    assert mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-3)
