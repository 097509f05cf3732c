"""Attacks that are asked for beside those of a recipe: by a name, or by a recipe whose sampler attacks."""

from __future__ import annotations

import json
from collections.abc import Sequence

from atentdsl.recipe import shipped


def is_recipe(text: str) -> bool:
    """Whether it asks for a recipe, by a path or a shipped recipe's name; overrides may stand behind it.

    >>> is_recipe("atent_linf,sampler.attack.moves=20"), is_recipe("mine/atent.toml"), is_recipe("pgd-20,restarts=2")
    (True, True, False)
    """
    source = text.split(",")[0]
    return source.endswith(".toml") or source in shipped.names()


def instead(names: Sequence[str]) -> list[str]:
    """The overrides that put these attacks in the place of the recipe's; no checkpoint is selected by them any more.

    >>> instead(["pgd-20", "autoattack"])
    ['evaluate.attacks=["pgd-20", "autoattack"]', 'evaluate.select="last"']
    """
    return [f"evaluate.attacks={json.dumps(list(names), ensure_ascii=False)}", 'evaluate.select="last"']
