"""Strategies and checks for authors of primitives and passes: drawn recipes, and whether two executions agree.

Needs the packages of the `test` extra. A property over everything that a recipe can say:

    @given(recipes())
    def test_every_recipe_compiles(recipe):
        atentdsl.compile(recipe)
"""

from __future__ import annotations

from atentdsl.testing.agreement import Execution, differences, interpreted, run_module
from atentdsl.testing.mutants import edited
from atentdsl.testing.networks import batch, network
from atentdsl.testing.randomness import Recorded
from atentdsl.testing.strategies import recipes, sample

__all__ = [
    "Execution",
    "Recorded",
    "batch",
    "differences",
    "edited",
    "interpreted",
    "network",
    "recipes",
    "run_module",
    "sample",
]
