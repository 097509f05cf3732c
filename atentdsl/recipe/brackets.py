"""Tables with one pair of brackets where two belong, or the reverse: said once, then read as they are meant.

Otherwise such a table would hide every mistake inside it, and what it is laid over.
"""

from __future__ import annotations

from functools import cache

import attrs

from atentdsl.recipe.grammar import TABLES, Shape, shape_of
from atentdsl.recipe.merging import Written
from atentdsl.recipe.wording import wrong_type
from atentdsl.source import Diagnostic, KeyPath


def straightened(whole: Written, wrong: list[Diagnostic]) -> Written:
    """The recipe with every table as its place asks for it; what was otherwise is noted in `wrong`."""
    tables = {
        key: _straightened(child, _table(key), (key,), wrong) if key in TABLES else child
        for key, child in whole.value.items()
    }
    return attrs.evolve(whole, value=tables)


@cache
def _table(key: str) -> Shape:
    return shape_of(TABLES[key])


def _straightened(found: Written, shape: Shape, path: KeyPath, wrong: list[Diagnostic]) -> Written:
    one_table = isinstance(found.value, list) and len(found.value) == 1 and isinstance(found.value[0].value, dict)
    if isinstance(found.value, dict) and shape.element is not None and shape.element.models:
        wrong.append(wrong_type(found, str(path[-1]), "an array of tables", path, shape))
        found = attrs.evolve(found, value=[found])
    elif one_table and shape.models:
        wrong.append(wrong_type(found, str(path[-1]), "a table", path, shape))
        found = found.value[0]
    if isinstance(found.value, list):
        element = shape.element
        if element is None or not element.models:
            return found
        inside = [_straightened(child, element, (*path, i), wrong) for i, child in enumerate(found.value)]
        return attrs.evolve(found, value=inside)
    if isinstance(found.value, dict):
        tables = {}
        for key, child in found.value.items():
            shapes = shape.below(key) if isinstance(child.value, dict | list) else []
            tables[key] = _straightened(child, shapes[0], (*path, key), wrong) if shapes else child
        return attrs.evolve(found, value=tables)
    return found
