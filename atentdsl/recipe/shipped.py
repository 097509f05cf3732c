"""The recipes that come with the package, found by name or by path."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def folder() -> Path:
    """Where the shipped recipes are: inside an installed package, or beside the package in a checkout."""
    installed = _PACKAGE / "shipped_recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


def names() -> tuple[str, ...]:
    """The shipped recipes by name, for example `atent_linf`."""
    root = folder()
    return tuple(sorted(str(p.relative_to(root).with_suffix("")) for p in root.rglob("*.toml")))


def find(recipe: str | Path) -> tuple[Path, str]:
    """The file meant, and the name to show for it.

    A path that exists is itself. Otherwise `atent_linf`, `atent_linf.toml` and `recipes/atent_linf.toml` mean the
    shipped recipe of that name, so that the documents' commands work from any folder. What is neither is returned as it
    stands, and reading it says that it is not there.
    """
    path = Path(recipe)
    try:
        if path.exists():
            return path, str(recipe) or "."
    except OSError:
        return path, str(recipe)  # its name is too long, or a folder is closed: reading it says so
    name = str(recipe).removeprefix("recipes/").removesuffix(".toml")
    if name in names():
        return folder() / f"{name}.toml", f"recipes/{name}.toml"
    return path, str(recipe)
