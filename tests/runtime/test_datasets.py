from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from atentdsl.runtime import datasets


def test_names_are_the_files_of_the_folder():
    files = {path.stem for path in Path(datasets.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(datasets.names()) == files
    assert list(datasets.names()) == sorted(datasets.names())


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown data set 'digit'; known: .*digits"):
        datasets.load("digit")


def test_digits_are_those_of_scikit_learn():
    arrays = datasets.load("digits")
    published = load_digits()
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
