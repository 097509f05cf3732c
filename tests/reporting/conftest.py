"""One tiny run, trained once for all tests of reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import atentdsl

BRIEF = [
    "model.name=mlp",
    "sampler.attack.moves=3",
    "optimizer.epochs=2",
    "evaluate.attacks=['pgd-3,restarts=2', 'fgsm']",
]


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    return atentdsl.train("atent_linf", overrides=BRIEF, out=tmp_path_factory.mktemp("runs"), quiet=True)


@pytest.fixture
def made(finished, tmp_path):
    """A copy of the run's directory, to be spoilt."""
    return Path(shutil.copytree(finished.path, tmp_path / "atent_linf" / "20260102-030405"))
