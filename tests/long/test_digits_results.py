"""The digits' results are what their document says: every row trained again, all its seeds."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

import atentdsl

DOCUMENT = Path(__file__).parents[2] / "docs/results/digits.md"
ROW = re.compile(r"^\| `(\w+)` \| ([\d.]+) ± [\d.]+ \| ([\d.]+) ± [\d.]+ \|", re.MULTILINE)
ROWS = ROW.findall(DOCUMENT.read_text())


def test_the_document_has_a_row_for_every_recipe_on_digits():
    assert {row[0] for row in ROWS} == {"sgd", "pgd_at_linf", "atent_linf", "atent_linf_literal"}


@pytest.mark.long
@pytest.mark.parametrize(("recipe", "clean", "robust"), ROWS)
def test_a_row_is_reproduced(tmp_path, recipe, clean, robust):
    """Means over the document's three seeds. Another processor rounds otherwise, and so trains another network: of 359
    test images three points are eleven."""
    runs = [atentdsl.train(recipe, seed=seed, out=tmp_path, quiet=True).evaluation for seed in range(3)]
    found_clean = 100 * statistics.mean(run["clean_accuracy"] for run in runs)
    found_robust = 100 * statistics.mean(run["attacks"]["pgd-20"]["robust_accuracy"] for run in runs)
    assert found_clean == pytest.approx(float(clean), abs=1.5)
    assert found_robust == pytest.approx(float(robust), abs=3)
