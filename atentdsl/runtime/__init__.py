"""What a generated module is driven by; it needs nothing else of this project.

A generated module imports the network passes from here. Importing this package loads no torch: its names do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atentdsl.runtime.network import input_gradient, weight_gradient, weights_frozen
    from atentdsl.runtime.streams import Streams

__all__ = ["Streams", "input_gradient", "weight_gradient", "weights_frozen"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module("atentdsl.runtime.streams" if name == "Streams" else "atentdsl.runtime.network")
    return getattr(module, name)
