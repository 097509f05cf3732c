"""A generated module's text as a module that can be called."""

from __future__ import annotations

import linecache
from types import ModuleType
from typing import Any


def as_module(text: str, name: str, file: str = "") -> Any:
    """Executes the text, which defines and runs nothing, and returns the module.

    Args:
        text: what `generate` wrote.
        name: the module's name.
        file: where the text is stored, for tracebacks; a made-up name where it is not, whose lines they show as well.
    """
    shown = file or f"<atentdsl {name}>"
    module = ModuleType(name)
    module.__file__ = shown
    exec(compile(text, shown, "exec", dont_inherit=True), module.__dict__)
    if not file:
        linecache.cache[shown] = (len(text), None, text.splitlines(keepends=True), shown)
    return module
