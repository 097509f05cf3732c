"""A module that is imported late is the module itself, also one that asks itself for names while it is imported."""

from __future__ import annotations

import sys

import pytest
import torch

from atentdsl.primitives import lazy

SELF_ASKING = """
import {name}
try:
    {name}.later
    raise SystemExit("it is there already")
except AttributeError:
    pass
later = 7
asked = {name}.later
"""


@pytest.fixture
def late(tmp_path, monkeypatch, request):
    """A package of its own, and what stands for it."""
    name = f"late_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(SELF_ASKING.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    yield lazy.Lazy(name)
    sys.modules.pop(name, None)


def test_it_is_imported_when_something_is_asked_of_it(late):
    assert late.__name__ not in sys.modules
    assert (late.later, late.asked) == (7, 7)
    assert late.__name__ in sys.modules


def test_what_is_changed_in_the_module_is_seen(late):
    assert late.later == 7
    sys.modules[late.__name__].later = 8
    assert late.later == 8


def test_what_is_not_there_is_an_attribute_error_of_the_module(late):
    with pytest.raises(AttributeError, match=f"module '{late.__name__}' has no attribute 'missing'"):
        late.missing  # noqa: B018


def test_what_cannot_be_imported_says_so():
    with pytest.raises(ModuleNotFoundError, match="no_such_module_here"):
        lazy.Lazy("no_such_module_here").anything  # noqa: B018


def test_it_stands_for_torch():
    assert lazy.torch.zeros is torch.zeros
