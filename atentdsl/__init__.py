"""Adversarial training declared as a recipe and compiled into a readable PyTorch training loop.

`load`, `compile`, `draw`, `train`, `evaluate`, `certify` and `bench` take a recipe as a path, the name of a shipped
recipe, or a dict. Importing this package loads no torch: it comes with the first call that computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atentdsl.api import (
        bench,
        bench_attack,
        bench_epoch,
        certify,
        certify_intervals,
        compare,
        compile,
        draw,
        evaluate,
        export,
        interrupted,
        load,
        report,
        resume,
        sweep,
        train,
    )
    from atentdsl.source import RecipeError
    from atentdsl.version import __version__

__all__ = [
    "RecipeError",
    "__version__",
    "bench",
    "bench_attack",
    "bench_epoch",
    "certify",
    "certify_intervals",
    "compare",
    "compile",
    "draw",
    "evaluate",
    "export",
    "interrupted",
    "load",
    "report",
    "resume",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    homes = {"RecipeError": "atentdsl.source", "__version__": "atentdsl.version"}
    return getattr(import_module(homes.get(name, "atentdsl.api")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
