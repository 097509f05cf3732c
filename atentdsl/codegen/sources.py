"""Takes primitives' functions into a generated module as source, with whatever they call."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

MODULES = ("math", "torch")
TYPES = {
    "Iterable": "from collections.abc import Iterable",
    "Optimizer": "from torch.optim import Optimizer",
    "Tensor": "from torch import Tensor",
}
SHARED = "atentdsl.primitives.tensors"
_NO_PLAIN_FUNCTION = "`{name}` is no plain function: write it with `def`, without decorator or closure"


class NotSelfContained(Exception):
    """A primitive's function cannot be taken along; the message names what it reaches for, and the mend."""


class Sources:
    """The functions of one generated module, in the order they must stand, and the imports they ask for.

    >>> from atentdsl.primitives.projections.linf_ball import linf_ball
    >>> sources = Sources([linf_ball])
    >>> list(sources.functions)
    ['clip_around', 'linf_ball']
    >>> sorted(sources.imports)
    ['from torch import Tensor', 'import torch']
    """

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self.functions: dict[str, str] = {}
        self.imports: set[str] = set()
        self._taken: dict[str, Callable[..., Any]] = {}
        for function in functions:
            self._take(function)

    def _take(self, function: Callable[..., Any]) -> None:
        name = function.__name__
        if name in self._taken:
            if self._taken[name] is not function:
                both = f"{self._taken[name].__module__} and {function.__module__}"
                raise NotSelfContained(f"two functions are called `{name}`, in {both}: rename one")
            return
        plain = inspect.isfunction(function) and name != "<lambda>" and not hasattr(function, "__wrapped__")
        if not plain or function.__closure__:
            raise NotSelfContained(_NO_PLAIN_FUNCTION.format(name=name))
        source, words = _read(function)
        self._taken[name] = function
        for word in words:
            self._reach(function, word)
        self.functions[name] = source

    def _reach(self, function: Callable[..., Any], word: str) -> None:
        if word in MODULES:
            self.imports.add(f"import {word}")
        elif word in TYPES:
            self.imports.add(TYPES[word])
        else:
            found = function.__globals__.get(word)
            if not inspect.isfunction(found) or found.__module__ not in {function.__module__, SHARED}:
                mend = f"call only torch, math, and functions of its own file or of {SHARED}"
                raise NotSelfContained(f"`{function.__name__}` in {function.__module__} reaches for `{word}`: {mend}")
            self._take(found)


@cache
def _read(function: Callable[..., Any]) -> tuple[str, tuple[str, ...]]:
    """A function's source and the names that it reads from outside; kept, since most modules take the same ones."""
    source = textwrap.dedent(inspect.getsource(function))
    tree = ast.parse(source).body[0]
    if not isinstance(tree, ast.FunctionDef) or tree.decorator_list:
        raise NotSelfContained(_NO_PLAIN_FUNCTION.format(name=function.__name__))
    return source.rstrip(), tuple(_globals(tree))


def _globals(function: ast.FunctionDef) -> list[str]:
    """The names that a function reads and does not bind, in order of first use; builtins apart."""
    bound = {argument.arg for argument in ast.walk(function) if isinstance(argument, ast.arg)}
    read: list[str] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                bound.add(node.id)
            elif node.id not in read:
                read.append(node.id)
    return [name for name in read if name not in bound and not hasattr(builtins, name)]
