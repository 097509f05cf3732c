"""`--set key=value`: one value of the recipe laid over what is written.

A key is a path with dots; an element of an array is named by its `name`, its `kind` or its index:
`sampler.attack.kernel.noise=0`, `sampler.attack.projection.linf_ball.radius=0.1`. A value is TOML, or else a bare word.
"""

from __future__ import annotations

import re
from typing import Any

import attrs

from atentdsl.recipe.merging import Written, merge, sampler_name, written
from atentdsl.source import Diagnostic, Document, KeyPath, RecipeError, Span, parse, suggest

_WORD = re.compile(r"[A-Za-z0-9_./:-]+")


def override(base: Written, text: str) -> Written:
    """`base` with one override laid over it.

    Raises:
        RecipeError: `bad-override` where the text is no `key=value`, or names an element that is not there.
    """
    document = _document(text)
    path: KeyPath = ()
    value = written(document)
    for _ in range(_depth(document)):
        path = (*path, next(iter(value.value)))
        value = value.value[path[-1]]
    return _lay(base, path, value, (), document)


def _depth(document: Document) -> int:
    """How many words the key has: a table on the value's side must not be taken for more of them."""
    found: Any = parse(f"{document.text.partition('=')[0]}= 0", document.name).data
    depth = 0
    while isinstance(found, dict):
        found = next(iter(found.values()))
        depth += 1
    return depth


def _document(text: str) -> Document:
    name = f"--set {text}"
    key, equals, value = text.partition("=")
    value = value.strip()
    span = Span(name, 1, 1, max(len(text), 1))
    help_ = "write it as --set sampler.attack.moves=5"
    if not equals or not key.strip():
        raise RecipeError([Diagnostic("bad-override", "an override is `key=value`", span, help=help_)], {name: text})
    line = f"{key.strip()} = {value}"
    try:
        return parse(line, name)
    except RecipeError:
        if _WORD.fullmatch(value):
            try:
                return parse(f'{key.strip()} = "{value}"', name)
            except RecipeError:
                pass
        reason = Diagnostic("bad-override", "neither TOML nor a bare word", span, "cannot be read", help=help_)
        raise RecipeError([reason], {name: text}) from None


def _lay(base: Written, path: KeyPath, value: Written, here: KeyPath, document: Document) -> Written:
    if not path:
        return merge(base, value, here)
    key, rest = path[0], path[1:]
    if isinstance(base.value, list):
        index = _index(base, str(key), here, document)
        children: Any = list(base.value)
        children[index] = _lay(children[index], rest, value, (*here, index), document)
        return attrs.evolve(base, value=children)
    if not isinstance(base.value, dict):
        wrong = f"`{'.'.join(map(str, here))}` is no table, it has no `{key}`"
        raise _refused(wrong, f"set `{'.'.join(map(str, here))}` itself", document)
    children = dict(base.value)
    if key in children:
        children[key] = _lay(children[key], rest, value, (*here, key), document)
    else:
        for part in reversed(rest):
            value = Written({part: value}, document, value.path)
        children[key] = value
    return attrs.evolve(base, value=children)


def _index(array: Written, key: str, here: KeyPath, document: Document) -> int:
    names = [_element_name(child, here) for child in array.value]
    if key in names:
        if names.count(key) > 1:
            where = [i for i, name in enumerate(names) if name == key]
            raise _refused(f"`{key}` names {len(where)} elements", f"use an index: one of {where}", document)
        return names.index(key)
    if key.isascii() and key.isdigit() and int(key[:9]) < len(names):
        return int(key)
    near = suggest(key, names)
    known = ", ".join(f"`{name}`" for name in names) or "none"
    raise _refused(
        f"`{'.'.join(map(str, here))}` has no element `{key}`",
        (f"did you mean `{near}`? " if near else "") + f"there are: {known}",
        document,
    )


def _element_name(child: Written, here: KeyPath) -> str:
    if here == ("sampler",):
        return str(sampler_name(child))
    entries = child.value if isinstance(child.value, dict) else {}
    return str(entries["kind"].value) if "kind" in entries else ""


def _refused(message: str, help_: str, document: Document) -> RecipeError:
    key = document.text.partition("=")[0].rstrip()
    span = Span(document.name, 1, 1, max(len(key), 1))
    return RecipeError([Diagnostic("bad-override", message, span, help=help_)], {document.name: document.text})
