"""Statements that are too long for one line, as a formatter would break them."""

from __future__ import annotations

from atentdsl.codegen.literals import LINE

INDENT = "    "
OPENING = {")": "(", "}": "{", "]": "["}


def wrapped(text: str, indent: str = "", after: int = 0) -> list[str]:
    """The statement as lines: broken at its last bracket where it is too long, and between what stands inside.

    At an earlier bracket where the line up to the last would be too long still.

    >>> wrapped("z = linf_ball(z, x, RADIUS)")
    ['z = linf_ball(z, x, RADIUS)']
    >>> wrapped("z = f(" + 20 * "a" + ", g(b, c))", indent=100 * " ")[1].strip()
    'aaaaaaaaaaaaaaaaaaaa,'
    >>> [line.strip() for line in wrapped("z = step(z, g) + pull(z, x)", indent=100 * " ")]
    ['z = step(', 'z, g', ') + pull(z, x)']

    A statement that does not end in a bracket is left as it is. `after` characters follow it on its last line: a comma
    behind what stands inside a call.

    >>> len(wrapped("f(" + 117 * "a" + ")")), len(wrapped("f(" + 117 * "a" + ")", after=1))
    (1, 3)
    """
    if len(indent) + len(text) + after <= LINE or text[-1:] not in OPENING:
        return [indent + text]
    opening, commas = _last_bracket(text)
    tail = ""
    while len(indent) + opening >= LINE and (end := max(text.rfind(closing, 0, opening) for closing in OPENING)) > 0:
        text, tail = text[: end + 1], text[end + 1 :] + tail
        opening, commas = _last_bracket(text)
    head, inside, inner = text[: opening + 1], text[opening + 1 : -1], indent + INDENT
    if len(inner) + len(inside) <= LINE:
        return [indent + head, inner + inside, indent + text[-1] + tail]
    ends = [*commas, len(text) - 1]
    parts = [text[begin + 1 : end].strip() for begin, end in zip([opening, *commas], ends, strict=True)]
    lines = [indent + head]
    for part in parts:
        *first, last = wrapped(part, inner, after=1)
        lines += [*first, f"{last},"]
    return [*lines, indent + text[-1] + tail]


def _last_bracket(text: str) -> tuple[int, list[int]]:
    """Where the bracket opens that closes at the text's end, and the commas directly inside it."""
    depth, commas = 0, list[int]()
    for place in range(len(text) - 1, -1, -1):
        if text[place] in OPENING:
            depth += 1
        elif text[place] in OPENING.values():
            depth -= 1
            if not depth:
                return place, commas[::-1]
        elif text[place] == "," and depth == 1:
            commas.append(place)
    raise AssertionError(f"a bracket of {text!r} does not open")
