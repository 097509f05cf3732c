"""Torch, imported when something is first asked of it: checking, listing and compiling a recipe never load it.

Not by `importlib.util.LazyLoader` and the libraries that use it: under it torch fails to import from Python 3.12.3 on,
because it asks itself for names while it is being loaded.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["Lazy", "torch"]


class Lazy(ModuleType):
    """Stands for a module that is imported when an attribute is first asked for.

    >>> shapes = Lazy("colorsys")
    >>> shapes.rgb_to_hls(0.0, 0.0, 0.0)
    (0.0, 0.0, 0.0)

    Args:
        name: the module's, as in `import name`.
    """

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self.__name__), attribute)


if TYPE_CHECKING:
    import torch
else:
    torch = Lazy("torch")
