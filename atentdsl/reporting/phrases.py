"""How numbers, settings and the recipe's own words are said on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["coded", "listed", "number", "percent", "share"]


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as per cent.

    >>> percent(0.8412)
    '84.1 %'
    """
    return f"{100 * float(fraction):.{digits}f} %"


def share(fraction: float) -> str:
    """A fraction as a number of per cent between 0 and 100, for an attribute of a drawing.

    >>> share(0.8412), share(2)
    ('84.12', '100.00')
    """
    return f"{min(100.0, max(0.0, 100 * float(fraction))):.2f}"


def coded(text: str) -> str:
    """A text with what stands between backticks as code, and everything escaped.

    >>> print(coded("by `a<b`"))
    by <code>a&lt;b</code>
    """
    from markupsafe import Markup, escape

    pieces = [
        Markup("<code>{}</code>").format(piece) if i % 2 else escape(piece) for i, piece in enumerate(text.split("`"))
    ]
    return Markup("").join(pieces)


def listed(found: Mapping[str, Any]) -> str:
    """Keys and values in a line; what is None is left out.

    >>> listed({"step_size": 0.01, "after": ["pgd-5"], "init": None})
    'step size 0.01, after pgd-5'
    """
    return ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in found.items() if value is not None)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return " + ".join(map(_value, value)) or "none"
        case dict():
            return f"({listed(value)})"
        case _:
            return str(value)


def number(value: Any) -> str:
    """A whole number, its thousands apart.

    >>> number(12345)
    '12,345'
    """
    return f"{int(value):,}"
