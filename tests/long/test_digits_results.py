"""The digits' results are what their document says: every row trained again, all its seeds."""

from __future__ import annotations

import math
import re
import statistics
from pathlib import Path

import pytest

import atentdsl
from atentdsl.recipe import shipped

DOCUMENT = Path(__file__).parents[2] / "docs/results/digits.md"
ROW = re.compile(r"^\| `(\w+)` \| 3 \| ([\d.]+) ± ([\d.]+) \| ([\d.]+) ± ([\d.]+) \|", re.MULTILINE)
LEAST = {"clean": 0.6, "robust": 1.2}
"""Deviations that three seeds can show by luck where the next three show more."""


def rows():
    """Each row of the document's tables: recipe, and clean accuracy and that under PGD-20, each with its deviation."""
    return [(name, *map(float, told)) for name, *told in ROW.findall(DOCUMENT.read_text())]


def bound(of, deviation):
    """Three standard errors of the difference of two means of three."""
    return 3 * math.sqrt(2 / 3) * max(deviation, LEAST[of])


def test_the_document_has_a_row_for_every_recipe_on_digits():
    assert sorted(row[0] for row in rows()) == sorted(name for name in shipped.names() if "/" not in name)


@pytest.mark.long
@pytest.mark.parametrize(("recipe", "clean", "clean_deviation", "robust", "robust_deviation"), rows())
def test_a_row_is_reproduced(tmp_path, recipe, clean, clean_deviation, robust, robust_deviation):
    """Means over the document's three seeds. Another processor rounds otherwise, and so trains another network."""
    runs = [atentdsl.train(recipe, seed=seed, out=tmp_path, quiet=True) for seed in range(3)]
    found_clean = 100 * statistics.mean(run.evaluation["clean_accuracy"] for run in runs)
    found_robust = 100 * statistics.mean(run.evaluation["attacks"]["pgd-20"]["robust_accuracy"] for run in runs)
    assert found_clean == pytest.approx(clean, abs=bound("clean", clean_deviation))
    assert found_robust == pytest.approx(robust, abs=bound("robust", robust_deviation))
