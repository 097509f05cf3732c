"""`--set key=value`: one value of the recipe laid over what is written.

A key is a path with dots; an element of an array is named by its `name`, its `kind` or its index:
`sampler.attack.kernel.noise=0`, `sampler.attack.projection.linf_ball.radius=0.1`. A value is TOML, or else a bare word.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import attrs

from atentdsl.recipe.grammar import TABLES, shape_of
from atentdsl.recipe.merging import Written, merge, sampler_name, written
from atentdsl.source import Diagnostic, Document, KeyPath, RecipeError, Span, parse, suggest
from atentdsl.source.tokens import tokenize

_WORD = re.compile(r"[A-Za-z0-9_./:-]+")
_NUMBER = re.compile(r"[+-]?\.?\d[\d_.,eE+/*-]*")
_EXAMPLE = "write it as --set sampler.attack.moves=5"


def override(base: Written, text: str, name: str) -> Written:
    """`base` with one override laid over it.

    Args:
        base: what is written.
        text: `key=value`.
        name: what to call the text where it is cited.

    Raises:
        RecipeError: `bad-override` where the text is no `key=value`, or names an element that is not there.
    """
    document = _document(text, name)
    path: KeyPath = ()
    value = written(document)
    for _ in range(_depth(document)):
        if len(value.value) > 1:
            raise _refused("an override sets one key", "write one --set for each", document)
        path = (*path, next(iter(value.value)))
        value = value.value[path[-1]]
    laid = _lay(base, path, value, (), document)
    extends = laid.walk_to(("recipe", "extends"))
    if extends.path[-1:] == ("extends",) and extends.document is document:
        raise _refused("`extends` is not overridden", "write it in the recipe, or name that recipe instead", document)
    return laid


def _depth(document: Document) -> int:
    """How many words the key has: a table on the value's side must not be taken for more of them."""
    key = itertools.takewhile(lambda token: token.text != "=", tokenize(document.text))
    return sum(token.kind in ("bare", "string") for token in key)


def _document(text: str, name: str) -> Document:
    key, equals, value = text.partition("=")
    whole = Span(name, 1, 1, max(len(text.split("\n")[0]), 1))
    if not equals or not key.strip() or "\n" in key or key.lstrip().startswith(("[", "#")):
        raise RecipeError(
            [Diagnostic("bad-override", "an override is `key=value`", whole, help=_EXAMPLE)], {name: text}
        )
    try:
        return parse(text, name)
    except RecipeError as error:
        word = value.strip()
        if _WORD.fullmatch(word) and not _NUMBER.fullmatch(word):
            try:
                return parse(f'{key.rstrip()}="{word}"', name)
            except RecipeError:
                pass  # the key is wrong; the first error says it
        mends = [_EXAMPLE if d.code == "not-utf8" else d.help or _EXAMPLE for d in error.diagnostics]
        wrong = [attrs.evolve(d, code="bad-override", help=m) for d, m in zip(error.diagnostics, mends, strict=True)]
        raise RecipeError(wrong, {name: text}) from None


def _lay(base: Written, path: KeyPath, value: Written, here: KeyPath, document: Document) -> Written:
    if not path:
        return merge(base, value, here)
    key, rest = path[0], path[1:]
    if isinstance(base.value, list):
        index = _index(base, path, here, document)
        children: Any = list(base.value)
        children[index] = _lay(children[index], rest, value, (*here, index), document)
        return attrs.evolve(base, value=children)
    where = _dotted(document, len(here))
    if not isinstance(base.value, dict):
        raise _refused(f"`{where}` is no table, it has no `{key}`", f"set `{where}` itself", document)
    children = dict(base.value)
    if key in children:
        children[key] = _lay(children[key], rest, value, (*here, key), document)
        return attrs.evolve(base, value=children)
    if rest and _is_array((*here, key)):
        name = _dotted(document, len(here) + 1)
        raise _refused(f"`{name}` has no element `{rest[0]}`", f"the recipe has no `{name}`: write it there", document)
    for end in range(len(rest), 0, -1):
        value = Written({rest[end - 1]: value}, document, value.path[:-1])
    children[key] = value
    return attrs.evolve(base, value=children)


def _is_array(path: KeyPath) -> bool:
    """Whether an array belongs at a path, whatever kinds the tables around it are."""
    shapes = [shape_of(TABLES[str(path[0])])] if path[0] in TABLES else []
    for key in path[1:]:
        shapes = [below for shape in shapes for below in shape.below(key)]
    return any(shape.element is not None for shape in shapes)


def _index(array: Written, path: KeyPath, here: KeyPath, document: Document) -> int:
    """The index of the element that the next word of the path names."""
    names = [_element_name(child, here) for child in array.value]
    where, key = _dotted(document, len(here)), str(path[0])
    if names.count(key) > 1:
        indices = [i for i, name in enumerate(names) if name == key]
        raise _refused(f"`{key}` names {len(indices)} elements", f"use an index: one of {indices}", document)
    if key and key in names:
        return names.index(key)
    if key.isascii() and key.isdigit() and int(key[:9]) < len(names):
        return int(key)
    near = suggest(key, filter(None, names))
    help_ = f"did you mean `{near}`?  " if near else ""
    if not near and len(names) == 1:
        help_ = f"did you mean `{'.'.join([where, names[0] or '0', *map(str, path)])}`?  "
    known = ", ".join(f"`{name or i}`" for i, name in enumerate(names)) or "none"
    raise _refused(f"`{where}` has no element `{key}`", f"{help_}there are: {known}", document)


def _element_name(child: Written, here: KeyPath) -> str:
    name = sampler_name(child) if here == ("sampler",) else getattr(child.child("kind"), "value", "")
    return name if isinstance(name, str) else ""


def _dotted(document: Document, count: int) -> str:
    """The first words of the override's key, as they are written."""
    return ".".join(document.text.partition("=")[0].strip().split(".")[:count])


def _refused(message: str, help_: str, document: Document) -> RecipeError:
    key = document.text.partition("=")[0].rstrip()
    span = Span(document.name, 1, 1, max(len(key), 1))
    return RecipeError([Diagnostic("bad-override", message, span, help=help_)], {document.name: document.text})
