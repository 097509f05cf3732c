import gzip
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from atentdsl.runtime import datasets
from atentdsl.runtime.datasets import digits


def test_names_are_the_files_of_the_folder():
    files = {path.stem for path in Path(datasets.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(datasets.names()) == files
    assert list(datasets.names()) == sorted(datasets.names())


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown data set 'digit'; known: .*digits"):
        datasets.load("digit")


def test_what_is_said_without_the_files_is_what_is_in_them():
    arrays, said = datasets.load("digits"), datasets.description("digits")
    assert (said.shape, said.classes, said.training) == (tuple(arrays.train_x.shape[1:]), arrays.classes, 1438)
    assert len(arrays.training()) == said.training
    assert datasets.description("mnist") == datasets.Description((1, 28, 28), 10, 60_000, tuple("0123456789"))
    photographs = datasets.description("cifar10")
    assert photographs == datasets.Description((3, 32, 32), 10, 50_000, photographs.labels)
    assert photographs.labels[::9] == ("airplane", "truck")
    for name in datasets.names():
        assert datasets.description(name).training > 0


def test_an_unknown_data_set_has_no_description():
    with pytest.raises(ValueError, match="unknown data set 'digit'"):
        datasets.description("digit")


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits  # here, as it takes two seconds in every process that collects the tests

    arrays, published = datasets.load("digits"), load_digits()
    assert arrays.classes == 10
    for x, y in ((arrays.train_x, arrays.train_y), (arrays.test_x, arrays.test_y)):
        assert (x.dtype, y.dtype) == (torch.uint8, torch.int64)
        assert tuple(x.shape) == (len(y), 1, 8, 8)

    def rows(pixels, labels):
        return sorted(
            (int(label), tuple(image.flatten().tolist())) for image, label in zip(pixels, labels, strict=True)
        )

    # Back to 0..16: exact, since the levels lie 16 apart.
    made = [
        (np.rint(x.numpy().astype(int) * 16 / 255).astype(int), y)
        for x, y in ((arrays.train_x, arrays.train_y), (arrays.test_x, arrays.test_y))
    ]
    both = [np.concatenate([part[i] for part in made]) for i in range(2)]
    assert rows(*both) == rows(published.images.astype(int), published.target)
    levels = torch.cat([arrays.train_x, arrays.test_x]).unique().tolist()
    assert levels == [round(v * 255 / 16) for v in range(17)]


def test_a_fifth_of_each_class_of_digits_is_for_the_test():
    arrays = datasets.load("digits")
    for label in range(10):
        test, all_of_it = (int((y == label).sum()) for y in (arrays.test_y, torch.cat([arrays.train_y, arrays.test_y])))
        assert test == round(all_of_it / 5)


def test_the_split_of_digits_is_the_published_one_whatever_the_seed():
    torch.manual_seed(1)
    np.random.seed(1)
    once = datasets.load("digits")
    torch.manual_seed(2)
    np.random.seed(2)
    again = datasets.load("digits")
    assert once.training().digest() == again.training().digest()
    # A changed digest makes every published number of this data set a number of another one.
    assert once.training().digest() == "f7f43813ff95b5d936e22762724b6ba311c0e367ece0125e50ba0ee66d17f10e"
    assert once.test().digest() == "2443b2383742f4903a9d375c56d38a14649c5e8a0bbaf5b374a7d7163639d1f3"


# Every file that is tried in the place of scikit-learn's is loaded by one process, since its import takes seconds.
TRY = """
import json, pathlib, sys
from atentdsl.runtime import datasets, errors
place, said = pathlib.Path(sys.argv[1]), {}
for path in sorted(pathlib.Path(sys.argv[2]).iterdir()):
    place.write_bytes(path.read_bytes())
    try:
        said[path.name] = str(len(datasets.load("digits").test_y))
    except errors.DataMissing as error:
        said[path.name] = str(error)
place.unlink()
try:
    datasets.load("digits")
except errors.DataMissing as error:
    said["no file"] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def place_and_said(tmp_path_factory):
    """scikit-learn by links, but for its digits; where they are, and what is said of each file that is put there."""
    folder = tmp_path_factory.mktemp("site")
    real, copy = Path(importlib.util.find_spec("sklearn").origin).parent, folder / "sklearn"
    place = copy / "datasets/data/digits.csv.gz"
    made = [copy, copy / "datasets", copy / "datasets/data"]
    for target in made:
        target.mkdir()
        for path in (real / target.relative_to(copy)).iterdir():
            if target / path.name not in [*made, place]:
                (target / path.name).symlink_to(path)
    for libraries in real.parent.glob("scikit_learn.libs"):
        (folder / libraries.name).symlink_to(libraries)
    packed = (real / place.relative_to(copy)).read_bytes()
    text = gzip.decompress(packed)
    tried = {
        "packed anew": gzip.compress(text, compresslevel=1),
        "a pixel": gzip.compress(text.replace(b",13,", b",12,", 1)),
        "a part of a dot": gzip.compress(text.replace(b",13,", b",13.25,", 1)),
        "a label": gzip.compress(text.replace(b"0\n", b"7\n", 1)),
        "without the last": gzip.compress(text[: text.rindex(b"\n", 0, -1) + 1]),
        "cut short": packed[:-2000],
        "empty": b"",
        "a page": b"<html>404</html>",
    }
    (folder / "tried").mkdir()
    for name, content in tried.items():
        (folder / "tried" / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", TRY, place, folder / "tried"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place, json.loads(done.stdout)


@pytest.mark.parametrize("changed", ["a pixel", "a part of a dot", "a label", "without the last"])
def test_digits_that_were_changed_are_refused_with_both_hashes(place_and_said, changed):
    place, said = place_and_said
    found = re.fullmatch(
        rf"scikit-learn's digits are damaged: {re.escape(str(place))} has digits of sha256 (\w{{64}}), "
        rf"expected {digits.SHA256}",
        said[changed].splitlines()[0],
    )
    assert found
    assert found[1] != digits.SHA256


@pytest.mark.parametrize("broken", ["cut short", "empty", "a page", "no file"])
def test_digits_that_cannot_be_read_are_refused(place_and_said, broken):
    place, said = place_and_said
    assert said[broken].startswith(f"scikit-learn's digits are damaged: {place} ")
    assert "by installing scikit-learn anew" in said[broken]


def test_digits_packed_anew_are_the_same_digits(place_and_said):
    assert place_and_said[1]["packed anew"] == "359"
