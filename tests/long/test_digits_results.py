"""The digits' results are what their document says: every row trained again, all its seeds."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

import atentdsl
from atentdsl.recipe import shipped

DOCUMENT = Path(__file__).parents[2] / "docs/results/digits.md"
ROW = re.compile(r"^\| `(\w+)` \| ([\d.]+) ± [\d.]+ \| ([\d.]+) ± [\d.]+ \|", re.MULTILINE)
L2 = ("evaluate.norm=l2", "evaluate.radius=0.7")


def rows():
    """Each row of the document's tables: recipe, accuracies, and what lays the table's attack over the recipe's."""
    linf, l2 = DOCUMENT.read_text().split("## l2")
    return [(*row, ()) for row in ROW.findall(linf)] + [(*row, L2) for row in ROW.findall(l2)]


def test_the_document_has_a_row_for_every_recipe_on_digits():
    assert {row[0] for row in rows()} == {name for name in shipped.names() if "/" not in name}


@pytest.mark.long
@pytest.mark.parametrize(("recipe", "clean", "robust", "attack"), rows())
def test_a_row_is_reproduced(tmp_path, recipe, clean, robust, attack):
    """Means over the document's three seeds. Another processor rounds otherwise, and so trains another network: of 359
    test images three points are eleven. In float32, as the rows were."""
    overrides = [*attack, "compile.precision='float32'"]
    runs = []
    for seed in range(3):
        runs.append(atentdsl.train(recipe, overrides=overrides, seed=seed, out=tmp_path, quiet=True))
    found_clean = 100 * statistics.mean(run.evaluation["clean_accuracy"] for run in runs)
    found_robust = 100 * statistics.mean(run.evaluation["attacks"]["pgd-20"]["robust_accuracy"] for run in runs)
    assert found_clean == pytest.approx(float(clean), abs=1.5)
    assert found_robust == pytest.approx(float(robust), abs=3)
