"""Constants of a generated module: everything a recipe's author wrote enters as a literal, never as code."""

from __future__ import annotations

import ast
from typing import Any

LINE = 120


def literal(value: Any) -> str:
    r"""Python text that `ast.literal_eval` reads back as the same value.

    >>> literal((0.1, 2))
    '(0.1, 2)'
    >>> print(literal('a"b'), literal("ab"))
    'a"b' "ab"

    Raises:
        ValueError: the value has no literal, such as an infinity.
    """
    if isinstance(value, str):
        text = '"' + value + '"' if value.isprintable() and not set(value) & {'"', "\\"} else repr(value)
    elif isinstance(value, list | tuple):
        inner = ", ".join(literal(child) for child in value)
        text = f"({inner}{',' if len(value) == 1 else ''})"
    elif isinstance(value, float):
        text = _number(value)
    else:
        text = repr(value)
    back = ast.literal_eval(text)
    if back != (tuple(value) if isinstance(value, list) else value):
        raise ValueError(f"{value!r} has no literal")
    return text


def _number(value: float) -> str:
    """As short as `repr`, in the notation that formatters leave alone."""
    return repr(value)


def assignment(name: str, value: Any, comment: str = "") -> str:
    """`NAME = literal  # comment`, over several lines where it would be too long for one."""
    note = f"  # {comment}" if comment else ""
    line = f"{name} = {literal(value)}{note}"
    if len(line) <= LINE or not isinstance(value, list | tuple):
        return line
    body = "\n".join(f"    {literal(child)}," for child in value)
    return f"{name} = ({note}\n{body}\n)"


def plain(text: str) -> str:
    """Text for a comment or a docstring: one line, and nothing that would end it or be read as more.

    >>> plain(3 * chr(34) + chr(10) + "import os")
    "'''?import os"
    """
    shown = "".join(ch if ch.isprintable() and ch != "#" else "?" for ch in text)
    return shown.replace("\\", "/").replace('"', "'")


def file_name(path: str, longest: int) -> str:
    """A file's own name for a comment or a docstring; the middle of a long one is left out.

    >>> file_name("recipes/atent_linf.toml", 23), file_name("recipes/atent_linf_with_half_the_noise.toml", 23)
    ('atent_linf.toml', 'atent_linf...noise.toml')
    """
    name = plain(path.rsplit("/", 1)[-1])
    head = (longest - 3) // 2
    return name if len(name) <= longest else f"{name[:head]}...{name[head + 3 - longest :]}"
