"""Whether stored modules are what their recipes compile to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from atentdsl.codegen.module import generate
from atentdsl.recipe import load, shipped


def expected() -> Iterator[tuple[str, str]]:
    """Every shipped recipe's module: its path below `generated/`, and its text."""
    for name in shipped.names():
        yield f"{name}.py", generate(load(name)).text


def differences(folder: Path) -> list[str]:
    """A line for every file that is missing, changed or no recipe's; empty where the folder is in sync."""
    found = []
    known = set()
    for name, text in expected():
        known.add(name)
        path = folder / name
        if not path.is_file():
            found.append(f"missing: {name}")
        elif path.read_text(encoding="utf-8") != text:
            found.append(f"changed: {name}")
    stray = {str(p.relative_to(folder)) for p in folder.rglob("*.py")} - known
    return found + [f"no recipe's: {name}" for name in sorted(stray)]


def write(folder: Path) -> list[str]:
    """Writes every shipped recipe's module; the paths written, below the folder."""
    done = []
    for name, text in expected():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        done.append(name)
    return done


def same_code(one: str, other: str) -> bool:
    """Whether two modules do the same: comments and the module's own docstring, which name places, may differ.

    >>> same_code("'One.'; X = 1  # one.toml:3", "X = 1"), same_code("X = 1", "X = 2")
    (True, False)
    """
    return (first := _dumped(one)) is not None and first == _dumped(other)


def _dumped(text: str) -> str | None:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    if ast.get_docstring(tree) is not None:
        del tree.body[0]
    return ast.dump(tree)
