"""Whether the committed modules are what the shipped recipes compile to."""

from __future__ import annotations

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
